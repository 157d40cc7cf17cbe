"""Traces of what is done, by OpenTelemetry. `spans` is what the rest calls, `exporters` is where they go.

Off unless the standard environment variables ask for it: then nothing of OpenTelemetry is even imported.
"""
