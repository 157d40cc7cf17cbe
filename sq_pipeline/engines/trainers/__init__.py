"""The trainers, a folder each, and how child processes are guarded."""
