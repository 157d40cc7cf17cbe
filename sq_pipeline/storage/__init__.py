"""Files: strict YAML, safetensors, the content-addressed store, atomic writing. No engine, no Dagster."""
