"""Processes of ours: ended with whoever started them, told of when a signal ends them, kept from sleeping, how far
they are."""
