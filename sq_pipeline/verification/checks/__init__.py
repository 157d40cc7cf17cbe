"""The checks of the gate, one file each, in the order of `table`. Each gives a verdict with its null."""
