"""Tests of the content side: reading packs and settings, prompts, fingerprints. No engine, no Dagster."""
