"""Rendering, adapter stacks, token counting and fidelity through the installed mflux."""
