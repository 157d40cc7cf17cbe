"""The parts of a dataset's preflight (`training.dataset`): files, pictures, captions, and how like faults are told."""
