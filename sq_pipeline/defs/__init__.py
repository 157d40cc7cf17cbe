"""Dagster only: thin assets, checks, resources, jobs. The work is in `pipeline`."""
