"""The checkpoints of a training: which were kept, their scores, and what a person sees of them."""
