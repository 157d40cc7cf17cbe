"""What happens by itself: sensors, each comparing what should be with what is, so that no tick can be missed.

`content`: pictures follow the YAML. `adapters`: a new keymap or threshold is carried through. `night`: training.
"""
