"""`dataset check` and `plan` say all that a later stage would refuse, before any model is loaded."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.cli import main
from sq_pipeline.common.layout import DataDir
from sq_pipeline_tests.cases import recipes
from sq_pipeline_tests.cases.datasets import build_case as build_dataset
from sq_pipeline_tests.cases.datasets import caption

Answer = tuple[int, dict[str, Any], str]


class Cli:
    """Runs commands in this process, with `--json`: exit code, the object, what went to stderr."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> Answer:
        self._monkeypatch.setattr(sys, "argv", ["sq-pipeline", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        output = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, json.loads(output.out), output.err


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_arguments: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr("sq_pipeline.engines.factory.trainer", load)
    monkeypatch.setattr("sq_pipeline.engines.factory.renderer", load)


def built(case: str | Mapping[str, Any], root: Path, shipped: DataDir) -> Path:
    if isinstance(case, str):
        return recipes.build_case(case, root, shipped.root)
    return recipes.build_data(root, shipped.root, case)


REFUSED: Mapping[str, tuple[str | Mapping[str, Any], str]] = {
    "base-bits-4": ("base-bits-4", "lora.yaml: base_bits: 4 bits, and tiny-flux"),
    "caption-too-long": ("caption-too-long", "07.txt: has 1,804 tokens, 96 are read; shorten it"),
    # brothers: other stages, other texts, other trainers
    "sample-prompt-too-long": ({"sample_prompts": ["a mill " * 200]}, "lora.yaml: sample_prompts[0]: has "),
    "prior-prompt-too-long": (
        {"prior_mix": 0.5, "prior_prompts": ["a mill " * 99]},
        "lora.yaml: prior_prompts[0]: has ",
    ),
    "trainer-of-another-family": ({"trainer": "mflux-train"}, "trainer: mflux-train trains Z-Image and FLUX.2"),
    "trainer-without-the-field": ({"trainer": "mlx-examples", "flip": "true"}, "flip: mlx-examples has no mirroring"),
    "trainer-of-no-such-base": ({"trainer": "mlx-examples"}, "base_model: mlx-examples does not train tiny-flux"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_later_stage_refuses_is_told_by_check_and_plan(
    tmp_path: Path, shipped: DataDir, cli: Cli, case: str
) -> None:
    made, words = REFUSED[case]
    folder = built(made, tmp_path, shipped)
    code, report, errors = cli("dataset", "check", folder)
    assert code == 1
    assert any(words in fault for fault in report["faults"])
    assert words in errors
    if "mlx-examples" in words:  # `plan` asks for its checkout first
        return
    code, plan, _ = cli("plan", "--data", tmp_path)
    assert code == 1
    (blocked,) = [item for item in plan["blocked"] if words in item["reasons"][0] and not item["chain"]]
    assert blocked["reasons"][0].startswith("content/lora-datasets/west/landscape/")
    assert not list(tmp_path.glob("store/objects/*"))


NOTED = {
    "warmup-eats-all": "50 optimizer steps, 49 of them warm-up: the warm-up of 100 is longer than the training",
    "warmup-beyond": "the warm-up of 10000 is longer than the training",
    "two-iterations": "2 optimizer steps, 1 of them warm-up",
}


@pytest.mark.parametrize("case", NOTED)
def test_a_recipe_that_hardly_trains_is_warned_of(tmp_path: Path, shipped: DataDir, cli: Cli, case: str) -> None:
    folder = built(case, tmp_path, shipped)
    code, report, _ = cli("dataset", "check", folder)
    assert code == 0
    (warning,) = report["warnings"]
    assert NOTED[case] in warning
    code, plan, _ = cli("plan", "--data", tmp_path)
    assert code == 0
    (warning,) = plan["warnings"]
    assert warning.startswith("content/lora-datasets/west/landscape/lora.yaml: warmup_steps: ")
    assert NOTED[case] in warning


@pytest.mark.parametrize(
    ("recipe", "is_warned"),
    [
        ({"iterations": 300, "grad_accumulation": 4, "warmup_steps": None}, True),  # the default of 100
        ({"iterations": 600, "grad_accumulation": 4, "warmup_steps": None}, True),
        ({"iterations": 800, "grad_accumulation": 4, "warmup_steps": None}, False),
        ({"iterations": 8, "grad_accumulation": 4, "warmup_steps": None}, False),  # a trial
        ({"iterations": 60, "grad_accumulation": 1, "warmup_steps": 50}, True),
        ({"iterations": 60, "grad_accumulation": 60, "warmup_steps": 0}, True),
        ({"iterations": 60, "grad_accumulation": 1, "warmup_steps": 0}, False),
    ],
)
def test_most_of_a_training_is_no_warm_up(
    tmp_path: Path, shipped: DataDir, cli: Cli, recipe: Mapping[str, Any], is_warned: bool
) -> None:
    code, report, _ = cli("dataset", "check", built(recipe, tmp_path, shipped))
    warnings = [line for line in report["warnings"] if "of them warm-up" in line]
    assert (code, len(warnings)) == (0, is_warned)


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        # the defaults
        (
            {"iterations": None, "grad_accumulation": None, "warmup_steps": None, "learning_rate": None},
            "150 optimizer steps at a mean rate of 6.4e-05; a style takes about 1,300 of them; "
            "raise it, or lower `grad_accumulation`",
        ),
        (
            {"iterations": 300, "learning_rate": 0.0001},
            "300 optimizer steps at a mean rate of 5.0e-05; a style takes about 1,600 of them; raise it",
        ),
        ({"iterations": 1500, "learning_rate": 0.0001, "warmup_steps": 50}, None),
        ({"iterations": 49, "learning_rate": 0.0001}, None),  # a trial
        ({"iterations": 100, "batch_size": 4, "learning_rate": 0.0015, "warmup_steps": 10}, None),  # the demo's
    ],
)
def test_too_little_for_a_style_is_told_with_figures(
    tmp_path: Path, shipped: DataDir, cli: Cli, recipe: Mapping[str, Any], told: str | None
) -> None:
    _, report, _ = cli("dataset", "check", built(recipe, tmp_path, shipped))
    found = [line for line in report["warnings"] if ": iterations: " in line]
    assert [line.partition(": iterations: ")[2] for line in found] == ([told] if told else [])


def test_steps_and_passes_are_told(
    tmp_path: Path, shipped: DataDir, cli: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"iterations": 90, "grad_accumulation": 4, "batch_size": 2, "warmup_steps": 5, "held_out_pairs": 8}
    folder = built(recipe, tmp_path, shipped)
    _, report, _ = cli("dataset", "check", folder)
    # 12 pictures, of which one is held out
    assert (report["optimizer_steps"], report["warmup_steps"], report["passes"]) == (23, 5, 16.4)
    monkeypatch.setattr(sys, "argv", ["sq-pipeline", "dataset", "check", str(folder)])
    with pytest.raises(SystemExit):
        main()
    line = "23 optimizer steps, 5 of them warm-up (22%); each picture is seen 16.4 times"
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("case", ["batch-larger-than-set", "all-is-well"])
def test_a_sound_one_is_fit(tmp_path: Path, shipped: DataDir, cli: Cli, case: str) -> None:
    code, report, errors = cli("dataset", "check", built(case, tmp_path, shipped))
    assert (code, report["warnings"], report["faults"], errors) == (0, [], [], "")
    assert (report["base_model"], report["base_model_of"]) == ("tiny-flux", "sq.yaml")


@pytest.mark.parametrize("is_named", [True, False])
def test_the_data_directory_says_what_is_trained_over(
    tmp_path: Path, shipped: DataDir, cli: Cli, is_named: bool
) -> None:
    folder = built("size-of-the-data-directory", tmp_path / "data", shipped)
    code, report, errors = cli("dataset", "check", folder, *(("--data", tmp_path / "data") if is_named else ()))
    assert code == 1
    assert (report["base_model"], report["base_model_of"]) == ("flux1-dev", "sq.yaml")
    assert report["memory"]["total_bytes"] > 2**30
    assert "needs" in report["needs"]
    (line,) = errors.splitlines()
    assert (
        "12 files: each is 200×150 pixels, the training resolution is 512×512 (00.png, 01.png, 02.png and 9 more)"
        in line
    )


def test_a_folder_elsewhere_is_judged_by_the_directory_that_is_named(
    tmp_path: Path, shipped: DataDir, cli: Cli
) -> None:
    built("size-of-the-data-directory", tmp_path / "data", shipped)
    folder = tmp_path / "pictures"
    caption(b"trg a barn")(folder)
    text = (folder / "lora.yaml").read_text().replace("base_model: tiny-flux\n", "")
    (folder / "lora.yaml").write_text(text)
    assert cli("dataset", "check", folder)[1]["base_model"] == "tiny-flux"
    assert cli("dataset", "check", folder, "--data", tmp_path / "data")[1]["base_model"] == "flux1-dev"


def test_the_world_s_preferred_model_counts(tmp_path: Path, shipped: DataDir, cli: Cli) -> None:
    folder = built("all-is-well", tmp_path, shipped)
    (tmp_path / "sq.yaml").write_text("promotion: automatic\n")
    style = tmp_path / "content/genre_packs/west/visual_style.yaml"
    style.write_text(f"preferred_model: flux1-schnell\n{style.read_text()}")
    _, report, _ = cli("dataset", "check", folder)
    assert (report["base_model"], report["base_model_of"]) == ("flux1-schnell", "the world of west/west_landscape")


def test_captions_that_cannot_be_counted_are_told_of(tmp_path: Path, cli: Cli) -> None:
    folder = build_dataset("caption-bom", tmp_path / "set")
    text = (folder / "lora.yaml").read_text().replace("base_model: tiny-flux", "base_model: flux2-klein-4b")
    (folder / "lora.yaml").write_text(text + "trainer: mflux-train\nresolution: [128, 96]\n")
    _, report, _ = cli("dataset", "check", folder)
    (warning,) = report["warnings"]
    assert "tokens of captions are not counted: flux2-klein-base-4b is not on this machine" in warning


# --- captions


@pytest.mark.parametrize(
    ("case", "code", "words"),
    [
        ("caption-2000-words", 1, "x.txt: has 6,003 tokens, 96 are read"),
        ("trigger-beyond-clip", 0, "x.txt: the trigger stands after CLIP's 77 tokens, at 81"),
        ("trigger-inside-a-word", 1, "x.txt: does not contain 'trg' as a word"),
    ],
)
def test_captions_are_read_as_the_base_model_reads_them(
    tmp_path: Path, cli: Cli, case: str, code: int, words: str
) -> None:
    found, report, _ = cli("dataset", "check", build_dataset(case, tmp_path / "set"))
    assert found == code
    (line,) = report["faults"] if code else report["warnings"]
    assert words in line


@pytest.mark.parametrize(
    ("text", "is_fit"),
    [
        ("trg a barn", True),
        ("a barn (trg)", True),
        ("a barn of trg's own", True),
        ("trg_house at noon", True),  # tokenizers part words at an underscore
        ("trgs at noon", False),
        ("strg at noon", False),
        ("a barn, xtrg, trg", True),
    ],
)
def test_a_trigger_stands_for_itself(tmp_path: Path, cli: Cli, text: str, is_fit: bool) -> None:
    caption(text.encode())(tmp_path / "set")
    code, report, _ = cli("dataset", "check", tmp_path / "set")
    assert (code == 0) is is_fit, report


@pytest.mark.parametrize(
    ("trigger", "text", "is_fit"),
    [
        ("龙门", "石头城龙门的风景", True),  # no spaces between words
        ("café", "a cafe\u0301 at noon", True),  # one word, written by two systems
        ("<trg>", "a barn<trg>at noon", True),
        ("мост", "мостик у реки", False),
    ],
)
def test_triggers_of_every_script(tmp_path: Path, cli: Cli, trigger: str, text: str, is_fit: bool) -> None:
    folder = tmp_path / "set"
    caption(text.encode(), extra="")(folder)
    for number in range(4):
        (folder / f"good{number}.txt").write_text(f"{trigger} scene {number}")
    recipe = (folder / "lora.yaml").read_text()
    (folder / "lora.yaml").write_text(recipe.replace("trigger: trg", f"trigger: {trigger}"))
    code, report, _ = cli("dataset", "check", folder)
    assert (code == 0) is is_fit, report


def test_a_trigger_in_front_is_read_however_long_the_caption(tmp_path: Path, cli: Cli) -> None:
    caption(b"trg, " + b"grey stone 1, " * 11)(tmp_path / "set")
    assert cli("dataset", "check", tmp_path / "set")[1]["warnings"] == []
