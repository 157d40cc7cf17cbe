"""The terminal: progress on it, the summary of a run, what is completed and shown as examples. Not here: commands."""
