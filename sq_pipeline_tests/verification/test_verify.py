"""Verification with a fake renderer: order, early ends, what is rendered, the report; SSIM itself.

Not here: what the picture checks find (`test_measures`, `end_to_end.test_gate`).
"""

import io
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.base_models import BASE_MODELS, FLUX1_MODELS
from sq_pipeline.common.errors import AdapterError, ContentError, Fault, RenderError
from sq_pipeline.common.fingerprints import canonical_json
from sq_pipeline.common.gate_overrides import GateOverrides
from sq_pipeline.common.tiers import Tier
from sq_pipeline.engines.mflux.token_counters import TokenizerPair
from sq_pipeline.pictures.ports import AppliedAdapter, Renderer
from sq_pipeline.pictures.sheets import Tile, draw_gallery, draw_sheet, thumbnail_markdown
from sq_pipeline.verification.camera import Camera
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.gate_limits import RATIOS, Limits
from sq_pipeline.verification.look import Look
from sq_pipeline.verification.measure_fidelity import MeasureFidelity
from sq_pipeline.verification.prompts import VerifyPrompts, insist_control_word, insist_trigger_is_read
from sq_pipeline.verification.report import draw_report_sheet, write_markdown
from sq_pipeline.verification.ssim import ssim
from sq_pipeline.verification.thresholds import Thresholds
from sq_pipeline.verification.verdicts import Verdict
from sq_pipeline.verification.verify import ChosenCheckpoint, InUse, VerificationReport, VerifyRequest, verify_adapter
from sq_pipeline_tests.builders import write_adapter
from sq_pipeline_tests.fakes import FakeRenderer, FakeValidationMeter, fidelity_report

TINY = BASE_MODELS["tiny-flux"]
BEFORE = ("adapter fidelity", "adapter file", "update size", "checkpoint", "loss saved")
STYLE = ("style shown", "right style", "style not overshot", "no foreign texture")
CHECKS = (*BEFORE, "keys matched", "picture changed", *STYLE, "subject kept", "against noise", "trigger", "strength")
PROMPTS = VerifyPrompts.model_validate(
    {
        "version": 1,
        "control_word": "harrowmere",
        "prompts": [{"prompt": "a mill at noon", "seed": 11}, {"prompt": "a church at dusk", "seed": 22}],
    }
)


def _verify(
    tmp_path: Path,
    renderer: Renderer,
    trigger: str | None = "old_west",
    thresholds: Thresholds | None = None,
    lora_scale: float = 1.0,
    on_picture: Callable[[int], None] | None = None,
    tier: str = "landscape",
    measure: MeasureFidelity = lambda: fidelity_report("double_blocks.0.img_attn.proj", "single_blocks.0.linear2"),
    checkpoint: ChosenCheckpoint | None = None,
    in_use: InUse | None = None,
) -> VerificationReport:
    path = write_adapter(tmp_path / "adapter.safetensors")
    use = AdapterUse(path, lora_scale)
    limits = thresholds or Thresholds()
    gate = Limits(None, limits.gate)
    request = VerifyRequest("western/land", use, "sha256:ab", trigger, TINY, tier, PROMPTS, limits, gate)
    request = replace(request, checkpoint=checkpoint, in_use=in_use)
    return verify_adapter(request, measure, renderer, FakeValidationMeter(), on_picture)


def _outcomes(report: VerificationReport) -> dict[str, str]:
    return {verdict.check: verdict.outcome for verdict in report.verdicts}


def _expected(**told: str) -> dict[str, str]:
    """All checks, passed but for those that are told, by their first word."""
    usual = dict.fromkeys(CHECKS, "passed")
    usual |= dict.fromkeys(
        ("update size", "checkpoint", "loss saved", *STYLE, "against noise"), "skipped"
    )  # there is no dataset
    usual["adapter file"] = "warned"  # two modules of all
    return {check: told.get(check.split()[0] if check not in STYLE else check, usual[check]) for check in CHECKS}


# --- each verdict


def _named(report: VerificationReport, check: str) -> Verdict:
    return next(verdict for verdict in report.verdicts if verdict.check == check)


def test_an_adapter_that_does_what_it_should(tmp_path: Path) -> None:
    report = _verify(tmp_path, FakeRenderer())
    assert _outcomes(report) == _expected()
    assert report.has_passed
    assert report.pictures_rendered == 8  # with trigger and control word, and at two other strengths
    (trigger,) = [verdict for verdict in report.verdicts if verdict.check == "trigger"]
    assert trigger.figure == pytest.approx(1, abs=0.05)
    assert trigger.detail.startswith("only with its trigger")


@pytest.mark.parametrize(("tier", "shown"), [("portrait", "portrait"), ("scene", "scene"), ("map", "landscape")])
def test_it_is_rendered_as_a_picture_of_its_tier(tier: str, shown: Tier, tmp_path: Path) -> None:
    renderer = FakeRenderer()
    _verify(tmp_path, renderer, tier=tier)
    size = TINY.settings_for(shown).size
    assert {(asked.tier, asked.width_px, asked.height_px) for asked in renderer.requests} == {
        (shown, size.width_px, size.height_px)
    }


def test_an_adapter_that_changes_nothing_fails_and_no_more_is_rendered(tmp_path: Path) -> None:
    renderer = FakeRenderer(wakes="never")
    report = _verify(tmp_path, renderer)
    assert _outcomes(report) == _expected(picture="failed", against="skipped", trigger="skipped", strength="skipped")
    assert _named(report, "picture changed").figure == pytest.approx(1)
    assert (_named(report, "picture changed").limit, _named(report, "picture changed").null) == (0.999, 1.0)
    assert not report.has_passed
    assert report.pictures_rendered == 2
    assert report.verdicts[-1].detail == "the verdict is clear without it"


def test_an_adapter_of_no_strength_fails(tmp_path: Path) -> None:
    assert _outcomes(_verify(tmp_path, FakeRenderer(), lora_scale=0.0))["picture changed"] == "failed"


def test_an_adapter_that_changes_one_of_two_pictures_fails(tmp_path: Path) -> None:
    class OnlyTheMill(FakeRenderer):
        def _overlay(self, pixels, use):
            return super()._overlay(pixels, use) if "mill" in self.requests[-1].positive_prompt else pixels

    assert _outcomes(_verify(tmp_path, OnlyTheMill()))["picture changed"] == "failed"


def test_an_adapter_that_is_always_on_passes_and_says_so(tmp_path: Path) -> None:
    report = _verify(tmp_path, FakeRenderer(wakes="always"))
    assert report.has_passed
    assert _named(report, "trigger").detail.startswith("always on: ")
    assert _named(report, "trigger").figure == pytest.approx(0, abs=0.1)


def test_without_a_trigger_that_check_is_skipped_and_nothing_is_rendered_for_it(tmp_path: Path) -> None:
    renderer = FakeRenderer(wakes="always")
    report = _verify(tmp_path, renderer, trigger=None)
    assert _outcomes(report) == _expected(trigger="skipped")
    assert report.has_passed
    assert {request.positive_prompt for request in renderer.requests} == {"a mill at noon", "a church at dusk"}
    assert report.pictures is not None
    assert report.pictures.styled_with_control == ()


def test_every_number_zero_is_a_failed_file_and_never_rendered(tmp_path: Path) -> None:
    renderer = FakeRenderer()
    layers = tuple(replace(layer, norm_wanted=0.0, norm_applied=0.0) for layer in fidelity_report("a", "b").layers)
    report = _verify(tmp_path, renderer, measure=lambda: replace(fidelity_report("a", "b"), layers=layers))
    assert [(v.check, v.outcome) for v in report.verdicts] == [
        ("adapter fidelity", "passed"),
        ("adapter file", "failed"),
    ]
    assert report.sentence == "FAIL: every number that it adds is zero: it changes nothing"
    assert renderer.requests == []


@pytest.mark.parametrize(
    ("weights_norm", "outcome"),
    [(10.0, "passed"), (2.1, "passed"), (1.9, "warned"), (float("nan"), "warned"), (None, "skipped")],
)
def test_an_update_as_large_as_the_weights_is_told(tmp_path: Path, weights_norm: float | None, outcome: str) -> None:
    """Two layers with an update of 1 each: together √2."""
    report = replace(fidelity_report("a", "b"), weights_norm=weights_norm)
    verdict = _named(_verify(tmp_path, FakeRenderer(), measure=lambda: report), "update size")
    assert verdict.outcome == outcome
    if outcome != "skipped":
        assert verdict.figure == pytest.approx(2**0.5 / (weights_norm or 1), nan_ok=True)
        assert verdict.null == 0
        assert verdict.detail.endswith("as they usually are")  # nobody read the weights


@pytest.mark.parametrize("keys_ignored", [1, 4])
def test_an_adapter_that_is_not_applied_whole_is_a_failed_verdict(tmp_path: Path, keys_ignored: int) -> None:
    report = _verify(tmp_path, FakeRenderer(keys_ignored=keys_ignored))
    assert report.verdicts[-1].check == "keys matched"
    assert report.verdicts[-1].detail == f"only {4 - keys_ignored} of 4 keys matched"
    assert not report.has_passed
    assert report.pictures is None


def test_a_renderer_that_only_reports_it_is_met_with_a_failed_verdict_too(tmp_path: Path) -> None:
    report = _verify(tmp_path, FakeRenderer(keys_ignored=1, is_strict=False))
    assert _outcomes(report) == _expected(keys="failed", trigger="skipped", strength="skipped")
    assert _named(report, "keys matched").detail == "3 of 4 keys, 1 of 2 layers"
    assert _named(report, "keys matched").figure == pytest.approx(0.75)
    assert not report.has_passed


def test_a_renderer_that_says_nothing_of_the_adapter_has_not_applied_it(tmp_path: Path) -> None:
    report = _verify(tmp_path, FakeRenderer(applied=()))
    assert _outcomes(report)["keys matched"] == "failed"
    assert not report.has_passed


def test_the_worst_of_all_pictures_counts(tmp_path: Path) -> None:
    class Forgetful(FakeRenderer):
        def _report(self, applied, request):
            is_last = len(self.requests) == 4  # of the pictures that all checks look at
            return tuple(replace(item, keys_matched=2) for item in applied) if is_last else applied

    report = _verify(tmp_path, Forgetful())
    assert _named(report, "keys matched").outcome == "failed"
    assert _named(report, "keys matched").detail.startswith("2 of 4 keys")


def test_a_picture_that_fails_with_the_adapter_is_a_failed_verdict(tmp_path: Path) -> None:
    report = _verify(tmp_path, FakeRenderer(fails_when=lambda request: bool(request.adapters)))
    assert report.verdicts[-1].check == "keys matched"
    assert report.verdicts[-1].detail == "the fake was told to fail"


def test_a_picture_that_fails_without_the_adapter_is_not_the_adapter_s_fault(tmp_path: Path) -> None:
    with pytest.raises(RenderError):
        _verify(tmp_path, FakeRenderer(fails_when=lambda request: not request.adapters))


# --- fidelity comes first


@pytest.mark.parametrize(
    ("measure", "detail"),
    [
        (lambda: fidelity_report("a", "b", "c", misses=1), "1 of 3 layers were missed (a)"),
        (lambda: fidelity_report("a", "b", relative_error=0.5), "relative error 0.5 in a, and 1 more layers"),
        (lambda: fidelity_report("a", problem="mflux refuses it"), "mflux refuses it"),
        (lambda: fidelity_report(), "the source adds to no layer"),
    ],
)
def test_an_adapter_that_falls_short_of_its_fidelity_is_a_failed_verdict_and_never_rendered(
    tmp_path: Path, measure: MeasureFidelity, detail: str
) -> None:
    renderer = FakeRenderer()
    report = _verify(tmp_path, renderer, measure=measure)
    assert {verdict.check: verdict.outcome for verdict in report.verdicts} == {"adapter fidelity": "failed"}
    assert report.verdicts[0].detail.startswith(detail)
    assert not report.has_passed
    assert renderer.requests == []
    assert report.pictures is None
    assert "No pictures were rendered" in write_markdown(report)


def test_a_source_that_cannot_be_read_is_a_failed_verdict_without_the_file_s_place(tmp_path: Path) -> None:
    def measure() -> FidelityReport:
        raise AdapterError([Fault("/home/ada/a.safetensors", "x.lora_a", "has no partner", "export it again")])

    report = _verify(tmp_path, FakeRenderer(), measure=measure)
    assert (report.verdicts[0].outcome, report.verdicts[0].figure) == ("failed", None)
    assert report.verdicts[0].detail == "x.lora_a: has no partner"
    assert report.fidelity is None
    assert "/home" not in write_markdown(report) + str(report.as_json())


def test_a_threshold_that_a_person_moved_is_shown_with_the_reason(tmp_path: Path) -> None:
    moved = {"relative_error_float32_max": {"value": 0.6, "reason": "the old | trainer rounded"}}
    report = _verify(
        tmp_path,
        FakeRenderer(),
        thresholds=Thresholds.model_validate({"fidelity": moved}),
        measure=lambda: fidelity_report("a", "b", relative_error=0.01),
    )
    assert report.has_passed
    text = write_markdown(report)
    assert "| fidelity.relative_error_float32_max | 0.6 | sq.yaml | the old \\| trainer rounded |" in text
    assert "| fidelity.share_kept_min | 0.98 | default |" in text
    assert report.as_json()["thresholds"]["fidelity"]["relative_error_float32_max"] == {
        "value": 0.6,
        "reason": "the old | trainer rounded",
    }


def test_the_report_shows_the_worst_layers_and_json_all_of_them(tmp_path: Path) -> None:
    slots = [f"double_blocks.{index}.img_attn.proj" for index in range(30)]
    worst = fidelity_report("single_blocks.7.linear2", relative_error=5e-4).layers
    measured = replace(fidelity_report(*slots), layers=(*fidelity_report(*slots).layers, *worst))
    report = _verify(tmp_path, FakeRenderer(), measure=lambda: measured)
    rows = [line for line in write_markdown(report).splitlines() if "_blocks." in line and line.startswith("|")]
    rows = [row for row in rows if "adapter fidelity" not in row]
    assert len(rows) == 10
    assert rows[0].startswith("| single_blocks.7.linear2 | single_blocks.7.linear2 | 1.0000 | 1.0000 | 5.0e-04 |")
    assert len(report.as_json()["fidelity"]["layers"]) == 31
    assert [layer["layer"] for layer in report.as_json(1)["fidelity"]["layers"]] == ["single_blocks.7.linear2"]


# --- what is rendered


def test_pairs_differ_in_the_adapter_or_in_the_trigger_alone(tmp_path: Path) -> None:
    renderer = FakeRenderer()
    seen: list[int] = []
    _verify(tmp_path, renderer, on_picture=seen.append)
    asked = [(r.positive_prompt, r.seed, [use.lora_scale for use in r.adapters]) for r in renderer.requests]
    both = (("a mill at noon", 11), ("a church at dusk", 22))
    wanted = {word: [(f"{word}, {text}", seed) for text, seed in both] for word in ("old_west", "harrowmere")}
    assert asked[:4] == [  # one swap of adapters instead of one a prompt
        *((*each, []) for each in wanted["old_west"]),
        *((*each, [1.0]) for each in wanted["old_west"]),
    ]
    assert sorted(map(str, asked[4:])) == sorted(
        str((*each, scales))
        for word, scales in (("harrowmere", []), ("harrowmere", [1.0]), ("old_west", [0.5]), ("old_west", [1.5]))
        for each in wanted[word]
    )
    assert {(r.base_model, r.width_px, r.height_px, r.num_inference_steps) for r in renderer.requests} == {
        ("tiny-flux", 128, 96, TINY.num_inference_steps)
    }
    assert seen == [*range(1, 13)]
    assert renderer.model_loads == 1


def test_the_fake_renderer_is_settled_by_its_request(tmp_path: Path) -> None:
    first, second = (_verify(tmp_path, FakeRenderer()) for _ in range(2))
    assert first.as_json() == second.as_json()
    assert draw_report_sheet(first) == draw_report_sheet(second)


# --- limits


def test_a_limit_turns_its_verdict_and_no_other(tmp_path: Path) -> None:
    report = _verify(tmp_path, FakeRenderer())
    figure = _named(report, "picture changed").figure
    assert figure is not None
    for shift, outcome in ((1e-6, "passed"), (-1e-6, "failed")):
        again = _verify(tmp_path, FakeRenderer(), thresholds=Thresholds(ssim_changed_max=figure + shift))
        assert _named(again, "picture changed").outcome == outcome


def test_what_nobody_calibrated_warns_and_a_person_s_own_limit_fails(tmp_path: Path) -> None:
    class OneScene(FakeRenderer):
        def _plain(self, request):
            return super()._plain(request if not request.adapters else replace(request, positive_prompt="x", seed=1))

    report = _verify(tmp_path, OneScene())
    assert _outcomes(report)["subject kept"] == "warned"
    assert report.has_passed
    assert report.sentence.startswith("PASS, with a warning: ")
    own = {"gate": {"subject_kept": {"value": 0.5, "reason": "our places must be told apart"}}}
    again = _verify(tmp_path, OneScene(), thresholds=Thresholds.model_validate(own))
    assert _outcomes(again)["subject kept"] == "failed"
    assert "our places must be told apart" in write_markdown(again)


def test_the_version_follows_outcomes_and_adapter_only(tmp_path: Path) -> None:
    report = _verify(tmp_path, FakeRenderer())
    assert report.data_version == _verify(tmp_path, FakeRenderer(), lora_scale=0.9).data_version
    assert report.data_version != _verify(tmp_path, FakeRenderer(wakes="never")).data_version
    assert report.data_version != replace(report, adapter_version="sha256:cd").data_version


# --- the report


def test_markdown_begins_with_the_verdict_and_shows_every_null(tmp_path: Path) -> None:
    report = _verify(tmp_path, FakeRenderer(), thresholds=Thresholds(ssim_changed_max=0.9876))
    text = write_markdown(report)
    assert text.startswith("# western/land: PASS, with a warning: adds to 2 of 32 modules")
    for part in (
        "0.9876",
        "old_west",
        "sha256:ab",
        "tiny-flux",
        "4 of 4 keys, 2 of 2 layers",
        "not calibrated for tiny-flux",
    ):
        assert part in text
    for verdict in report.verdicts:
        assert f"| {verdict.check} | " in text
    (row,) = [line for line in text.splitlines() if line.startswith("| picture changed")]
    assert "| 1.0000 |" in row  # what nothing gives


@pytest.mark.parametrize(
    ("renderer", "trigger", "parts"),
    [
        (FakeRenderer(wakes="never"), "old_west", ("# western/land: FAIL: SSIM", "✗ failed | 1.0000 |")),
        (FakeRenderer(wakes="always"), None, ("trigger none", "– skipped |", "the adapter has no trigger")),
        (FakeRenderer(keys_ignored=1), "old_west", ("FAIL: only 3 of 4 keys matched",)),
    ],
)
def test_markdown_of_other_outcomes(
    tmp_path: Path, renderer: FakeRenderer, trigger: str | None, parts: tuple[str, ...]
) -> None:
    text = write_markdown(_verify(tmp_path, renderer, trigger))
    for part in parts:
        assert part in text


def test_one_text_with_two_seeds_is_two_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [{"prompt": "a mill at noon", "seed": seed} for seed in (11, 22)]
    monkeypatch.setitem(globals(), "PROMPTS", VerifyPrompts.model_validate({**PROMPTS.model_dump(), "prompts": twice}))
    assert _verify(tmp_path, FakeRenderer()).as_json()["prompts"] == twice


def test_as_json_is_plain(tmp_path: Path) -> None:
    report = _verify(tmp_path, FakeRenderer()).as_json()
    assert report["has_passed"] is True
    assert [verdict["check"] for verdict in report["verdicts"]] == list(CHECKS)
    assert [prompt["seed"] for prompt in report["prompts"]] == [11, 22]


def _count_tiles(png: bytes, width_px: int, height_px: int) -> tuple[int, int]:
    """Columns and rows of tiles, counted where no paper shows: along the middle of the first row and column."""
    with Image.open(io.BytesIO(png)) as image:
        sheet = np.asarray(image.convert("RGB"))
    is_paper = (sheet == (250, 250, 248)).all(-1)
    along, down = is_paper[6 : 6 + height_px].all(0), is_paper[:, 6 : 6 + width_px].all(1)
    columns = int((np.diff(along.astype(int)) == -1).sum())
    runs = np.split(down, np.flatnonzero(np.diff(down.astype(int))) + 1)
    return columns, sum(1 for run in runs if not run[0] and len(run) >= height_px)


@pytest.mark.parametrize(("trigger", "columns"), [("old_west", 3), (None, 2)])
def test_the_sheet_has_a_row_a_prompt(tmp_path: Path, trigger: str | None, columns: int) -> None:
    png = draw_report_sheet(_verify(tmp_path, FakeRenderer(wakes="always"), trigger))
    assert png is not None
    assert png.startswith(b"\x89PNG")
    assert _count_tiles(png, 256, 192) == (columns, 2)


def test_without_pictures_there_is_no_sheet(tmp_path: Path) -> None:
    assert draw_report_sheet(_verify(tmp_path, FakeRenderer(keys_ignored=1))) is None


def _png(colour: int, width_px: int = 128, height_px: int = 96) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width_px, height_px), (colour, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(("count", "tiles"), [(1, (1, 1)), (4, (4, 1)), (5, (4, 2)), (9, (4, 3))])
def test_a_gallery_has_four_in_a_row(count: int, tiles: tuple[int, int]) -> None:
    png = draw_gallery([(f"place {n}", _png(20 * n)) for n in range(count)])
    assert _count_tiles(png, 256, 192) == tiles


def test_equal_pictures_give_an_equal_gallery() -> None:
    pictures = [("a place with a name that is much too long to stand under its picture", _png(9)), ("", _png(8))]
    assert draw_gallery(pictures) == draw_gallery(pictures)


@pytest.mark.parametrize(("side", "tile"), [(64, 128), (320, 320), (1000, 320)])
def test_tiles_are_fitted_to_the_sheet(side: int, tile: int) -> None:
    sheet = draw_sheet([[Tile(np.zeros((side, side, 3), dtype=np.uint8), "x")]])
    assert sheet.width == tile + 12


def test_a_thumbnail_is_small_and_inline() -> None:
    text = thumbnail_markdown(_png(9, 1344, 768), "the saloon")
    assert text.startswith("![the saloon](data:image/jpeg;base64,")
    assert len(text) < 20_000


# --- SSIM


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(7, 40), st.integers(7, 40))
def test_ssim_of_a_picture_with_itself_is_one(seed: int, height: int, width: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert ssim(pixels, pixels.copy()) == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 100))
def test_ssim_is_symmetric_and_falls_with_noise(seed: int, strength: int) -> None:
    numbers = np.random.default_rng(seed)
    base = np.kron(numbers.integers(50, 200, (4, 4, 3)), np.ones((8, 8, 1), dtype=np.int64))
    noise = numbers.choice([-1, 1], base.shape)
    weak, strong = (np.clip(base + noise * amount, 0, 255).astype(np.uint8) for amount in (strength, strength + 50))
    plain = base.astype(np.uint8)
    assert ssim(plain, weak) == pytest.approx(ssim(weak, plain))
    assert ssim(plain, strong) < ssim(plain, weak) < 1


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_ssim_of_flat_pictures(colour: int) -> None:
    flat = np.full((16, 16, 3), colour, dtype=np.uint8)
    assert ssim(flat, flat) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(16, 15, 3), (15, 16, 3), (16, 16, 4), (16, 16)])
def test_ssim_of_different_shapes_raises(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        ssim(np.zeros((16, 16, 3), dtype=np.uint8), np.zeros(shape, dtype=np.uint8))


def test_an_applied_adapter_of_nothing_is_not_whole() -> None:
    assert not AppliedAdapter(Path("a"), 1.0, 0, 0, 0, 0).is_whole


@pytest.mark.parametrize("trigger", ["harrowmere", "Harrowmere "])
def test_a_control_word_that_is_the_trigger_tells_nothing_apart(trigger: str) -> None:
    with pytest.raises(ContentError, match=r"control_word: .harrowmere. is the trigger"):
        insist_control_word(PROMPTS, "landscape", trigger)
    insist_control_word(PROMPTS, "landscape", None)
    insist_control_word(PROMPTS, "landscape", "harrowmere_inn")


# as T5's: pieces of words, and one token for all that it lacks
_PIECES = [("<unk>", 0.0), ("▁", -2.0), ("▁mill", -1.0), ("é", -3.0), ("▁caf", -2.0)]


@pytest.mark.parametrize(("trigger", "is_read"), [("mill", True), ("café", True), ("龙门", False), ("\u200b", False)])
def test_a_trigger_that_the_encoder_has_no_token_for_is_refused(trigger: str, *, is_read: bool) -> None:
    t5 = Tokenizer(models.Unigram(_PIECES, unk_id=0))
    t5.pre_tokenizer = pre_tokenizers.Metaspace()
    counter = TokenizerPair(t5, Tokenizer(models.BPE()), FLUX1_MODELS["flux1-dev"])
    if is_read:
        insist_trigger_is_read(trigger, "west/land", lambda: counter)
    else:
        with pytest.raises(ContentError, match=r"west/land: trigger: T5 has no token for .*: it reads nothing of it"):
            insist_trigger_is_read(trigger, "west/land", lambda: counter)
    insist_trigger_is_read(None, "west/land", lambda: counter)


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), float("-inf")])
def test_a_figure_that_is_no_number_meets_no_limit_and_stays_plain_json(figure: float) -> None:
    limits = Limits(RATIOS, GateOverrides())
    assert limits.is_met("over_noise", figure) is (figure == float("inf"))
    assert limits.is_met("style_distance", figure) is (figure == float("-inf"))
    request = VerifyRequest("a", AdapterUse(Path("a"), 1.0), "", None, TINY, "landscape", PROMPTS, Thresholds(), limits)
    camera = Camera(TINY, "landscape", PROMPTS, FakeRenderer())
    verdict = Look(request, camera, fidelity_report("a"), FakeValidationMeter()).verdict("x", "over_noise", figure, "")
    assert verdict.figure is None
    assert canonical_json(asdict(verdict))


@pytest.mark.parametrize(("is_overtrained", "outcome"), [(True, "failed"), (False, "passed")])
def test_what_the_choice_knows_counts(is_overtrained: bool, outcome: str, tmp_path: Path) -> None:
    report = _verify(tmp_path, FakeRenderer(), checkpoint=ChosenCheckpoint(120, is_overtrained))
    assert _named(report, "checkpoint").outcome == outcome
    assert report.has_passed is not is_overtrained
    assert "iteration 120" in _named(report, "checkpoint").detail


def test_the_report_shows_the_version_in_use_beside_it(tmp_path: Path) -> None:
    alone = _verify(tmp_path, FakeRenderer())
    assert alone.pictures is not None
    used = InUse("sha256:old", {"picture changed": 0.25}, alone.pictures.styled)
    report = _verify(tmp_path, FakeRenderer(), in_use=used)
    assert report.verdicts == alone.verdicts
    text = write_markdown(report)
    (row,) = [line for line in text.splitlines() if line.startswith("| picture changed |")]
    assert [cell.strip() for cell in row.split("|")][4] == "0.2500"
    assert "the version that pictures are made with now, `sha256:old`" in text
    assert "in use" not in write_markdown(alone)
    first, second = (draw_report_sheet(each) for each in (alone, report))
    assert first is not None
    assert second is not None
    assert Image.open(io.BytesIO(second)).width > Image.open(io.BytesIO(first)).width
