"""`mflux-train` itself over the small families: what `mflux_train_process` runs, at the sizes of `small_families`."""

from sq_pipeline.engines import mflux_train_process
from sq_pipeline_tests.engines.small_families import small_sizes

if __name__ == "__main__":
    with small_sizes():
        mflux_train_process.main()
