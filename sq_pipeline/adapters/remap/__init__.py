"""`adapter remap`: from one dialect to another, without loss, or not at all."""
