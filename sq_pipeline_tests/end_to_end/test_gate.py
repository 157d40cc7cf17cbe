"""The gate over the real renderer: the demo's adapters pass, and what is broken fails for its own reason.

Each case is an adapter that an art director would take or reject; the check that must fail first is named beside it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.verify_file import verify_file
from sq_pipeline.verification.verify import VerificationReport
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.conftest import link_shipped
from sq_pipeline_tests.end_to_end.conftest import Demo

pytestmark = pytest.mark.long

Tensors = dict[str, npt.NDArray[np.float32]]
TINY = FLUX1_MODELS["tiny-flux"]
FOLDERS = {
    "spaghetti_western": "spaghetti_western/landscape",
    "real_mccoy": "spaghetti_western/worlds/the_real_mccoy/landscape",
    "neon_tides": "neon_tides/landscape",
}
FILES = {
    "spaghetti_western": "spaghetti_western/landscape.safetensors",
    "real_mccoy": "spaghetti_western/the_real_mccoy/landscape.safetensors",
    "neon_tides": "neon_tides/landscape.safetensors",
}
UP = ".lora_up.weight"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> Context:
    """A data directory of its own, whose store keeps the base model's pictures from case to case."""
    data = link_shipped(tmp_path_factory.mktemp("gate") / "data", shipped)
    return Context(data, real_engines(data))


def _verify(
    gate: Context, whole: Demo, file: Path, style: str, trigger: str | None = None, *, with_reference: bool = True
) -> VerificationReport:
    folder = whole.data.datasets_root / FOLDERS[style] if with_reference else None
    return verify_file(gate, file, file, TINY, "landscape", trigger or style, folder)


def _first_failure(report: VerificationReport) -> str:
    return next((verdict.check for verdict in report.verdicts if verdict.outcome == "failed"), "")


def _each(change: Callable[[str, npt.NDArray[np.float32]], npt.NDArray[np.float32]]) -> Callable[[Tensors], Tensors]:
    def edit(tensors: Tensors) -> Tensors:
        return {k: np.ascontiguousarray(change(k, v)) if k.endswith(UP) else v for k, v in tensors.items()}

    return edit


def _scaled(factor: float) -> Callable[[Tensors], Tensors]:
    return _each(lambda _, up: up * np.float32(factor))


def _rotated(name: str, up: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(len(name))
    return up[rng.permutation(len(up))] * rng.choice(np.array([-1, 1], np.float32), len(up))[:, None]


def _noise(name: str, up: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    found = np.random.default_rng(len(name)).standard_normal(up.shape).astype(np.float32)
    return found * np.float32(np.linalg.norm(up) / np.linalg.norm(found))


def _exchanged(tensors: Tensors) -> Tensors:
    """Each block's update in the next block of its kind."""

    def next_block(key: str) -> str:
        stem, count = (
            ("double_blocks", TINY.double_blocks) if "double" in key else ("single_blocks", TINY.single_blocks)
        )
        index = int(key.split(f"{stem}_")[1].split("_")[0])
        return key.replace(f"{stem}_{index}_", f"{stem}_{(index + 1) % count}_")

    return {next_block(key): value for key, value in tensors.items()}


def _cut_in_two(tensors: Tensors) -> Tensors:
    keys = sorted(tensors)
    return {key: tensors[key] for key in keys[: len(keys) // 6 * 3]}


BROKEN: dict[str, tuple[str, Callable[[Tensors], Tensors]]] = {
    "zero": ("adapter file", _scaled(0)),
    "noise of the same norm": ("loss saved", _each(_noise)),
    "outputs rotated at random": ("loss saved", _each(_rotated)),
    "blocks exchanged": ("loss saved", _exchanged),
    "negated": ("loss saved", _scaled(-1)),
    "a sixth of its strength": ("style shown", _scaled(0.15)),
    "four times too strong": ("loss saved", _scaled(4)),
    "ten times too strong": ("loss saved", _scaled(10)),
    "half of it lost": ("adapter file", _cut_in_two),
}


@pytest.mark.parametrize("style", FILES)
def test_the_demo_s_adapters_pass(style: str, gate: Context, whole: Demo) -> None:
    report = _verify(gate, whole, whole.data.lora_root / FILES[style], style)
    assert report.has_passed, report.sentence
    assert {verdict.outcome for verdict in report.verdicts} == {"passed"}
    assert report.pictures_rendered <= 16
    assert report.sentence.startswith("PASS: pictures show ")


@pytest.mark.parametrize(
    ("style", "fault"),
    [("neon_tides", fault) for fault in BROKEN]
    + [("spaghetti_western", fault) for fault in ("outputs rotated at random", "negated")],
)
def test_what_is_broken_fails_for_its_own_reason(
    style: str, fault: str, gate: Context, whole: Demo, tmp_path: Path
) -> None:
    check, edit = BROKEN[fault]
    file = tmp_path / "broken.safetensors"
    save_file(edit(load_file(whole.data.lora_root / FILES[style])), file)
    report = _verify(gate, whole, file, style)
    assert _first_failure(report) == check, report.sentence
    assert report.pictures_rendered <= 4
    # the pictures say it too, and not the loss alone
    if report.pictures_rendered:
        failed = {verdict.check for verdict in report.verdicts if verdict.outcome == "failed"}
        assert failed - {"loss saved"}, report.sentence


def test_another_style_under_this_name_fails(gate: Context, whole: Demo) -> None:
    report = _verify(gate, whole, whole.data.lora_root / FILES["neon_tides"], "real_mccoy")
    failed = {verdict.check for verdict in report.verdicts if verdict.outcome == "failed"}
    assert failed & {"style shown", "right style", "style not overshot"}, report.sentence


@pytest.mark.parametrize("has_captions", [True, False])
def test_a_trigger_that_it_never_saw_fails(has_captions: bool, gate: Context, whole: Demo, tmp_path: Path) -> None:
    folder = whole.data.datasets_root / FOLDERS["neon_tides"]
    if not has_captions:  # pictures alone: the loss says that it is no better than any word
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        for path in sorted(folder.glob("*.png")):
            (pictures / path.name).write_bytes(path.read_bytes())
        folder = pictures
    file = whole.data.lora_root / FILES["neon_tides"]
    report = verify_file(gate, file, file, TINY, "landscape", "wexlibrum", folder)
    assert not report.has_passed
    (trigger,) = [verdict for verdict in report.verdicts if verdict.check == "trigger"]
    assert trigger.outcome == "failed", trigger.detail


def test_without_a_reference_the_report_says_what_was_not_checked(gate: Context, whole: Demo) -> None:
    file = whole.data.lora_root / FILES["neon_tides"]
    report = _verify(gate, whole, file, "neon_tides", with_reference=False)
    assert report.has_passed
    told = {verdict.check: (verdict.outcome, verdict.detail) for verdict in report.verdicts}
    assert told["style shown"] == (
        "skipped",
        "without a dataset or a folder of reference pictures, whether this is its style was not checked",
    )
    assert told["against noise"][0] == "passed"
    assert report.remarks == ("no source was named: its fidelity proves loading only",)


def test_two_runs_give_the_same_figures(gate: Context, whole: Demo) -> None:
    file = whole.data.lora_root / FILES["real_mccoy"]
    first, second = (_verify(gate, whole, file, "real_mccoy").as_json() for _ in range(2))
    assert first == second
