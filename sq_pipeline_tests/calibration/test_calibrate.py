"""Writing limits: beside those of other tiers, and never over a file of a person's own without a copy."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.calibration.bench import Bench
from sq_pipeline.calibration.calibrate import CalibrationRequest, calibrate, limits_in_use, write_limits
from sq_pipeline.calibration.limits import Measured, find_limits
from sq_pipeline.calibration.plain import PlainPicture, plain_pictures
from sq_pipeline.common.errors import BaseModelError, ContentError, StorageError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pipeline.context import Context
from sq_pipeline.verification.gate_files import load_calibration, load_shipped
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.conftest import link_shipped

TINY = BASE_MODELS["tiny-flux"]


@pytest.fixture
def context(tmp_path: Path, shipped: DataDir) -> Context:
    data = link_shipped(tmp_path / "data", shipped)
    return Context(data, real_engines(data))


def bench(share: float) -> list[Measured]:
    return [Measured(style, frozenset({style}), (), {"style_share": share}) for style in ("a", "b")]


def request(tier: str, tmp_path: Path) -> CalibrationRequest:
    return CalibrationRequest(TINY, tier, tmp_path / "bench")


def test_limits_come_beside_those_of_other_tiers(context: Context, tmp_path: Path) -> None:
    path = write_limits(context, request("portrait", tmp_path), bench(0.5))
    found, shipped = load_calibration(context.data, "tiny-flux"), load_shipped("tiny-flux")
    assert found is not None
    assert shipped is not None
    assert found.tiers == {**shipped.tiers, "portrait": find_limits(bench(0.5))}
    assert path == context.data.gate_root / "tiny-flux.yaml"
    assert limits_in_use(context, request("portrait", tmp_path))["style_share"].limit == 0.25
    first = path.read_bytes()
    write_limits(context, request("portrait", tmp_path), bench(0.5))
    assert path.read_bytes() == first
    assert not (path.parent / "archive").exists()


def test_a_file_that_was_there_is_kept(context: Context, tmp_path: Path) -> None:
    path = write_limits(context, request("portrait", tmp_path), bench(0.5))
    mine = path.read_text() + "# and a word of mine\n"
    path.write_text(mine)
    write_limits(context, request("landscape", tmp_path), bench(0.8))
    (kept,) = (path.parent / "archive").iterdir()
    assert kept.read_text() == mine
    found = load_calibration(context.data, "tiny-flux")
    assert found is not None
    assert {tier: limits["style_share"].limit for tier, limits in found.tiers.items()} == {
        "landscape": 0.4,
        "portrait": 0.25,
    }


def test_limits_of_other_weights_are_not_carried_on(context: Context, tmp_path: Path) -> None:
    path = write_limits(context, request("portrait", tmp_path), bench(0.5))
    path.write_text(path.read_text().replace("base_weights: sha256:", "base_weights: sha256:0"))
    write_limits(context, request("landscape", tmp_path), bench(0.8))
    found = load_calibration(context.data, "tiny-flux")
    assert found is not None
    assert list(found.tiers) == ["landscape"]


def test_a_base_model_that_is_not_trained_here_has_no_bench(context: Context, tmp_path: Path) -> None:
    wanted = CalibrationRequest(BASE_MODELS["z-image-turbo"], "landscape", tmp_path / "bench")
    with pytest.raises(BaseModelError, match="z-image-turbo is not trained here"):
        calibrate(context, wanted, lambda _line: None)
    assert not (tmp_path / "bench").exists()


def test_a_folder_that_is_no_bench_is_left_alone(context: Context, tmp_path: Path) -> None:
    mine = tmp_path / "bench/datasets/neon/mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    wanted = CalibrationRequest(TINY, "landscape", tmp_path / "bench", is_sample=True)
    with pytest.raises(StorageError, match="bench: is neither empty nor a bench's folder"):
        calibrate(context, wanted, lambda _line: None)
    assert mine.read_bytes() == b"mine"
    assert [path.name for path in (tmp_path / "bench").iterdir()] == ["datasets"]


@pytest.mark.parametrize("tier", ["map", "../landscape"])
def test_a_tier_without_prompts_is_told_before_anything_is_made(tier: str, context: Context, tmp_path: Path) -> None:
    with pytest.raises(ContentError):
        calibrate(context, CalibrationRequest(TINY, tier, tmp_path / "bench", is_sample=True), lambda _line: None)
    assert not (tmp_path / "bench").exists()


def test_other_pictures_are_another_dataset_and_equal_ones_the_same(context: Context, tmp_path: Path) -> None:
    plain = plain_pictures(TINY, None)[:3]

    def draw(pictures: Sequence[PlainPicture]) -> int:
        folder = Bench(context, TINY, "landscape", tmp_path / "bench", pictures).dataset("warm")
        return (folder / "lora.yaml").stat().st_mtime_ns

    first = draw(plain)
    assert draw(plain) == first
    assert draw([*plain[:2], PlainPicture(plain[2].picture, "a mill")]) != first
    second = draw(plain)
    assert draw([*plain[:2], PlainPicture(plain[2].picture.rotate(180), plain[2].sentence)]) != second
