"""The next tiny-flux, for 256×192 pictures with people and creatures: its networks, and the steps that train them.

Nothing renders with it yet: its weights are not shipped.
"""
