"""What every package stands on: errors, fingerprints, atomic writing, strict YAML, paths, locks."""
