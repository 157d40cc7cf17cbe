"""How many threads numpy's BLAS gets in a command that only multiplies narrow matrices: one.

Not here: MLX's BLAS (`engines.blas`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLE = "OPENBLAS_NUM_THREADS"


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Import numpy in here, for the first time: its OpenBLAS reads the variable when it is loaded, and never again.

    More threads wait for each other longer than products of a few rows take; on a busy machine, ten times longer.
    """
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
