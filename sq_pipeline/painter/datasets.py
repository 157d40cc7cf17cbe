"""The demo's training datasets: restyled scenes with a one-word caption, drawn where there are none yet."""

import random
import shutil
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np

from sq_pipeline.common.atomic import atomic_path, write_text
from sq_pipeline.painter.scenes import paint, random_scene
from sq_pipeline.painter.styles import STYLES

_RECIPE = """\
# How this adapter is trained. Values not given here are the trainer's defaults.
kind: style
trigger: {trigger}
base_model: tiny-flux
rank: 8
iterations: {iterations}
batch_size: 4
grad_accumulation: 1
learning_rate: 0.0015
warmup_steps: 10
kept_checkpoints: 2
sample_interval: {iterations}  # strips at the start and the end
seed: {seed}
"""


@dataclass(frozen=True)
class DemoDataset:
    """One style dataset; `folder` is relative to `content/lora-datasets`."""

    folder: str
    style: str
    trigger: str
    seed: int
    pictures: int = 160
    iterations: int = 100


DEMO_DATASETS = (
    DemoDataset("spaghetti_western/landscape", "sepia_western", "spaghetti_western", 101),
    DemoDataset(
        "spaghetti_western/worlds/the_real_mccoy/landscape",
        "old_print",
        "real_mccoy",
        202,
    ),
    DemoDataset("neon_tides/landscape", "neon", "neon_tides", 303),
)


def draw_dataset(dataset: DemoDataset, folder: Path, is_cut_off: Event | None = None) -> None:
    """Draw a dataset as `folder`, whole or not at all: `NNN.png` with `NNN.txt`, and `lora.yaml`.

    The folder must not be there yet, or be empty. Raises CancelledError between two pictures once it `is_cut_off`.
    """
    rng, numbers = random.Random(dataset.seed), np.random.default_rng(dataset.seed)
    drawing = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(drawing, ignore_errors=True)  # left by a drawing that was killed
    try:
        for index in range(dataset.pictures):
            if is_cut_off is not None and is_cut_off.is_set():
                raise CancelledError
            picture = STYLES[dataset.style](paint(random_scene(rng)), numbers)
            with atomic_path(drawing / f"{index:03d}.png") as part:
                picture.save(part, format="PNG")
            write_text(drawing / f"{index:03d}.txt", f"{dataset.trigger}\n")
        recipe = _RECIPE.format(trigger=dataset.trigger, iterations=dataset.iterations, seed=dataset.seed)
        write_text(drawing / "lora.yaml", recipe)
        drawing.replace(folder)
    finally:
        shutil.rmtree(drawing, ignore_errors=True)


def draw_demo_datasets(datasets_root: Path) -> int:
    """Draw the demo's datasets that are not there yet; returns how many were drawn.

    A folder that holds anything is a person's (or a finished drawing) and is left alone.
    """
    wanted = [(dataset, datasets_root / dataset.folder) for dataset in DEMO_DATASETS]
    wanted = [(dataset, folder) for dataset, folder in wanted if not folder.exists() or not any(folder.iterdir())]
    is_cut_off = Event()
    # beside each other, because drawing waits for the disk at each picture
    with ThreadPoolExecutor(len(wanted) or 1) as threads:
        drawings = [threads.submit(draw_dataset, dataset, folder, is_cut_off) for dataset, folder in wanted]
        try:
            for drawing in as_completed(drawings):
                drawing.result()
        finally:
            is_cut_off.set()  # where one failed, or at Ctrl-C, the others end at their next picture
    return len(wanted)
