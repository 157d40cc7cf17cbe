"""tiny-flux: a real FLUX.1 of small width, trained on pictures that `painter` draws; shipped in `data/models/tiny-flux`."""
