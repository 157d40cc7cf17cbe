"""The only place that imports mlx and mflux; implements the protocols of `core.protocols`.

Importing this package makes BLAS ready first (see `blas`), because MLX binds it when it is loaded.
"""

from sq_pipeline.engines import blas

blas.preload()
