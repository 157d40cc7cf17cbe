"""Data directories with one training, whose recipe is what a case is about: a genre `west`, a place, 12 pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sq_pipeline_tests.cases.datasets import drawing

RECIPE: Mapping[str, Any] = {
    "trigger": "trg", "min_pairs": 4, "iterations": 8, "checkpoint_interval": 4, "kept_checkpoints": 1,
    "sample_interval": 1000, "held_out_pairs": 0, "learning_rate": 0.001, "warmup_steps": 1, "grad_accumulation": 1,
}  # fmt: skip
DIVERGES = {"iterations": 26, "grad_accumulation": 1, "warmup_steps": 1, "learning_rate": 0.9, "checkpoint_interval": 5}
CASES: Mapping[str, tuple[Mapping[str, Any], str]] = {
    # the recipe, and `sq.yaml` besides promotion and base model
    "base-bits-4": ({"base_bits": 4}, ""),
    "caption-too-long": ({"kind": "subject"}, ""),
    "size-of-the-data-directory": ({"base_model": None}, "base_model: flux1-dev\n"),
    "warmup-eats-all": ({"iterations": 200, "warmup_steps": 100, "grad_accumulation": 4}, ""),
    "warmup-beyond": ({"warmup_steps": 10000}, ""),
    "two-iterations": (
        {"iterations": 2, "checkpoint_interval": 1, "learning_rate": 0.0001, "warmup_steps": 100},
        "",
    ),
    "rate-diverges": (DIVERGES, ""),
    "near-miss-steps": ({"steps": 500}, ""),
    "near-miss-optimizer": ({"optimizer": "prodigy"}, ""),
    "batch-larger-than-set": ({"batch_size": 20}, ""),
    "all-is-well": ({}, ""),
}
STYLE = (
    "positive_suffix: dust\nloras:\n- {name: west_landscape, file: west/landscape.safetensors, scale: 1.0, "
    "applies_to: [landscape], trigger: trg}\n"
)


def build_data(root: Path, shipped: Path, recipe: Mapping[str, Any], settings: str = "") -> Path:
    """A data directory with such a training; returns its dataset's folder."""
    pack = root / "content/genre_packs/west"
    (pack / "worlds/alpha").mkdir(parents=True)
    (pack / "visual_style.yaml").write_text(STYLE)
    (pack / "worlds/alpha/history.yaml").write_text(
        "chapters:\n- points_of_interest:\n  - {name: Good Place, visual_prompt: a mill}\n"
    )
    base = "" if "base_model" in settings else "base_model: tiny-flux\n"
    (root / "sq.yaml").write_text(f"{base}promotion: automatic\n{settings}")
    for name in ("models", "keymaps", "verify_prompts"):
        (root / name).symlink_to(shipped / name)
    folder = root / "content/lora-datasets/west/landscape"
    folder.mkdir(parents=True)
    values = {key: value for key, value in {**RECIPE, **recipe}.items() if value is not None}
    (folder / "lora.yaml").write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
    is_subject = recipe.get("kind") == "subject"
    for number in range(12):
        drawing(number).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"trg harbour {number}" if is_subject else "trg")
    return folder


def build_case(name: str, root: Path, shipped: Path) -> Path:
    """The data directory of one case; returns its dataset's folder."""
    recipe, settings = CASES[name]
    folder = build_data(root, shipped, recipe, settings)
    if name == "caption-too-long":
        (folder / "07.txt").write_text("trg harbour " + "very long " * 600)
    return folder
