"""The chosen checkpoint in the line of an adapter: proposed or chosen, scored once, and what follows from it."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sq_pipeline.adapters.safetensors_file import write_safetensors
from sq_pipeline.cli import app
from sq_pipeline.common.errors import AdapterError, SelectionError
from sq_pipeline.pictures.ports import RenderRequest
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.choose_checkpoint import choose_checkpoint, choose_proposed
from sq_pipeline.pipeline.adapters.chosen_checkpoint import SCORES
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.manifests import read_manifest
from sq_pipeline.pipeline.store import Record
from sq_pipeline_tests.pipeline.fast import LAYOUT, write_yaml
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.spans import attributes, recorded_spans

LOG = logging.getLogger("test")
CHOSEN = "west/loras/west_land/chosen_checkpoint"
SCORED = 2 * 4  # pictures of two checkpoints; those of the last one and of the base model are kept: it was verified


def context_of(game: Game) -> Context:
    return Context(game.data, game.engines(game.data))


def steps(game: Game) -> dict[str, Step]:
    context = context_of(game)
    return adapter_steps_of(context, context.adapter("west_land"))


def record_of(game: Game, name: str) -> Record:
    record = steps(game)[name].record
    assert record is not None
    return record


def keep_checkpoints(game: Game, folder: Path, iterations: Sequence[int] = (1, 2)) -> Record:
    """The training of `west_land` as if it had kept these checkpoints before its last one, after iteration 3."""
    context, training = context_of(game), record_of(game, "mlx_adapter")
    objects = {"adapter": training.objects["adapter"], "kept-0000003": training.objects["adapter"]}
    for iteration in iterations:
        path, numbers = folder / f"{iteration}.safetensors", np.random.default_rng(iteration)
        bits = ((info, numbers.normal(0, 0.1, info.shape).astype(np.float32).view(np.uint32)) for info in LAYOUT)
        write_safetensors(path, bits, LAYOUT, {"lora_rank": "1"})
        objects[f"kept-{iteration:07d}"] = context.store.put_file(path, ".safetensors")
    record = training.model_copy(update={"objects": objects})
    context.store.write_record(record)
    return record


def make(game: Game) -> tuple[Record, bool]:
    context = context_of(game)
    return make_adapter_asset(context, context.adapter("west_land"), "chosen_checkpoint")


def bring_up(game: Game) -> set[str]:
    """Make what follows the training, in order; the steps that cost work."""
    made: set[str] = set()
    for name in ("chosen_checkpoint", "mflux_adapter", "verification", "promoted_adapter"):
        context = context_of(game)
        _, is_made = make_adapter_asset(context, context.adapter("west_land"), name)
        made |= {name} if is_made else set()
    return made


def choose(game: Game, iteration: int, by: str = "Ada") -> dict[str, Any]:
    context = context_of(game)
    return choose_checkpoint(context, context.adapter("west_land"), iteration, by)


@pytest.fixture
def kept(done: Game, tmp_path: Path) -> Game:
    """A game whose adapter was trained with three checkpoints to choose among, which nobody looked at yet."""
    keep_checkpoints(done, tmp_path)
    return done


def other_than(game: Game, iteration: int) -> int:
    return next(other for other in record_of(game, "chosen_checkpoint").info["kept"] if other != iteration)


def test_every_picture_of_a_scoring_is_traced(kept: Game) -> None:
    before = len(kept.engines.renderer.requests)
    with recorded_spans() as spans:
        make(kept)
    told = spans.named("flux_mlx.render")
    assert len(told) == len(kept.engines.renderer.requests) - before > 0
    assert {attributes(item)["render.tier"] for item in told} == {"landscape"}


def test_where_one_checkpoint_was_kept_nothing_is_scored(done: Game, tmp_path: Path) -> None:
    requests = len(done.engines.renderer.requests)
    info = record_of(done, "chosen_checkpoint").info
    assert (info["iteration"], info["kept"], info["is_scored"]) == (3, [3], False)
    keep_checkpoints(done, tmp_path, ())
    assert steps(done)["chosen_checkpoint"].status == "fresh"
    assert len(done.engines.renderer.requests) == requests
    assert read_manifest(done.data, "west")["west_land"]["made_from"]["checkpoint"] == "iteration 3, the only one kept"


def test_what_was_kept_is_scored_once_and_one_is_proposed(kept: Game) -> None:
    step = steps(kept)["chosen_checkpoint"]
    assert step.status == "stale"
    assert any("kept" in reason for reason in step.reasons)
    requests = len(kept.engines.renderer.requests)
    record, is_made = make(kept)
    assert is_made
    assert len(kept.engines.renderer.requests) - requests == SCORED
    assert record.info["proposed"] == record.info["iteration"]
    assert record.info["kept"] == [1, 2, 3]
    assert record.info["reason"].startswith(f"iteration {record.info['iteration']}: ")
    assert set(record.objects) == {"adapter", "table", "grid", "scores"}
    assert make(kept)[1] is False
    assert len(kept.engines.renderer.requests) - requests == SCORED


def test_another_choice_renders_no_scores_again(kept: Game) -> None:
    proposed = make(kept)[0].info["proposed"]
    other = other_than(kept, proposed)
    told = choose(kept, other)
    assert told == {
        "adapter": "west/west_land",
        "kept": [1, 2, 3],
        "proposed": proposed,
        "file": "content/lora/west/west.choices.yaml",
        "iteration": other,
        "by": "Ada",
    }
    assert steps(kept)["chosen_checkpoint"].reasons == (f"choice: the proposed one → {other}",)
    requests = len(kept.engines.renderer.requests)
    record, is_made = make(kept)
    assert is_made
    assert len(kept.engines.renderer.requests) == requests
    assert (record.info["iteration"], record.info["chosen_by"]) == (other, "Ada")
    table = context_of(kept).store.lend(record.objects["table"]).read_text()
    assert f"Chosen by Ada: iteration {other}." in table
    assert f"Proposed: iteration {proposed}: " in table


def test_a_choice_goes_all_the_way_and_back(kept: Game) -> None:
    bring_up(kept)
    proposed = record_of(kept, "chosen_checkpoint")
    promoted = record_of(kept, "promoted_adapter").data_version
    other = other_than(kept, proposed.info["iteration"])
    choose(kept, other)
    assert [name for name, step in steps(kept).items() if step.is_to_do] == [
        "chosen_checkpoint", "mflux_adapter", "verification", "promoted_adapter"
    ]  # fmt: skip
    assert bring_up(kept) == {"chosen_checkpoint", "mflux_adapter", "verification", "promoted_adapter"}
    assert record_of(kept, "chosen_checkpoint").data_version != proposed.data_version
    assert record_of(kept, "promoted_adapter").data_version != promoted
    made_from = read_manifest(kept.data, "west")["west_land"]["made_from"]
    assert made_from["checkpoint"] == f"iteration {other}, chosen by Ada"
    context = context_of(kept)
    choose_proposed(context, context.adapter("west_land"))
    assert not kept.data.checkpoint_choices("west").exists()
    assert bring_up(kept) == set()
    assert record_of(kept, "promoted_adapter").data_version == promoted


def test_where_the_last_one_is_chosen_nothing_downstream_is_made_again(kept: Game) -> None:
    """Through Dagster, as the chain is: the step is made again, and comes out as it was."""
    choose(kept, 3)
    requests = len(kept.engines.renderer.requests)
    report = kept.run()
    assert report.trained == report.remapped == report.verified == report.rendered == report.failed == []
    assert len(kept.engines.renderer.requests) == requests + SCORED
    assert {step.status for step in steps(kept).values()} == {"fresh"}


def test_the_verification_repeats_no_picture_of_the_choice(kept: Game) -> None:
    record, _ = make(kept)
    assert record.info["iteration"] != 3  # that one was verified before
    before = len(kept.engines.renderer.requests)
    assert "verification" in bring_up(kept)
    own = context_of(kept).adapter_file(record_of(kept, "mflux_adapter").objects["adapter"])
    requests = [request for request in kept.engines.renderer.requests[before:] if request.adapters]
    asked = [(request.adapters[0].lora_scale, request.positive_prompt) for request in requests
             if request.adapters[0].path == own]  # fmt: skip
    assert {scale for scale, _ in asked} == {0.5, 1, 1.5}
    assert not [text for scale, text in asked if scale == 1 and text.startswith("west, ")]


def test_a_verification_that_was_cut_off_takes_up_what_it_rendered(kept: Game) -> None:
    make(kept)
    before, renderer = len(kept.engines.renderer.requests), kept.engines.renderer

    def cut_off(_request: RenderRequest) -> bool:
        if len(renderer.requests) - before > 3:
            raise KeyboardInterrupt
        return False

    renderer.fails_when = cut_off
    with pytest.raises(KeyboardInterrupt):
        bring_up(kept)
    renderer.fails_when = lambda _request: False
    cut = renderer.requests[before:-1]  # without the one in hand
    again = len(renderer.requests)
    assert "verification" in bring_up(kept)
    rendered = renderer.requests[again:]
    assert len(cut) == 3
    assert rendered
    own = context_of(kept).adapter_file(record_of(kept, "mflux_adapter").objects["adapter"])
    assert not [request for request in cut if request in rendered and request.adapters[0].path == own]


def test_a_choice_for_another_training_no_longer_applies(kept: Game) -> None:
    make(kept)
    proposed = record_of(kept, "chosen_checkpoint").info["proposed"]
    choose(kept, other_than(kept, proposed))
    path = kept.data.checkpoint_choices("west")
    training = record_of(kept, "mlx_adapter").data_version
    path.write_text(path.read_text().replace(training, f"sha256:{'0' * 64}"))
    assert steps(kept)["chosen_checkpoint"].status == "fresh"
    (warning,) = [text for text in kept.plan()["warnings"] if "choices" in text]
    assert "Ada's choice of iteration" in warning
    assert "was for another training; the proposal holds" in warning
    assert make(kept)[0].info["iteration"] == proposed


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("iteration: 2", "iteration: 7", "iteration 7 was not kept; choose 1 or 2 or 3"),
        ("iteration: 2", "iteration: two", "choices.west_land.iteration"),
        ("by: Ada", "bye: Ada", "choices.west_land.bye: unknown key"),
        ("choices:", "choices: [", "west.choices.yaml"),
    ],
)
def test_a_choice_that_cannot_be_used_blocks_the_step(kept: Game, old: str, new: str, told: str) -> None:
    choose(kept, 2)
    path = kept.data.checkpoint_choices("west")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    (blocked,) = [item for item in kept.plan()["blocked"] if item["asset"] == CHOSEN]
    assert told in "; ".join(blocked["reasons"])
    with pytest.raises(AdapterError, match="choices"):
        make(kept)


@pytest.mark.parametrize(
    ("iteration", "by", "told"),
    [(5, "Ada", ["iteration: iteration 5 was not kept; choose 1 or 2 or 3"]), (5, " ", ["iteration", "by"])],
)
def test_what_cannot_be_chosen_is_told_all_at_once(kept: Game, iteration: int, by: str, told: list[str]) -> None:
    with pytest.raises(SelectionError) as caught:
        choose(kept, iteration, by)
    assert len(caught.value.faults) == len(told)
    assert all(part in str(fault) for part, fault in zip(told, caught.value.faults, strict=True))
    assert not kept.data.checkpoint_choices("west").exists()


def test_an_adapter_that_is_not_trained_has_nothing_to_choose(game: Game) -> None:
    with pytest.raises(SelectionError, match="is not trained yet"):
        choose(game, 1)


def test_a_moved_threshold_chooses_again_and_renders_nothing(kept: Game) -> None:
    make(kept)
    kept.data.settings_file.write_text("promotion: automatic\nthresholds: {ssim_changed_max: 0.998}\n")
    requests = len(kept.engines.renderer.requests)
    assert make(kept)[1]
    assert len(kept.engines.renderer.requests) == requests


@pytest.mark.parametrize("name", ["gate", "gate_for"])
def test_a_limit_of_the_gate_chooses_again_and_renders_nothing(kept: Game, name: str) -> None:
    make(kept)
    own = {"subject_kept": {"value": 0.99, "reason": "a test"}}
    asked = {"gate": own} if name == "gate" else {"gate_for": {"west/west_land": own}}
    write_yaml(kept.data.settings_file, {"promotion": "automatic", "thresholds": asked})
    requests = len(kept.engines.renderer.requests)
    assert any("subject_kept" in reason for reason in steps(kept)["chosen_checkpoint"].reasons)
    record, is_made = make(kept)
    assert is_made
    assert len(kept.engines.renderer.requests) == requests
    assert record.info["overtrained"]


def test_another_renderer_scores_again(kept: Game) -> None:
    make(kept)
    kept.engines.renderer_versions = {"fake": "2"}
    requests = len(kept.engines.renderer.requests)
    make(kept)
    assert len(kept.engines.renderer.requests) == requests + 3 * 4 + 4


def test_scores_that_were_lost_are_made_again(kept: Game) -> None:
    record, _ = make(kept)
    context = context_of(kept)
    context.store.lend(record.objects["grid"]).unlink()
    requests = len(kept.engines.renderer.requests)
    again, is_made = make(kept)
    assert is_made
    assert len(kept.engines.renderer.requests) == requests  # their pictures were not
    assert again.objects == record.objects
    assert SCORES not in steps(kept)


def test_the_command(kept: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sq_pipeline.wiring.real_engines", kept.engines)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["adapter", "choose", "west_land", "--data", str(kept.data.root), *arguments])
        assert result.exception is None, result.exception
        return result.stdout

    told = json.loads(run("--iteration", "2", "--by", "Ada", "--json"))
    assert (told["adapter"], told["iteration"], told["by"], told["kept"]) == ("west/west_land", 2, "Ada", [1, 2, 3])
    assert "by: Ada" in (kept.data.root / told["file"]).read_text()
    assert "iteration 2 of 1, 2, 3, chosen by Ada" in run("--iteration", "2", "--by", "Ada")
    assert json.loads(run("--proposed", "--json"))["by"] is None
    assert not kept.data.checkpoint_choices("west").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["--by", "Ada"], ["--proposed", "--iteration", "2"], ["--proposed", "--by", "Ada"]]
)
def test_the_command_wants_one_of_two(kept: Game, arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["adapter", "choose", "west_land", "--data", str(kept.data.root), *arguments])
    assert isinstance(result.exception, SelectionError)
