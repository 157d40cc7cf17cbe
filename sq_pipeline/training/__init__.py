"""Training an adapter: recipes, datasets and their preflight, memory, checkpoints. Trainers: `engines.trainers`."""
