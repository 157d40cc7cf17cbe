"""A training picture's file, and what is seen of it. Not here: whether it is fit to train on (`training.preflight`)."""
