"""Making the bench's adapters and measuring them. Everything is kept in a folder, and what is there is not made again.

In the folder: `datasets/<style>`, `trained/<name>.safetensors`, `adapters/<name>.safetensors` where a file was edited,
`figures/<name>.json`, and `sheets/<name>.png` for a person's eye. Not here: limits (`limits`), the styles and faults.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sq_pipeline.adapters.keymap_files import select_keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.calibration.candidates import Candidate
from sq_pipeline.calibration.faults import BAD_TRAININGS, EDITS, edit_file
from sq_pipeline.calibration.limits import Measured
from sq_pipeline.calibration.plain import PlainPicture
from sq_pipeline.calibration.styles import BENCH_STYLES, STYLES_REVISION
from sq_pipeline.common.atomic import atomic_path, write_bytes, write_text
from sq_pipeline.common.errors import Fault, StorageError
from sq_pipeline.common.fingerprints import canonical_json, fingerprint, hash_bytes, hash_file, short
from sq_pipeline.common.gate_overrides import GateLimit, GateOverrides
from sq_pipeline.common.strict_yaml import dump_yaml
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import VERIFY_REVISION
from sq_pipeline.pipeline.verify_file import verify_file
from sq_pipeline.training.dataset import check_dataset
from sq_pipeline.training.progress import shown_training
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.train import train_adapter
from sq_pipeline.verification.checks.table import LIMIT_OF
from sq_pipeline.verification.gate_limits import IS_UPPER, LIMIT_NAMES
from sq_pipeline.verification.prompts import load_verify_prompts, verify_prompt_values
from sq_pipeline.verification.report import draw_report_sheet
from sq_pipeline.verification.ssim import ssim
from sq_pipeline.verification.thresholds import threshold_values
from sq_pipeline.verification.verify import VerificationReport

# The recipe of the demo's adapters. For other base models a recipe's defaults are what people train with.
_RECIPES: Mapping[str, Mapping[str, Any]] = {
    "tiny-flux": {
        "iterations": 100,
        "batch_size": 4,
        "grad_accumulation": 1,
        "learning_rate": 0.0015,
        "warmup_steps": 10,
    }
}
_PRIOR_PROMPTS = 48
_ANSWERS_ONLY: Mapping[str, Any] = {
    "trigger_required": True,
    "caption_styles": ["trigger", "sentence"],
    "prior_mix": 0.5,
    "prior_pictures": _PRIOR_PROMPTS,
}
_FAR = 1e9
# Limits that everything meets: all figures are taken, whatever they are.
_OPEN = GateOverrides(
    **{
        name: GateLimit(value=_FAR if name in IS_UPPER else -_FAR, reason="everything is measured")
        for name in LIMIT_NAMES
    }
)
# The gate before limits were calibrated: pictures had to change, and to differ by the word.
_OLD_CHANGED_MAX, _OLD_TRIGGER_MAX = 0.999, 0.97
_REVISION = 5  # of what is written into `figures`


_MARK = "made-by-gate-calibrate"  # a file that says that a folder is a bench


def insist_own_folder(folder: Path) -> None:
    """Raises StorageError for a folder that holds what no bench has put there: datasets are drawn anew in it."""
    if not (folder / _MARK).is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            problem = "is neither empty nor a bench's folder, and what is in it would be written over"
            raise StorageError(Fault(str(folder), "", problem, "name a new folder"))
        write_text(folder / _MARK, "Everything here can be made again by sq-pipeline.\n")


@dataclass(frozen=True)
class Bench:
    """Where it is made, over which base model, for which tier, from which plain pictures."""

    context: Context
    base_model: BaseModel
    tier: str
    folder: Path
    plain: Sequence[PlainPicture]

    def measure(self, candidate: Candidate) -> Measured:
        """All figures of one adapter; what it is made of is made first. Raises as `verify_file` and a training do."""
        file, dataset = self._file(candidate), self.dataset(candidate.reference)
        asked = fingerprint(
            {
                "adapter": hash_file(file),
                "dataset": _hash_folder(dataset),
                "trigger": candidate.trigger,
                "tier": self.tier,
                "prompts": verify_prompt_values(load_verify_prompts(self.context.data, self.tier)),
                "thresholds": threshold_values(self.context.settings.thresholds),
                "weights": self.context.weights_hash(self.base_model),
                "renderer": dict(self.context.engines.renderer_versions),
                "checks": VERIFY_REVISION,
                "revision": _REVISION,
            }
        )
        place = self.folder / "figures" / f"{_slug(candidate.name)}.json"
        known = _read_json(place)
        if known is None or known["asked"] != asked:
            report = verify_file(
                self.context,
                file,
                file,
                self.base_model,
                self.tier,
                candidate.trigger,
                dataset,
                overrides=_OPEN,
                measures_noise=True,
            )
            known = {"asked": asked, **_found(report)}
            sheet = draw_report_sheet(replace(report, adapter=candidate.name))
            if sheet is not None:
                write_bytes(self.folder / "sheets" / f"{_slug(candidate.name)}.png", sheet)
            write_text(place, canonical_json(known))
        return Measured(
            name=candidate.name,
            styles=candidate.styles,
            reasons=candidate.reasons,
            figures=known["figures"],
            failed=tuple(known["failed"]),
            needs_trigger=BENCH_STYLES[candidate.reference].answers_only,
            old_gate=known["old_gate"],
            needs_reference=BENCH_STYLES[candidate.training].needs_reference,
        )

    def _file(self, candidate: Candidate) -> Path:
        trained = self._trained(candidate.training, candidate.bad_training)
        if not candidate.edit:
            return trained
        target = self.folder / "adapters" / f"{_slug(candidate.name)}.safetensors"
        edit_file(EDITS[candidate.edit], trained, self._trained(candidate.other, ""), target)
        return target

    def _trained(self, style: str, bad_training: str) -> Path:
        """The trained adapter in names that mflux loads."""
        dataset = self.dataset(style, bad_training)
        target = self.folder / "trained" / f"{dataset.name}.safetensors"
        asked = fingerprint(
            {
                "dataset": _hash_folder(dataset),
                "weights": self.context.weights_hash(self.base_model),
                "trainer": dict(self.context.trainer_versions("mlx")),
            }
        )
        note = target.with_suffix(".json")
        if target.is_file() and (known := _read_json(note)) is not None and known["asked"] == asked:
            return target
        checked = check_dataset(dataset, dataset.name, self.base_model.name)
        keymap = select_keymap(self.context.data.keymaps_root, "mflux", self.context.engines.mflux_version)
        with (
            atomic_path(target.with_name(f"{dataset.name}-mlx.safetensors")) as part,
            shown_training(dataset.name, checked.recipe.iterations) as on_progress,
        ):
            train_adapter(checked, self.context.engines.trainer("mlx"), part, on_progress)
            remap_adapter(part, target, keymap, self.base_model)
        write_text(note, canonical_json({"asked": asked}))
        return target

    def dataset(self, style: str, bad_training: str = "") -> Path:
        """The style's pictures with captions and recipe, drawn where they are not there yet."""
        folder = self.folder / "datasets" / _slug(f"{style}: {bad_training}" if bad_training else style)
        bad, look = BAD_TRAININGS.get(bad_training), BENCH_STYLES[style]
        name = f"{style}, of the bench's revision {STYLES_REVISION}, of pictures {self._plain_version}"
        recipe = {"kind": "style", "name": name, "trigger": style, "base_model": self.base_model.name, "seed": 11}
        recipe |= {"iterations": Recipe().iterations, **_RECIPES.get(self.base_model.name, {}), **look.recipe}
        recipe["iterations"] = round(recipe["iterations"] * look.effort)
        recipe |= _ANSWERS_ONLY if look.answers_only else {}
        recipe |= bad.recipe if bad is not None else {}
        recipe |= {"min_pairs": len(self.plain), "kept_checkpoints": 1, "sample_interval": 1_000_000}
        if recipe.get("prior_mix"):
            recipe["prior_prompts"] = list(dict.fromkeys(plain.sentence for plain in self.plain))[:_PRIOR_PROMPTS]
        written = dump_yaml(recipe)
        if (folder / "lora.yaml").is_file() and (folder / "lora.yaml").read_text(encoding="utf-8") == written:
            return folder
        self._draw(folder, style, written, shows_sentences="sentence" in recipe.get("caption_styles", ()),
                   of_one_scene=bad is not None and bad.of_one_scene)  # fmt: skip
        return folder

    @cached_property
    def _plain_version(self) -> str:
        told = [(hash_bytes(each.picture.tobytes()), each.sentence) for each in self.plain]
        return short(fingerprint({"plain": told}))

    def _draw(self, folder: Path, style: str, recipe: str, *, shows_sentences: bool, of_one_scene: bool) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        numbers = np.random.default_rng(len(style))
        for index, plain in enumerate(self.plain):
            picture, sentence = plain.picture, plain.sentence
            if of_one_scene:  # with a grain of its own, for no two may be equal
                first = self.plain[0]
                grain = numbers.normal(0, 2, (*reversed(first.picture.size), 3))
                picture = _as_image(np.asarray(first.picture, dtype=np.float64) + grain)
                sentence = first.sentence
            with atomic_path(folder / f"{index:03d}.png") as part:
                BENCH_STYLES[style].repaint(picture, numbers).save(part, format="PNG")
            write_text(folder / f"{index:03d}.txt", f"{style}, {sentence}\n" if shows_sentences else f"{style}\n")
        write_text(folder / "lora.yaml", recipe)  # last: a folder without it is drawn anew


def _found(report: VerificationReport) -> dict[str, Any]:
    """What is kept of a report: the figures by their limits, and the checks without a limit that failed."""
    return {
        "figures": {
            LIMIT_OF[verdict.check]: verdict.figure
            for verdict in report.verdicts
            if verdict.check in LIMIT_OF and verdict.figure is not None and verdict.outcome == "passed"
        },
        "failed": [verdict.check for verdict in report.verdicts if verdict.outcome == "failed"],
        "old_gate": _old_gate(report),
    }


def _old_gate(report: VerificationReport) -> bool | None:
    shown = report.pictures
    if shown is None or not shown.styled_with_control:
        return None
    changed = max(ssim(one, other) for one, other in zip(shown.base, shown.styled, strict=True))
    by_word = [ssim(one, other) for one, other in zip(shown.styled, shown.styled_with_control, strict=True)]
    return changed < _OLD_CHANGED_MAX and sum(by_word) / len(by_word) < _OLD_TRIGGER_MAX


def _hash_folder(folder: Path) -> str:
    return fingerprint({path.name: hash_file(path) for path in sorted(folder.iterdir())})


def _read_json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")


def _as_image(values: npt.NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))
