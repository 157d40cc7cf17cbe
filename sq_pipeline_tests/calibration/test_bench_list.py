"""What is on the bench: styles that differ, enough adapters of every kind, plain pictures."""

import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sq_pipeline.base_models.base_models import resolve_base_model
from sq_pipeline.calibration.candidates import EACH_EDIT, EACH_TRAINING, candidates, other_style, sample
from sq_pipeline.calibration.faults import BAD_TRAININGS, EDITS
from sq_pipeline.calibration.plain import LEAST_PICTURES, PICTURES, plain_pictures
from sq_pipeline.calibration.styles import BENCH_STYLES
from sq_pipeline.common.errors import DatasetError
from sq_pipeline.painter.scenes import paint, random_scene
from sq_pipeline.verification.checks.table import BEFORE_PICTURES, LIMIT_OF, ON_PICTURES
from sq_pipeline.verification.gate_limits import LIMIT_NAMES
from sq_pipeline.verification.measures.change import mean_change
from sq_pipeline.verification.measures.features import Pixels

STYLES = tuple(BENCH_STYLES)
SCENES = [paint(random_scene(random.Random(seed))) for seed in range(6)]


def repainted(style: str, scene: Image.Image) -> Pixels:
    return np.asarray(BENCH_STYLES[style].repaint(scene, np.random.default_rng(1)))


@pytest.mark.parametrize("style", STYLES)
def test_a_style_shows_and_keeps_the_size(style: str) -> None:
    for scene in SCENES:
        picture = repainted(style, scene)
        assert (picture.shape, picture.dtype) == ((scene.height, scene.width, 3), np.uint8)
        np.testing.assert_array_equal(picture, repainted(style, scene))
        assert mean_change([picture], [np.asarray(scene)]) > 6  # ΔE; at least 2 to be seen at all
    tall = Image.new("RGB", (48, 96), (90, 120, 60))
    assert repainted(style, tall).shape == (96, 48, 3)


PAIRS = [(one, other) for one, other in combinations(STYLES, 2) if not other.endswith("_on_call")]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_no_two_styles_look_alike(one: str, other: str) -> None:
    pictures = [[repainted(style, scene) for scene in SCENES] for style in (one, other)]
    assert mean_change(*pictures) > 6


def test_the_bench_is_large_enough_and_names_everything_once() -> None:
    bench = candidates()
    assert len(bench) >= 60
    assert len(sample()) >= 16
    assert len({candidate.name for candidate in bench}) == len(bench)
    assert sum(not candidate.reasons for candidate in bench) == len(STYLES) >= 8
    assert {look.kind for look in BENCH_STYLES.values()} == {"palette", "line", "texture", "framing", "grade"}
    assert any(look.answers_only for look in BENCH_STYLES.values())


def test_every_fault_is_made_of_several_styles() -> None:
    bench = candidates()
    for edit in EDITS:
        assert len({c.training for c in bench if c.edit == edit}) == EACH_EDIT
    for training in BAD_TRAININGS:
        assert len({c.training for c in bench if c.bad_training == training}) == EACH_TRAINING
    assert {c.training for c in bench if c.fault == "another style"} <= set(STYLES)
    assert all(c.reasons == ("trigger",) for c in bench if c.trigger == "wexlibrum")


@pytest.mark.parametrize("style", STYLES)
def test_a_style_is_confused_with_one_that_looks_otherwise(style: str) -> None:
    other = other_style(style, STYLES)
    pictures = [[repainted(each, scene) for scene in SCENES] for each in (style, other)]
    assert mean_change(*pictures) > 8


def test_the_limits_names_are_those_of_checks() -> None:
    assert set(LIMIT_OF.values()) == set(LIMIT_NAMES)
    assert set(LIMIT_OF) <= {check.name for check in (*BEFORE_PICTURES, *ON_PICTURES)}


def test_scenes_are_drawn_for_tiny_flux_and_for_nothing_else() -> None:
    plain = plain_pictures(resolve_base_model("tiny-flux"), None)
    assert len(plain) == PICTURES
    assert all(picture.sentence for picture in plain)
    with pytest.raises(DatasetError, match="name a folder of 40 plain pictures"):
        plain_pictures(resolve_base_model("flux1-dev"), None)


def test_a_folder_needs_enough_pictures_with_a_sentence(tmp_path: Path) -> None:
    for index in range(LEAST_PICTURES):
        SCENES[index % len(SCENES)].save(tmp_path / f"{index:02d}.png")
        if index:
            (tmp_path / f"{index:02d}.txt").write_text(f"a mill, number {index}\n")
    with pytest.raises(DatasetError, match="holds 39 pictures with a sentence beside them, at least 40"):
        plain_pictures(resolve_base_model("flux1-dev"), tmp_path)
    (tmp_path / "00.txt").write_text("a mill at noon\n")
    plain = plain_pictures(resolve_base_model("flux1-dev"), tmp_path)
    assert (len(plain), plain[0].sentence) == (LEAST_PICTURES, "a mill at noon")
    size = resolve_base_model("flux1-dev").training_size
    assert plain[0].picture.size == (size.width_px, size.height_px)
