"""What a base model is: its facts, its files on disk and their hash, the ports of who works with it."""
