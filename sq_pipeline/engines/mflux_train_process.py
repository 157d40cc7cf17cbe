"""The process of `mflux-train`: mflux's own command, after BLAS is ready, in the dtype that pictures are made in.

Run as `python -m sq_pipeline.engines.mflux_train_process` with the command's own arguments. It ends with the process
that started it: that one holds the other end of its standard input.
"""

import os
import sys
import threading

from mflux.models.common.cli.train import main as train

from sq_pipeline.engines.tiny_flux.mflux_build import use_float32

_ORPHANED = 75


def end_with_parent() -> None:
    """End this process when the other end of its standard input is closed."""

    def watch() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        os._exit(_ORPHANED)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """mflux's `mflux-train`."""
    end_with_parent()
    use_float32()
    train()


if __name__ == "__main__":
    main()
