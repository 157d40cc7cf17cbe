"""The families beside FLUX.1 that mflux renders and `mflux-train` trains: Z-Image and FLUX.2 klein."""
