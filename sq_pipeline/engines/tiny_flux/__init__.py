"""tiny-flux: a real FLUX.1 of small width, trained on pictures of `painter`; shipped in `data/models/tiny-flux`."""
