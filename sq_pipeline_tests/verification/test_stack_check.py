"""Stacks that hold together, and such that do not: one adapter drowned by another, subjects lost, nothing added."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.gate_overrides import GateLimit, GateOverrides
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pictures.ports import AppliedAdapter, RenderedImage, RenderRequest
from sq_pipeline.verification.gate_limits import Limits
from sq_pipeline.verification.prompts import load_verify_prompts
from sq_pipeline.verification.stack_check import (
    MOST_PICTURES,
    StackReport,
    StackRequest,
    check_stack,
    draw_stack_sheet,
    prompts_of_stack,
)

Mode = Literal["beside", "first only", "one scene"]
TINTS = {"red": (60, 0, 0), "blue": (0, 0, 60), "green": (0, 60, 0), "nothing": (0, 0, 0)}


@dataclass
class Tinter:
    """Draws a scene for each prompt, and tints it as adapters are called; `mode`: what several do to each other."""

    mode: Mode = "beside"
    requests: list[RenderRequest] = field(default_factory=list[RenderRequest])
    model_loads: int = 0

    def describe(self) -> EngineDescription:
        return EngineDescription("tinter", {"tinter": "1"}, "no chip")

    def render(self, request: RenderRequest) -> RenderedImage:
        self.requests.append(request)
        is_one = self.mode == "one scene" and len(request.adapters) > 1
        seed = 7 if is_one else request.seed
        cells = np.random.default_rng(seed).uniform(60, 180, (request.height_px // 8, request.width_px // 8, 3))
        pixels = cells.repeat(8, axis=0).repeat(8, axis=1)
        for use in request.adapters[: 1 if self.mode == "first only" else None]:
            pixels = pixels + use.lora_scale * np.array(TINTS[use.path.stem])
        applied = tuple(AppliedAdapter(use.path, use.lora_scale, 2, 2, 1, 1) for use in request.adapters)
        return RenderedImage(np.clip(np.round(pixels), 0, 255).astype(np.uint8), 0.0, applied)


def look(shipped: DataDir, names: Sequence[str], mode: Mode = "beside", **own: float) -> tuple[StackReport, Tinter]:
    overrides = GateOverrides(**{name: GateLimit(value=value, reason="a test") for name, value in own.items()})
    request = StackRequest(
        stack="west/old",
        members={name: AdapterUse(Path(f"{name}.safetensors"), 1.0) for name in names},
        word="old_west",
        base_model=BASE_MODELS["tiny-flux"],
        tier="landscape",
        prompts=load_verify_prompts(shipped, "landscape"),
        limits=Limits(None, overrides),
    )
    renderer = Tinter(mode)
    return check_stack(request, renderer), renderer


def outcomes(report: StackReport) -> list[str]:
    return [verdict.outcome for verdict in report.verdicts]


def test_adapters_that_do_not_touch_each_other_hold(shipped: DataDir) -> None:
    report, _ = look(shipped, ["red", "blue"])
    assert report.holds
    assert report.sentence == "its adapters hold together"
    figures = [verdict.figure for verdict in report.verdicts]
    assert all(figure is not None and figure > 0.7 for figure in figures)
    assert [verdict.null for verdict in report.verdicts[:2]] == [0, 0]


def test_one_that_is_drowned_is_named(shipped: DataDir) -> None:
    report, _ = look(shipped, ["red", "blue"], "first only")
    assert outcomes(report) == ["passed", "warned", "passed"]
    assert report.sentence == "blue shows 0 % of what it does alone beside the other adapters"


def test_one_picture_for_all_prompts_keeps_no_subject(shipped: DataDir) -> None:
    report, _ = look(shipped, ["red", "blue"], "one scene")
    assert report.verdicts[-1].outcome == "warned"
    assert "together they keep" in report.sentence


def test_one_that_does_nothing_even_alone_is_told_so(shipped: DataDir) -> None:
    report, _ = look(shipped, ["red", "nothing"])
    assert outcomes(report) == ["passed", "warned", "passed"]
    assert report.sentence == "nothing does nothing to colours, not even alone"


@pytest.mark.parametrize(("name", "value"), [("stack_shown", 5.0), ("subject_kept", 1.5)])
def test_a_persons_limit_counts_with_its_reason(shipped: DataDir, name: str, value: float) -> None:
    report, _ = look(shipped, ["red", "blue"], "beside", **{name: value})
    assert not report.holds
    assert next(verdict.limit for verdict in report.verdicts if verdict.outcome == "warned") == value
    assert any("a test" in verdict.threshold for verdict in report.verdicts)


@pytest.mark.parametrize(
    ("names", "prompts", "styled"),
    [(["red", "blue"], 4, 12), (["red", "blue", "green"], 2, 14), (["red", "blue", "green", "nothing"], 2, 18)],
)
def test_what_a_look_takes(shipped: DataDir, names: list[str], prompts: int, styled: int) -> None:
    _, renderer = look(shipped, names)
    assert prompts_of_stack(4, len(names)) == prompts
    assert sum(bool(request.adapters) for request in renderer.requests) == styled
    assert styled <= MOST_PICTURES or len(names) > 3
    assert sum(not request.adapters for request in renderer.requests) == prompts
    assert len({replace(request, adapters=()) for request in renderer.requests}) == prompts  # only the adapters differ


def test_one_prompt_says_nothing_of_subjects(shipped: DataDir) -> None:
    assert prompts_of_stack(1, 2) == 1


def test_two_looks_give_the_same_bytes(shipped: DataDir) -> None:
    first, second = (look(shipped, ["red", "blue"])[0] for _ in range(2))
    assert first.as_json() == second.as_json()
    assert draw_stack_sheet(first) == draw_stack_sheet(second)
    with Image.open(io.BytesIO(draw_stack_sheet(first))) as sheet:
        assert sheet.width > 4 * 128  # base, red, blue, together
