"""A data directory that an earlier version made: nothing in it is made again. And each recorded input counts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import machine
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.plan import Plan, make_plan
from sq_pipeline.settings import Settings, TierSettings
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.verification.prompts import VerifyPrompts
from sq_pipeline.verification.thresholds import FidelityThresholds, Thresholds
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.upgrade.recording import RECORDING, build, read_recording

ASSETS = 78
Recording = dict[str, Any]


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    """The recording, on a machine that has the engines it was made with."""
    found = read_recording()
    monkeypatch.setattr(machine, "version_of", lambda name: found["engines"][name])
    return found


def _plan(data: DataDir) -> Plan:
    return make_plan(Context(data, real_engines(data)), None)


def _counts(plan: Plan) -> dict[str, int]:
    found = plan.as_json()
    # the story's keys are told since `ignore_keys` can declare them; of anything else nothing is
    assert all("not read: " in warning for warning in found["warnings"])
    return {name: len(found[name]) for name in ("stale", "blocked", "faults")} | {"fresh": found["fresh"]}


def test_nothing_is_to_do(recording: Recording, tmp_path: Path) -> None:
    data = build(recording, tmp_path / "demo")
    plan = _plan(data)
    assert plan.as_json()["stale"] == []
    assert _counts(plan) == {"stale": 0, "blocked": 0, "faults": 0, "fresh": ASSETS}
    assert plan.settled == ()  # every asset was looked at
    assert {step.asset for step in plan.steps()} == {*recording["current"]}


def test_a_second_look_finds_nothing_either(recording: Recording, tmp_path: Path) -> None:
    data = build(recording, tmp_path / "demo")
    _plan(data)
    again = _plan(data)
    assert len(again.settled) == 3
    assert _counts(again) == {"stale": 0, "blocked": 0, "faults": 0, "fresh": ASSETS}


# --- without these, a plan that looked at nothing would pass as well


def _hash(recording: Recording, folder: str, name: str) -> None:
    recording["files"][folder][name][1] = "sha256:" + "0" * 64


def _picture(recording: Recording) -> None:
    _hash(recording, "content/lora-datasets/neon_tides/landscape", "007.png")


def _weights(recording: Recording) -> None:
    _hash(recording, "models/tiny-flux", "model.safetensors")


def _edit(recording: Recording, name: str, old: str, new: str) -> None:
    assert old in recording["texts"][name]
    recording["texts"][name] = recording["texts"][name].replace(old, new, 1)


def _recipe(recording: Recording) -> None:
    _edit(recording, "content/lora-datasets/neon_tides/landscape/lora.yaml", "rank: 8", "rank: 4")


def _keymap(recording: Recording) -> None:
    _edit(recording, "keymaps/mlx-to-mflux.yaml", "transpose: true", "transpose: false")


def _verify_prompt(recording: Recording) -> None:
    _edit(recording, "verify_prompts/landscape.yaml", "at noon", "at night")


def _threshold(recording: Recording) -> None:
    recording["texts"]["sq.yaml"] += "thresholds: {ssim_changed_max: 0.9}\n"


def _gate_limit(recording: Recording) -> None:
    recording["texts"]["sq.yaml"] += "thresholds: {gate: {loss_saved: {value: 0.1, reason: it is faint}}}\n"


def _gate_limit_of_style(recording: Recording) -> None:
    recording["texts"]["sq.yaml"] += "thresholds: {gate: {style_share: {value: 0.1, reason: it is faint}}}\n"


def _gate_limit_of_one(recording: Recording) -> None:
    limit = "{style_share: {value: 0.1, reason: it is faint}}"
    recording["texts"]["sq.yaml"] += f"thresholds: {{gate_for: {{neon_tides/neon_tides_landscape: {limit}}}}}\n"


def _gate_file(recording: Recording) -> None:
    recording["texts"]["gate/tiny-flux.yaml"] = "base_model: tiny-flux\nbase_weights: sha256:0\n"


def _scale(recording: Recording) -> None:
    _edit(recording, "content/genre_packs/neon_tides/visual_style.yaml", "scale: 0.9", "scale: 0.8")


def _prompt(recording: Recording) -> None:
    _edit(recording, "content/genre_packs/neon_tides/worlds/harbour_of_glass/history.yaml", "sunset", "sunrise")


def _size(recording: Recording) -> None:
    recording["texts"]["sq.yaml"] += "tiers: {landscape: {num_inference_steps: 7}}\n"


def _mflux(recording: Recording) -> None:
    recording["engines"]["mflux"] = "0.24.1"


def _mlx(recording: Recording) -> None:
    recording["engines"]["mlx"] = "0.32.99"


def _promoted(recording: Recording) -> None:
    _hash(recording, "content/lora/neon_tides", "landscape.safetensors")


def _record_of(recording: Recording, kind: str) -> dict[str, Any]:
    return next(values for values in recording["records"] if values["kind"] == kind)


def _record_is_gone(recording: Recording) -> None:
    recording["records"].remove(_record_of(recording, "verification"))


def _form_of_an_input(recording: Recording) -> None:
    """As if pictures had been made from something else."""
    values = _record_of(recording, "picture")
    values["fingerprint"] = values["fingerprint"][:-4] + "0000"


@pytest.mark.parametrize(
    ("change", "kind", "count"),
    [
        (_picture, "training_dataset", 1),
        (_weights, "mlx_adapter", 3),
        (_recipe, "training_dataset", 1),
        (_keymap, "chosen_checkpoint", 3),
        (_verify_prompt, "chosen_checkpoint", 3),
        (_threshold, "chosen_checkpoint", 3),
        # what the gate of before has judged stands, but for what a person asks of the gate of today
        (_gate_limit, "verification", 3),
        # a limit that checkpoints are chosen by as well
        (_gate_limit_of_style, "chosen_checkpoint", 3),
        (_gate_limit_of_one, "chosen_checkpoint", 1),
        (_gate_file, "chosen_checkpoint", 3),
        (_scale, "stack", 1),
        (_prompt, "prompt", 1),
        (_size, "picture", 27),
        (_mflux, "chosen_checkpoint", 3),
        (_mlx, "mlx_adapter", 3),
        (_promoted, "promoted_adapter", 1),
        (_record_is_gone, "verification", 1),
        (_form_of_an_input, "picture", 1),
    ],
)
def test_a_changed_input_is_noticed_where_it_enters(
    recording: Recording, tmp_path: Path, change: Callable[[Recording], None], kind: str, count: int
) -> None:
    change(recording)
    steps = _plan(build(recording, tmp_path / "demo")).steps()
    steps = [step for step in steps if step.is_to_do or step.status == "waiting"]
    first = [step.kind for step in steps if step.because is None]
    assert first.count(kind) == count, first


# --- a field that comes in and is off


@contextmanager
def _with_field(model: type[BaseModel], users: tuple[type[BaseModel], ...] = ()) -> Iterator[None]:
    """Add a field with an off default to a model, as a later version would; `users` have the model as a field."""
    fields = model.__pydantic_fields__
    off = None if model is TierSettings else False  # of a tier, what is not said is the base model's own
    fields["later"] = FieldInfo(annotation=bool, default=off)
    try:
        for each in (model, *users):
            each.model_rebuild(force=True)
        yield
    finally:
        del fields["later"]
        for each in (model, *users):
            each.model_rebuild(force=True)


_SAID_BUT_EMPTY = "thresholds: {fidelity: {}}\ntiers: {landscape: {}}\n"  # made when read, with the later field


@pytest.mark.parametrize(
    ("model", "users"),
    [
        (Recipe, ()),
        (Thresholds, (Settings,)),
        (FidelityThresholds, (Thresholds, Settings)),
        (VerifyPrompts, ()),
        (TierSettings, (Settings,)),
        (Settings, ()),
    ],
)
def test_a_later_field_that_is_off_changes_nothing(
    recording: Recording, tmp_path: Path, model: type[BaseModel], users: tuple[type[BaseModel], ...]
) -> None:
    recording["texts"]["sq.yaml"] += _SAID_BUT_EMPTY
    with _with_field(model, users):
        plan = _plan(build(recording, tmp_path / "demo"))
    assert "later" not in model.model_fields
    assert _counts(plan) == {"stale": 0, "blocked": 0, "faults": 0, "fresh": ASSETS}


def test_a_setting_that_is_said_but_empty_changes_nothing(recording: Recording, tmp_path: Path) -> None:
    recording["texts"]["sq.yaml"] += _SAID_BUT_EMPTY
    assert _counts(_plan(build(recording, tmp_path / "demo")))["fresh"] == ASSETS


def test_the_recording_stays_small() -> None:
    assert RECORDING.stat().st_size < 400_000
