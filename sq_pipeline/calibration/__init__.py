"""The bench that the gate's limits come from: adapters that are known to be good or bad, made and measured here.

Not here: the checks (`verification`), trainings and remaps themselves.
"""
