"""Tiny real files that the tests of this folder share: pictures, dataset folders, adapters, data directories."""

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sq_pipeline.common.errors import Fault, SqPipelineError
from sq_pipeline.common.gate_overrides import GateOverrides
from sq_pipeline.common.layout import DataDir
from sq_pipeline.training.dataset import TrainingDataset, check_dataset
from sq_pipeline.training.ports import TrainRequest
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.verification.gate_limits import IS_UPPER
from sq_pipeline_tests.fakes import FakeTrainer

WIDTH_PX, HEIGHT_PX = 128, 96  # tiny-flux's training size
NAME = "content/lora-datasets/western/landscape"
STYLE_RECIPE = "trigger: old_west\nmin_pairs: 1\ngrad_accumulation: 1\n"  # as many steps as nothing is noted of
SUBJECT_RECIPE = "kind: subject\ntrigger: mccoy\nmin_pairs: 1\n"


def make_image(seed: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX, mode: str = "RGB") -> Image.Image:
    """Four coloured fields; another picture for each seed."""
    rng = random.Random(seed)
    cells = np.array([rng.randrange(256) for _ in range(12)], dtype=np.uint8).reshape(2, 2, 3)
    image = Image.fromarray(cells).resize((width_px, height_px), Image.Resampling.NEAREST)
    return image.convert(mode)


def write_pair(folder: Path, stem: str, seed: int, caption: str = "old_west") -> Path:
    """`<stem>.png` and `<stem>.txt`; returns the image's path."""
    make_image(seed).save(folder / f"{stem}.png")
    (folder / f"{stem}.txt").write_text(f"{caption}\n", encoding="utf-8")
    return folder / f"{stem}.png"


def write_dataset(folder: Path, pairs: int = 3, recipe: str = STYLE_RECIPE, caption: str = "old_west") -> Path:
    """A dataset that passes the preflight; `{n}` in the caption is the pair's number."""
    folder.mkdir(parents=True)
    for index in range(pairs):
        write_pair(folder, f"{index:03d}", index, caption.format(n=index))
    (folder / "lora.yaml").write_text(recipe, encoding="utf-8")
    return folder


def write_16_bit_png(path: Path, colour_type: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> None:
    """A PNG of 16 bits a channel; Pillow cannot write most of them. Colour types: 0 grey, 2 RGB, 4 grey+α, 6 RGBA."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    rows = b"".join(b"\0" + bytes(range(1, 1 + 2 * channels)) * width_px for _ in range(height_px))
    header = struct.pack(">IIBBBBB", width_px, height_px, 16, colour_type, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def write_adapter(path: Path, seed: int = 0) -> Path:
    """A tiny adapter in mlx-examples' dialect."""
    recipe = Recipe(seed=seed, iterations=1, rank=2)
    FakeTrainer().train(TrainRequest("tiny-flux", (), recipe, path), lambda _: None)
    return path


def make_data_dir(root: Path) -> DataDir:
    """A data directory with an empty `content`."""
    (root / "content").mkdir(parents=True)
    return DataDir(root)


def check(folder: Path) -> TrainingDataset:
    """The preflight over tiny-flux."""
    return check_dataset(folder, NAME, "tiny-flux")


def faults_of(action: Callable[[], object], error_type: type[SqPipelineError]) -> tuple[Fault, ...]:
    """The faults that `action` raises as exactly that error."""
    with pytest.raises(SqPipelineError) as caught:
        action()
    assert type(caught.value) is error_type
    return caught.value.faults


def names_below(root: Path) -> list[str]:
    """Every file below `root`, hidden ones too, relative and sorted."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


def loose_gate() -> dict[str, Any]:
    """`thresholds` of a `sq.yaml` that let pass what was trained for a moment only."""
    limits = {name: 9.0 if name in IS_UPPER else -9.0 for name in GateOverrides.model_fields}
    gate = {name: {"value": value, "reason": "it was trained for a moment"} for name, value in limits.items()}
    return {"ssim_changed_max": 0.9999, "ssim_trigger_max": 1.0, "gate": gate}
