"""`mflux-train` itself over the small families: what `mflux_train.process` runs, at the sizes of `small_families`.

With SMALL_TRAIN_HOLDS_AT=6 it goes no further after the checkpoint of iteration 6, so that a test can end it there.
"""

import os
import time
from typing import Any

from mflux.models.common.training.state.training_state import TrainingState

from sq_pipeline.engines.trainers.mflux_train import process
from sq_pipeline_tests.engines.mflux.small_families import small_sizes


def hold_at(iteration: int) -> None:
    save = TrainingState.save

    def save_and_hold(self: TrainingState, adapter: Any, training_spec: Any) -> None:
        save(self, adapter, training_spec)
        while self.iterator.num_iterations == iteration:
            time.sleep(0.1)

    TrainingState.save = save_and_hold


if __name__ == "__main__":
    if "SMALL_TRAIN_HOLDS_AT" in os.environ:
        hold_at(int(os.environ["SMALL_TRAIN_HOLDS_AT"]))
    with small_sizes():
        process.main()
