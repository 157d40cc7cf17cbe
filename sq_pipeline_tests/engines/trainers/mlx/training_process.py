"""A training in a process of its own, which a test can kill: `python -m … PICTURES OUTPUT CHECKPOINTS ITERATIONS`.

Says each iteration's number on stdout as soon as it is done.
"""

import sys
from pathlib import Path

from sq_pipeline.common.layout import DataDir, shipped_data_root
from sq_pipeline.engines import factory
from sq_pipeline.training.ports import CheckpointPlace, TrainingExample, TrainProgress, TrainRequest
from sq_pipeline.training.recipe import Recipe

TRIGGER, IDENTITY = "test_print", "sha256:of this training"
RECIPE = Recipe(
    trigger=TRIGGER,
    rank=2,
    iterations=12,
    batch_size=2,
    grad_accumulation=3,
    learning_rate=0.003,
    warmup_steps=1,
    checkpoint_interval=2,  # no multiple of the accumulation: gradients are between two steps
    num_augmentations=2,
    resolution=(96, 64),  # half of the pictures: how large they are decides nothing here
    seed=5,  # no loss that is too high to keep a checkpoint at
)


def request_for(pictures: Path, output: Path, checkpoints: Path | None, recipe: Recipe = RECIPE) -> TrainRequest:
    """The training over all pictures of a folder."""
    examples = tuple(TrainingExample(path, TRIGGER) for path in sorted(pictures.glob("*.png")))
    place = None if checkpoints is None else CheckpointPlace(checkpoints, IDENTITY)
    return TrainRequest("tiny-flux", examples, recipe, output, place)


def _say(progress: TrainProgress) -> None:
    sys.stdout.write(f"{progress.iteration}\n")
    sys.stdout.flush()


def main() -> None:
    pictures, output, checkpoints, iterations = sys.argv[1:]
    recipe = RECIPE.model_copy(update={"iterations": int(iterations)})
    request = request_for(Path(pictures), Path(output), Path(checkpoints), recipe)
    factory.trainer(DataDir(shipped_data_root())).train(request, _say)


if __name__ == "__main__":
    main()
