"""A folder of reference pictures, whatever lies in it; the limits of the gate, by file, tier, adapter and person."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from sq_pipeline.base_models.base_models import BASE_MODELS, SizePx
from sq_pipeline.common.errors import ContentError, DatasetError
from sq_pipeline.common.gate_overrides import GateOverrides
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pipeline.reference_pictures import reference_folder
from sq_pipeline.verification.gate_files import load_calibration
from sq_pipeline.verification.gate_limits import LIMIT_NAMES, limits_for
from sq_pipeline.verification.thresholds import Thresholds, threshold_values
from sq_pipeline_tests.builders import make_image, write_pair

TINY = BASE_MODELS["tiny-flux"]
SIZE = SizePx(64, 48)


def test_pictures_captions_and_recipe_are_read(tmp_path: Path) -> None:
    for number in range(24):
        write_pair(tmp_path, f"{number:02d}", number, "old_west, a mill" if number else "old_west")
    (tmp_path / "lora.yaml").write_text(
        "trigger: old_west\nkind: subject\ntrigger_required: true\nmodules: ['*.qkv']\n"
    )
    found = reference_folder(tmp_path, TINY)
    assert len(found.pictures) == len(found.captions) == 24
    assert found.captions[:2] == ("old_west", "old_west, a mill")
    assert (found.is_style, found.trigger_is_required, found.modules) == (False, True, ("*.qkv",))
    assert found.held_out == (6, 18)  # a tenth, as the training holds them out
    assert found.captions_hold("old_west")
    assert not found.captions_hold("old_east")


@pytest.mark.parametrize(
    ("caption", "trigger", "holds"),
    [
        ("old_west", "old_west", True),
        ("a mill in old_west, at noon", "old_west", True),
        ("caf\u00e9 noir", "cafe\u0301", True),  # as another system writes it
        ("westward", "west", False),  # within another word
        ("", "old_west", False),
    ],
)
def test_a_caption_holds_a_word_for_itself(caption: str, trigger: str, holds: bool, tmp_path: Path) -> None:
    write_pair(tmp_path, "a", 1, caption)
    assert reference_folder(tmp_path, TINY).captions_hold(trigger) is holds


def test_pictures_alone_will_do_and_those_of_other_sizes_are_cut_to_one(tmp_path: Path) -> None:
    for number, (width, height) in enumerate([(128, 96), (300, 60), (60, 300), (16, 16)]):
        make_image(number, width, height).save(tmp_path / f"{number}.png")
    found = reference_folder(tmp_path, TINY)
    assert (found.has_captions, found.modules, found.is_style) == (False, None, True)
    assert {picture.shape for picture in found.read(SIZE)} == {(48, 64, 3)}
    assert found.read(SIZE) is found.read(SIZE)  # decoded once
    assert found.held_out == (0, 1, 2, 3)  # nobody knows what was trained on


def test_of_many_pictures_some_are_looked_at_spread_evenly(tmp_path: Path) -> None:
    for number in range(100):
        Image.fromarray(np.full((16, 16, 3), 2 * number, np.uint8)).save(tmp_path / f"{number:03d}.png")
    looked = [int(picture[0, 0, 0]) // 2 for picture in reference_folder(tmp_path, TINY).read(SizePx(16, 16))]
    assert len(looked) == 48
    assert looked == sorted(looked)
    assert max(np.diff(looked)) <= 3


def test_what_is_no_picture_is_told_and_left_out(tmp_path: Path) -> None:
    make_image(1).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "notes.docx").write_bytes(b"words")
    (tmp_path / "alone.txt").write_text("a caption of nothing")
    found = reference_folder(tmp_path, TINY)
    assert [path.name for path in found.pictures] == ["good.png"]
    assert any("broken.png" in note for note in found.notes)
    assert any("notes.docx" in note and "not looked at" in note for note in found.notes)


@pytest.mark.parametrize("make", ["nothing", "empty", "texts only", "a file"])
def test_a_folder_without_a_picture_is_a_fault(make: str, tmp_path: Path) -> None:
    folder = tmp_path / "reference"
    if make != "nothing":
        folder.mkdir()
    if make == "texts only":
        (folder / "a.txt").write_text("words")
    if make == "a file":
        folder.rmdir()
        folder.write_text("words")
    with pytest.raises(DatasetError):
        reference_folder(folder, TINY)


def test_a_broken_recipe_is_its_own_fault(tmp_path: Path) -> None:
    make_image(1).save(tmp_path / "a.png")
    (tmp_path / "lora.yaml").write_text("rank: many\n")
    with pytest.raises((ContentError, DatasetError), match="rank"):
        reference_folder(tmp_path, TINY)


# --- limits


def test_the_shipped_limits_count_for_their_weights_and_tier_alone(data: DataDir) -> None:
    calibration = load_calibration(data, "tiny-flux")
    assert calibration is not None
    usual = GateOverrides()
    right = limits_for(calibration, calibration.base_weights, "landscape", usual)
    assert right.is_calibrated
    assert right.fails("style_share")
    for weights, tier in (("sha256:other", "landscape"), (calibration.base_weights, "portrait")):
        other = limits_for(calibration, weights, tier, usual)
        assert not other.is_calibrated
        assert not other.fails("style_share")
    assert load_calibration(data, "flux1-dev") is None


def test_each_limit_stands_between_nothing_and_good(data: DataDir) -> None:
    calibration = load_calibration(data, "tiny-flux")
    assert calibration is not None
    for limits in calibration.tiers.values():
        assert limits.keys() == {*LIMIT_NAMES}
        for name, limit in limits.items():
            if name == "foreign_texture":  # what changes nothing has none
                assert limit.nothing <= limit.good < limit.limit
            else:
                assert min(limit.nothing, limit.good) < limit.limit < max(limit.nothing, limit.good)


def test_a_data_directory_s_own_file_takes_the_place_of_the_shipped_one(data: DataDir) -> None:
    (data.root / "gate").mkdir()
    (data.root / "gate/tiny-flux.yaml").write_text("base_model: tiny-flux\nbase_weights: sha256:0\n")
    own = load_calibration(data, "tiny-flux")
    assert own is not None
    assert (own.base_weights, own.tiers) == ("sha256:0", {})
    (data.root / "gate/tiny-flux.yaml").write_text("tiers: 3\n")
    with pytest.raises(ContentError, match=r"gate/tiny-flux\.yaml"):
        load_calibration(data, "tiny-flux")


def test_what_is_said_for_an_adapter_goes_before_its_tier_and_that_before_all() -> None:
    def limit(value: float, reason: str) -> dict[str, object]:
        return {"value": value, "reason": reason}

    thresholds = Thresholds.model_validate(
        {
            "gate": {"style_share": limit(0.1, "all"), "over_noise": limit(1.0, "all")},
            "gate_for": {"portrait": {"style_share": limit(0.2, "tier")}, "west/a": {"style_share": limit(0.3, "one")}},
        }
    )
    for names, reason in ((("scene", "x"), "all"), (("portrait", "x"), "tier"), (("portrait", "west/a"), "one")):
        found = thresholds.overrides_for(*names)
        assert found.style_share is not None
        assert (found.style_share.reason, found.over_noise.reason if found.over_noise else "") == (reason, "all")
    assert "gate_for" not in threshold_values(thresholds)  # so that another adapter's limit makes nothing stale


@pytest.mark.parametrize(
    "limit", [{"value": 0.5}, {"value": 0.5, "reason": " "}, {"value": float("nan"), "reason": "x"}]
)
def test_a_limit_needs_a_number_and_a_reason(limit: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GateOverrides.model_validate({"style_share": limit})
