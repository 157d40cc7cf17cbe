"""Bringing a game up to date with fast engines: what an edit makes again, what a fault stops, what is told."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterEventType, EventRecordsFilter
from PIL import Image

from sq_pipeline.common.errors import Fault, RenderError, SelectionError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import Subject, World
from sq_pipeline.defs import runs
from sq_pipeline.defs.runs import RunReport
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.manifests import read_manifest
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds import prompts
from sq_pipeline_tests.pipeline.fast import chapter, lora, poi, write_dataset, write_yaml
from sq_pipeline_tests.pipeline.game import Game

pytestmark = pytest.mark.takes(s=60)

ALL = {"old/mill", "old/mine", "old/inn", "paper/gate", "paper/dock"}


def rendered(report: RunReport) -> set[str]:
    return {f"{picture['world']}/{picture['poi']}" for picture in report.rendered}


def is_quiet(report: RunReport) -> bool:
    return not (report.trained or report.remapped or report.verified or report.rendered or report.failed)


def test_first_run_makes_everything_once(game: Game) -> None:
    report = game.run()
    assert [name.split("/")[2] for name in report.trained] == ["west_land", "paper_land"]
    assert (len(report.remapped), len(report.verified)) == (2, 2)
    assert rendered(report) == ALL
    assert report.model_loads == 1
    for picture in report.rendered:
        with Image.open(game.data.root / picture["path"]) as image:
            image.load()
            assert image.text["sq.fingerprint"] == picture["fingerprint"]  # type: ignore[attr-defined]
            stack = json.loads(image.text["sq.stack"])  # type: ignore[attr-defined]
        assert [entry["name"] for entry in stack] == [f"{'west' if picture['world'] == 'old' else 'paper'}_land"]
    manifest = read_manifest(game.data, "west")
    assert {entry["promoted_by"] for entry in manifest.values()} == {"automatic (sq.yaml says `promotion: automatic`)"}


def test_second_run_makes_nothing(done: Game) -> None:
    requests = len(done.engines.renderer.requests)
    report = done.run()
    assert is_quiet(report)
    assert report.model_loads == 0
    assert report.skipped == done.plan()["fresh"]
    assert len(done.engines.renderer.requests) == requests


def test_the_machine_is_kept_awake_for_a_run_that_trains(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started, and where, is in `common/test_awake.py`."""
    asked: list[str] = []

    @contextmanager
    def kept_awake() -> Iterator[None]:
        asked.append("begins")
        yield
        asked.append("ends")

    monkeypatch.setattr(runs, "kept_awake", kept_awake)
    game.run()
    assert asked == ["begins", "ends"]
    game.run()
    assert asked == ["begins", "ends"]


def test_the_report_repeats_what_the_plan_warns_of(game: Game) -> None:
    recipe = next(game.data.datasets_root.rglob("lora.yaml"))
    recipe.write_text(f"{recipe.read_text().rstrip()}\nwarmup_steps: 100\n")
    (warning,) = game.plan()["warnings"]
    assert warning.startswith(f"{game.data.relative(recipe)}: iterations: 1 optimizer step, ")
    assert game.run().warnings == [warning]


PICTURES_OF: list[tuple[str, dict[str, Any], set[str]]] = [
    ("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn"))]},
     {"old/mill"}),
    ("worlds/old/history.yaml", {"chapters": [chapter(poi("Inn")), chapter(poi("Mine"), poi("Mill"))]}, set()),
    ("worlds/old/history.yaml",
     {"chapters": [{**chapter(poi("Mill"), poi("Mine"), poi("Inn")), "narrative_log": "other prose"}]}, set()),
    ("worlds/old/history.yaml",
     {"chapters": [chapter({**poi("Mill"), "description": "not read beside a prompt"}, poi("Mine"), poi("Inn"))]},
     set()),
    ("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill"), poi("Mine"), poi("Inn"), poi("Saloon"))]},
     {"old/saloon"}),
    ("visual_style.yaml", {"positive_suffix": "very wide"}, ALL),
    ("visual_style.yaml", {"base_seed": 2}, ALL),
    ("visual_style.yaml", {"poi_style": "oil painting"}, ALL),
    ("visual_style.yaml", {"portrait_style": "close up"}, set()),
    ("visual_style.yaml", {"negative_prompt": "text"}, set()),
    ("visual_style.yaml", {"unknown_key_of_the_game": 1}, set()),
    ("visual_style.yaml", {"loras": [lora("west_land", "west/landscape", trigger="west", scale=0.5)]},
     {"old/mill", "old/mine", "old/inn"}),
    ("worlds/paper/visual_style.yaml", {"base_seed": 9}, {"paper/gate", "paper/dock"}),
]  # fmt: skip


@pytest.mark.parametrize(("file", "change", "wanted"), PICTURES_OF)
def test_an_edit_makes_exactly_its_pictures_again(
    done: Game, file: str, change: dict[str, Any], wanted: set[str]
) -> None:
    done.edit(file, change)
    planned = {item["asset"].partition("worlds/")[2].replace("poi_images:", "")
               for item in done.plan()["stale"] if "poi_images" in item["asset"]}  # fmt: skip
    report = done.run()
    assert rendered(report) == wanted
    assert planned == wanted
    assert not report.trained
    assert is_quiet(done.run())


def test_one_edited_prompt_has_its_world_looked_at_once(done: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of plan, steps and report: each text is written once, each asset looked up once, and once more when it was made.

    The other world's never.
    """
    texts: list[str] = []
    looked_up: Counter[str] = Counter()
    write, find = prompts.write_prompt, Context._find_step

    def written(world: World, subject: Subject, tier: Tier, counter: Any, **more: Any) -> Any:
        texts.append(f"{world.name}/{subject.slug}")
        return write(world, subject, tier, counter, **more)

    def found(self: Context, asset: str, kind: str, given: dict[str, Any]) -> Any:
        looked_up[asset.removeprefix("west/worlds/")] += 1
        return find(self, asset, kind, given)

    done.run()
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn"))]})
    monkeypatch.setattr(prompts, "write_prompt", written)
    monkeypatch.setattr(Context, "_find_step", found)
    assert rendered(done.run()) == {"old/mill"}
    assert sorted(texts) == ["old/inn", "old/mill", "old/mine"]
    pictures = {asset: count for asset, count in looked_up.items() if asset.startswith(("old/", "paper/poi"))}
    once, twice = dict.fromkeys, {"old/prompts:mill": 2, "old/poi_images:mill": 2, "old/gallery": 2}
    others = ("old/stack", "old/prompts:mine", "old/prompts:inn", "old/poi_images:mine", "old/poi_images:inn")
    assert pictures == {**once(others, 1), **twice}


def test_what_does_not_count_makes_nothing(done: Game) -> None:
    """Comments, order of keys, times of files."""
    import os

    style = done.data.genre_root("west") / "visual_style.yaml"
    lines = style.read_text()
    style.write_text(f"# a comment\n{lines}")
    for path in done.data.datasets_root.rglob("*"):
        os.utime(path)
    assert done.plan()["stale"] == []
    assert is_quiet(done.run())


def test_undoing_an_edit_takes_pictures_from_the_store(done: Game) -> None:
    style = done.data.genre_root("west") / "visual_style.yaml"
    before = style.read_text()
    published = {path: path.read_bytes() for path in done.data.genre_root("west").rglob("*.png")}
    done.edit("visual_style.yaml", {"positive_suffix": "very wide"})
    done.run()
    style.write_text(before)
    requests = len(done.engines.renderer.requests)
    report = done.run()
    assert report.rendered == []
    assert len(done.engines.renderer.requests) == requests
    assert {path: path.read_bytes() for path in published} == published


def test_a_changed_dataset_trains_its_adapter_and_renders_its_world(done: Game) -> None:
    write_dataset(done.data.datasets_root / "west/landscape", "west", 77)
    report = done.run()
    assert report.trained == ["west/loras/west_land/mlx_adapter"]
    assert rendered(report) == {"old/mill", "old/mine", "old/inn"}


def test_a_deleted_picture_is_made_again_identical(done: Game) -> None:
    picture = next(iter(done.data.genre_root("west").rglob("mill.png")))
    content = picture.read_bytes()
    (stored,) = [path for path in (done.data.store_root / "objects").rglob("*.png") if path.read_bytes() == content]
    stored.unlink()
    assert rendered(done.run()) == {"old/mill"}
    assert stored.read_bytes() == content
    picture.unlink()
    assert done.run().rendered == []
    assert picture.read_bytes() == content


def test_an_adapter_that_fails_verification_is_never_used(game: Game) -> None:
    game.engines.renderer.wakes = "never"
    report = game.run()
    assert {item["asset"].rpartition("/")[2] for item in report.failed} == {"verification"}
    assert any("did not pass verification" in item["reason"] for item in report.blocked)
    assert report.rendered == []
    assert not list(game.data.lora_root.rglob("*.safetensors"))


def test_pictures_stand_on_the_last_promoted_adapter_when_a_new_one_fails(done: Game) -> None:
    done.engines.renderer.wakes = "never"
    write_dataset(done.data.datasets_root / "west/landscape", "west", 78)
    report = done.run()
    assert [item["asset"] for item in report.failed] == ["west/loras/west_land/verification"]
    assert report.rendered == []
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", "a new mill"), poi("Mine"), poi("Inn"))]})
    assert rendered(done.run()) == {"old/mill"}


def test_undoing_a_dataset_puts_its_adapter_back_in_use(done: Game) -> None:
    """Not only pictures: the promoted file and the manifest too, and what a later failure falls back on."""
    promoted, manifest = done.data.lora_root / "west/landscape.safetensors", done.data.manifest("west")
    before = promoted.read_bytes(), manifest.read_bytes()
    write_dataset(done.data.datasets_root / "west/landscape", "west", 78)
    done.run()
    assert promoted.read_bytes() != before[0]
    write_dataset(done.data.datasets_root / "west/landscape", "west", 1)
    assert is_quiet(done.run())
    assert (promoted.read_bytes(), manifest.read_bytes()) == before
    write_yaml(done.data.settings_file, {"promotion": "automatic", "thresholds": {"ssim_changed_max": 0.001}})
    assert done.run().rendered == []
    assert done.plan()["stale"] == []


def test_manual_promotion_waits_for_a_person(game: Game) -> None:
    from sq_pipeline.pipeline.adapters.promote import promote

    write_yaml(game.data.settings_file, {"promotion": "manual", "thresholds": {"ssim_trigger_max": 1.0}})
    report = game.run()
    assert {item["asset"] for item in report.waiting} == {
        "west/loras/west_land/promoted_adapter",
        "west/loras/paper_land/promoted_adapter",
        "west/worlds/old/stack",
        "west/worlds/paper/stack",
    }
    assert all("adapter promote" in item["reason"] for item in report.waiting)
    assert (report.rendered, report.blocked, report.failed) == ([], [], [])
    assert {item["status"] for item in game.plan()["blocked"]} == {"waiting"}
    context = Context(game.data, game.engines(game.data))
    promote(context, context.adapter("west_land"), "Ada")
    assert rendered(game.run()) == {"old/mill", "old/mine", "old/inn"}
    assert read_manifest(game.data, "west")["west_land"]["promoted_by"] == "Ada"


def test_a_bad_dataset_stops_only_what_hangs_on_it(game: Game) -> None:
    (game.data.datasets_root / "west/landscape/1.txt").unlink()
    report = game.run()
    (failed,) = report.failed
    assert failed["asset"] == "west/loras/west_land/training_dataset"
    assert "1.png: has no caption" in failed["reason"]
    assert "2 pairs" in failed["reason"]
    assert rendered(report) == {"paper/gate", "paper/dock"}


def test_a_broken_world_stops_only_itself(game: Game) -> None:
    (game.data.world_root("west", "old") / "history.yaml").write_text("chapters: {}\n")
    report = game.run()
    assert rendered(report) == {"paper/gate", "paper/dock"}
    assert "chapters: is a mapping, not a list" in report.failed[0]["reason"]
    assert rendered(again := game.run("west/old")) == set()
    assert [item["reason"] for item in again.failed] == [report.failed[0]["reason"]]


def test_a_worlds_stack_prompts_and_pictures_are_one_run(game: Game) -> None:
    """Two for each world, of which the second draws the gallery, after one for the adapters."""
    assert not game.run().failed
    asked = [sorted(key.path[-1] for key in run.asset_selection or ()) for run in game.instance.get_runs()]
    assert asked[:4] == [["gallery"], ["poi_images", "prompts", "stack"]] * 2
    assert len(asked) == 5
    stack = game.instance.get_latest_materialization_event(AssetKey(["west", "worlds", "old", "stack"]))
    assert stack is not None
    assert stack.asset_materialization is not None
    assert stack.asset_materialization.partition is None  # it is one, in a run over a range of places


def test_a_stack_that_fails_hinders_no_picture(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Context.keep

    def refuse(self: Context, step: Step, record: Record) -> Record:
        if step.asset == "west/worlds/old/stack":
            raise RenderError(Fault(step.asset, "", "was told to fail", ""))
        return keep(self, step, record)

    monkeypatch.setattr(Context, "keep", refuse)
    report = game.run()
    assert [(item["asset"], "was told to fail" in item["reason"]) for item in report.failed] == [
        ("west/worlds/old/stack", True)
    ]
    assert rendered(report) == ALL


def test_a_place_that_fails_hinders_no_neighbour(game: Game) -> None:
    game.engines.renderer.fails_when = lambda request: "Mine" in request.positive_prompt
    report = game.run()
    assert rendered(report) == ALL - {"old/mine"}
    (failed,) = report.failed
    assert "mine: the fake was told to fail" in failed["reason"]
    game.engines.renderer.fails_when = lambda request: False
    assert rendered(game.run()) == {"old/mine"}


def test_a_missing_base_model_blocks_its_world_with_the_reason(done: Game) -> None:
    done.edit("worlds/paper/visual_style.yaml", {"preferred_model": "dev"})
    report = done.run()
    assert report.rendered == []
    assert any("flux1-dev is not on this machine" in item["reason"] for item in report.blocked)
    assert done.run("west/old").blocked == []


@pytest.mark.parametrize(
    ("world", "message"),
    [("west/nowhere", "no world 'west/nowhere'; known are west/old, west/paper"), ("sea/old", "no genre 'sea'")],
)
def test_an_unknown_world_is_named_with_the_known_ones(game: Game, world: str, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        game.run(world)


def test_one_world_alone(game: Game) -> None:
    report = game.run("west/paper")
    assert report.trained == ["west/loras/paper_land/mlx_adapter"]
    assert rendered(report) == {"paper/gate", "paper/dock"}


def test_ctrl_c_keeps_what_was_finished(game: Game) -> None:
    def interrupt(request: object) -> bool:
        if sum("a view of" in asked.positive_prompt for asked in game.engines.renderer.requests) == 2:
            raise KeyboardInterrupt
        return False

    game.engines.renderer.fails_when = interrupt
    with pytest.raises(KeyboardInterrupt):
        game.run()
    assert len(list(game.data.genre_root("west").rglob("*.png"))) == 1
    assert not list(game.data.root.rglob("*.part*"))
    game.engines.renderer.fails_when = lambda request: False
    assert len(rendered(game.run())) == len(ALL) - 1


def test_a_copied_data_directory_is_up_to_date(done: Game, tmp_path: Path) -> None:
    copy = DataDir(tmp_path / "elsewhere" / "data")
    shutil.copytree(done.data.root, copy.root, symlinks=True)
    assert make_plan(Context(copy, done.engines(copy)), None).as_json()["stale"] == []


def test_dagster_knows_each_picture_with_its_own_version(done: Game) -> None:
    key = AssetKey(["west", "worlds", "old", "poi_images"])
    records = done.instance.get_event_records(EventRecordsFilter(DagsterEventType.ASSET_MATERIALIZATION, asset_key=key))
    made = {record.partition_key: record.asset_materialization for record in records}
    assert set(made) == {"mill", "mine", "inn"}
    versions = {event.tags["dagster/data_version"] for event in made.values() if event and event.tags}
    assert len(versions) == 3
    mill = made["mill"]
    assert mill is not None
    assert str(mill.metadata["picture"].value).startswith("![Mill](data:image/jpeg;base64,")
    assert mill.metadata["prompt"].value == "west, a view of Mill, wide"


def test_dagster_sees_only_the_edited_picture_as_planned(done: Game) -> None:
    """A run over scattered places plans exactly these: no other picture may look failed or in progress."""
    done.edit(
        "worlds/old/history.yaml",
        {"chapters": [chapter(poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn", "a full inn"))]},
    )
    key = AssetKey(["west", "worlds", "old", "poi_images"])
    kind = EventRecordsFilter(DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asset_key=key)
    before = len(done.instance.get_event_records(kind))
    done.run()
    planned: set[str] = set()
    for record in done.instance.get_event_records(kind)[: len(done.instance.get_event_records(kind)) - before]:
        data = record.event_log_entry.dagster_event.asset_materialization_planned_data  # type: ignore[union-attr]
        planned |= {data.partition} if data.partition else set(data.partitions_subset.get_partition_keys())  # type: ignore[union-attr]
    assert planned == {"mill", "inn"}


def test_worlds_of_one_stack_are_rendered_together(game: Game) -> None:
    """`old` and `zinc` inherit the genre's adapter, `paper` lies between them."""
    write_yaml(game.data.genre_root("west") / "worlds/zinc/history.yaml", {"chapters": [chapter(poi("Pit"))]})
    report = game.run()
    assert len(report.rendered) == 6
    stacks = [request.adapters for request in game.engines.renderer.requests[-6:]]
    assert [len(list(group)) for _, group in groupby(stacks)] in ([4, 2], [2, 4])
