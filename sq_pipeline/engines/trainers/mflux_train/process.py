"""The process of `mflux-train`: mflux's own command, after BLAS is ready, in the dtype that pictures are made in.

Run as `python -m sq_pipeline.engines.trainers.mflux_train.process` with the command's own arguments.
"""

from mflux.models.common.cli.train import main as train

from sq_pipeline.engines.mflux.dtype import use_float32


def main() -> None:
    """mflux's `mflux-train`."""
    use_float32()
    train()


if __name__ == "__main__":
    main()
