"""The only place that imports mlx and mflux; implements the ports of the packages that ask for engines.

Importing this package makes BLAS ready first (see `blas`), because MLX binds it when it is loaded.
"""

import os

from sq_pipeline.engines import blas

# transformers, which mflux reads its tokenizers with, would announce that PyTorch is not there
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

blas.preload()
