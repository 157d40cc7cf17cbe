"""Commands over single pictures: what made one, and takes of it."""
