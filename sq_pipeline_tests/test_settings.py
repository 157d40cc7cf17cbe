"""`sq.yaml`: its defaults, its values and its faults. Not here: YAML's traps in general (`test_strict_yaml`)."""

from typing import Any

import pytest

from sq_pipeline.common.errors import ContentError
from sq_pipeline.common.layout import DataDir, shipped_data_root
from sq_pipeline.settings import NightWindow, Settings, load_settings
from sq_pipeline.verification.thresholds import Thresholds
from sq_pipeline_tests.content.pack_writing import write

_PLACE = "thresholds.fidelity"
_FIDELITY = "thresholds: {{fidelity: {{{}}}}}"


def with_limit(name: str, value: float, reason: str) -> dict[str, Any]:
    """The default thresholds with one of the fidelity's moved."""
    found = Thresholds().model_dump()
    found["fidelity"][name] = {"value": value, "reason": reason}
    return found


def test_the_defaults(data: DataDir):
    """Promotion waits for a person unless somebody wrote otherwise."""
    found = load_settings(data)
    assert found == Settings()
    assert (found.promotion, found.base_model, found.trainer) == ("manual", None, "mlx")
    assert found.night_window == NightWindow(start="22:00", end="06:00")
    fidelity = found.thresholds.fidelity
    assert (fidelity.layers_share_min.value, fidelity.share_kept_min.value) == (1.0, 0.98)
    assert [fidelity.relative_error_max(dtype).value for dtype in ("float32", "bfloat16")] == [1e-3, 1e-2]
    assert all(limit.reason and is_default for _, limit, is_default in fidelity.limits())
    assert 0 < found.thresholds.ssim_trigger_max < found.thresholds.ssim_changed_max <= 1


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_gives_the_defaults(data: DataDir, text: str):
    write(data, "sq.yaml", text)
    assert load_settings(data) == Settings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("promotion: automatic", {"promotion": "automatic"}),
        ("base_model: schnell", {"base_model": "schnell"}),
        ("base_model: dev-4bit", {"base_model": "dev-4bit"}),
        ("base_model:", {"base_model": None}),
        ("trainer: mlx-examples", {"trainer": "mlx-examples"}),
        ("mlx_examples: {checkout: ~/mlx-examples}", {"mlx_examples": {"checkout": "~/mlx-examples", "python": None}}),
        ("night_window: {start: 21:30}", {"night_window": {"start": "21:30", "end": "06:00"}}),
        ("night_window: {end: 05:00}", {"night_window": {"start": "22:00", "end": "05:00"}}),
        (
            "thresholds: {ssim_changed_max: 1, ssim_trigger_max: 9e-1}",
            {"thresholds": {**Thresholds().model_dump(), "ssim_changed_max": 1.0, "ssim_trigger_max": 0.9}},
        ),
        (
            "thresholds: {fidelity: {share_kept_min: {value: 9e-1, reason: the base has 8 bits}}}",
            {"thresholds": with_limit("share_kept_min", 0.9, "the base has 8 bits")},
        ),
        (
            "thresholds: {fidelity: {relative_error_bfloat16_max: {value: 2, reason: a try}}}",
            {"thresholds": with_limit("relative_error_bfloat16_max", 2.0, "a try")},
        ),
        ("missing_adapter: none", {"missing_adapter": "none"}),
        (
            "tiers: {portrait: {size_px: [832, 1216], guidance: 4}, scene: {num_inference_steps: 30}}",
            {
                "tiers": {
                    "portrait": {"size_px": (832, 1216), "num_inference_steps": None, "guidance": 4.0},
                    "scene": {"size_px": None, "num_inference_steps": 30, "guidance": None},
                }
            },
        ),
    ],
)
def test_a_value_replaces_its_default_and_no_other(data: DataDir, text: str, expected: dict[str, Any]):
    write(data, "sq.yaml", text)
    assert load_settings(data).model_dump() == {**Settings().model_dump(), **expected}


@pytest.mark.parametrize(
    ("text", "field", "part", "hint"),
    [
        ("promotion: auto", "promotion", "'manual' or 'automatic', not 'auto'", "correct"),
        ("promotion: true", "promotion", "not True", "correct"),
        ("promtion: manual", "promtion", "unknown key", "did you mean `promotion`?"),
        ("colour: red", "colour", "unknown key", "remove it"),
        ("base_model: sdxl", "base_model", "unknown base model 'sdxl'", "flux1-dev"),
        ("base_model: 5", "base_model", "valid string, not 5", "correct"),
        ("trainer: torch", "trainer", "not 'torch'", "correct"),
        ("night_window: {start: 25:00}", "night_window.start", "not '25:00'", "correct"),
        ("night_window: {start: 7:00}", "night_window.start", "not '7:00'", "correct"),
        ("night_window: {start: 1320}", "night_window.start", "not 1320", "correct"),
        ("night_window: {strart: 22:00}", "night_window.strart", "unknown key", "did you mean `start`?"),
        ("night_window: 22:00-06:00", "night_window", "is a text, not a mapping", "correct"),
        ("thresholds: {ssim_changed_max: 0}", "thresholds.ssim_changed_max", "greater than 0, not 0", "correct"),
        ("thresholds: {ssim_changed_max: 1.1}", "thresholds.ssim_changed_max", "less than or equal to 1", "correct"),
        ("thresholds: {ssim_trigger_max: high}", "thresholds.ssim_trigger_max", "not 'high'", "correct"),
        ("thresholds: {ssim_trigger_max: true}", "thresholds.ssim_trigger_max", "not True", "correct"),
        (_FIDELITY.format("share_kept_min: 0.9"), f"{_PLACE}.share_kept_min", "is a number, not a mapping", "correct"),
        (_FIDELITY.format("share_kept_min: {value: 0.9}"), f"{_PLACE}.share_kept_min.reason", "is missing", "add it"),
        (
            _FIDELITY.format('share_kept_min: {value: 0.9, reason: " "}'),
            f"{_PLACE}.share_kept_min.reason",
            "not ' '",
            "correct",
        ),
        (
            _FIDELITY.format("layers_share_min: {value: 1.1, reason: r}"),
            f"{_PLACE}.layers_share_min.value",
            "less than or equal to 1",
            "correct",
        ),
        (_FIDELITY.format("share_kept: {value: 0.9, reason: r}"), f"{_PLACE}.share_kept", "unknown key", "remove it"),
        ("missing_adapter: ignore", "missing_adapter", "'error' or 'none', not 'ignore'", "correct"),
        ("missing_adapter:", "missing_adapter", "not None", "correct"),
        ("tiers: {potrait: {guidance: 4}}", "tiers.potrait.[key]", "'landscape', 'portrait'", "correct"),
        ("tiers: {portrait: {sizes_px: [64, 64]}}", "tiers.portrait.sizes_px", "unknown key", "`size_px`"),
        (
            "tiers: {portrait: {size_px: [832, 1215]}}",
            "tiers.portrait.size_px[1]",
            "multiple of 16, not 1215",
            "correct",
        ),
        ("tiers: {portrait: {size_px: [48, 64]}}", "tiers.portrait.size_px[0]", "or equal to 64, not 48", "correct"),
        ("tiers: {portrait: {size_px: [4096, 4096]}}", "tiers.portrait.size_px", "at most 4194304", "correct"),
        ("tiers: {portrait: {size_px: [832]}}", "tiers.portrait.size_px[1]", "is missing", "add it"),
        ("tiers: {portrait: {size_px: 832}}", "tiers.portrait.size_px", "is a number, not a list", "correct"),
        ("tiers: {portrait: {num_inference_steps: 0}}", "tiers.portrait.num_inference_steps", "equal to 1", "correct"),
        ("tiers: {portrait: {num_inference_steps: 8.0}}", "tiers.portrait.num_inference_steps", "not 8.0", "correct"),
        ("tiers: {portrait: {guidance: -1}}", "tiers.portrait.guidance", "equal to 0, not -1", "correct"),
        ("tiers: {portrait: {guidance: .inf}}", "tiers.portrait.guidance", "not '.inf'", "correct"),
        ("thresholds: {ssim_triger_max: 0.9}", "thresholds.ssim_triger_max", "unknown key", "`ssim_trigger_max`"),
    ],
)
def test_a_fault_names_its_field_and_the_mend(data: DataDir, text: str, field: str, part: str, hint: str):
    write(data, "sq.yaml", text)
    with pytest.raises(ContentError) as caught:
        load_settings(data)
    (fault,) = caught.value.faults
    assert (fault.file, fault.field) == ("sq.yaml", field)
    assert part in fault.problem
    assert hint in fault.hint


def test_all_faults_come_at_once(data: DataDir):
    write(data, "sq.yaml", "promotion: auto\ncolour: red\nnight_window: {end: noon}\n")
    with pytest.raises(ContentError) as caught:
        load_settings(data)
    assert {fault.field for fault in caught.value.faults} == {"promotion", "colour", "night_window.end"}


def test_a_broken_file_is_never_the_defaults(data: DataDir):
    path = write(data, "sq.yaml", "- promotion\n")
    with pytest.raises(ContentError, match="not a mapping"):
        load_settings(data)
    path.unlink()
    path.symlink_to("nowhere.yaml")
    with pytest.raises(ContentError, match="no such file"):
        load_settings(data)


def test_the_shipped_settings_are_fine():
    assert load_settings(DataDir(shipped_data_root())).promotion in ("manual", "automatic")
