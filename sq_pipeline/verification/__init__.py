"""The gate: checks, thresholds, fidelity and the report of an adapter's verification."""
