"""The jobs over what people decide of pictures: done from a form, in place at once, and Dagster's pages know of it."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from dagster import AssetKey
from PIL import Image

from sq_pipeline.common.fingerprints import hash_file, short
from sq_pipeline.content.choices import HEAD
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import PROVENANCE
from sq_pipeline_tests.defs.staleness import stale_in_dagster
from sq_pipeline_tests.defs.test_jobs import IMAGES, refusal, shown, start
from sq_pipeline_tests.defs.test_sources import load, stale_in_plan
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.fast import chapter, poi
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_choices import choices_file, file_of, renders, reword, take_of
from sq_pipeline_tests.pipeline.test_choices_file import line, write
from sq_pipeline_tests.pipeline.test_theirs import paint, retouch

pytestmark = pytest.mark.takes(s=60)

BY = {"by": "Ada", "why": "more sky"}


def version_in_dagster(game: Game) -> str:
    """The data version that the page of the mill's picture shows."""
    (record,) = game.instance.fetch_materializations(IMAGES, limit=1).records
    assert record.partition_key == "mill"
    assert record.asset_materialization is not None
    tags = record.asset_materialization.tags or {}
    return tags["dagster/data_version"]


def pixels(game: Game) -> str:
    return json.loads(read_png(file_of(game), "sq.").texts[PROVENANCE])["pixels"]


def is_told(game: Game) -> None:
    """The pages show what the plan says, without another look."""
    assert stale_in_dagster(load(game), game.instance) == stale_in_plan(game)


def test_a_take_is_picked_and_its_page_shows_it(done: Game) -> None:
    take, before = take_of(done, 2), renders(done)
    found = shown(start(done, "pick_a_take", take=2, **BY))
    assert found["choice"].startswith("take 2, picked by Ada on ")
    assert found["choice"].endswith("because more sky")
    assert found["how it stands"] == f"{found['file']} is that picture now"
    assert found["picture"].startswith("![west/old/mill](data:image/")
    assert found["page"] == IMAGES
    assert file_of(done).read_bytes() == take
    assert renders(done) == before
    assert version_in_dagster(done) == pixels(done)
    assert stale_in_plan(done) == set()
    is_told(done)


def test_a_take_that_is_to_be_rendered_is_stale_in_the_pages_and_made_there(done: Game) -> None:
    found = shown(start(done, "pick_a_take", take=3, **BY))
    assert "is to be rendered: `sq-pipeline run --world west/old" in found["how it stands"]
    assert "west/worlds/old/poi_images:mill" in stale_in_plan(done)
    is_told(done)
    assert shown(start(done, "render_a_world"))["rendered"] == 1
    is_told(done)


def test_a_picture_is_locked_and_let_go(done: Game) -> None:
    was = file_of(done).read_bytes()
    assert shown(start(done, "lock_a_picture", **BY))["choice"].startswith("locked by Ada on ")
    reword(done)
    assert shown(start(done, "render_a_world"))["rendered"] == 0
    assert file_of(done).read_bytes() == was
    is_told(done)
    found = shown(start(done, "unlock_a_picture"))
    assert found["let go"].startswith("locked by Ada on ")
    assert "is to be rendered" in found["how it stands"]
    is_told(done)


@pytest.mark.parametrize("where", ["at its place", "absolute", "from the data directory"])
def test_a_file_is_adopted(where: str, done: Game) -> None:
    mine = file_of(done) if where == "at its place" else done.data.root / "mine.png"
    if where != "at its place":
        shutil.copyfile(file_of(done), mine)
    retouch(mine)
    mine_pixels = Image.open(mine).convert("RGB").tobytes()
    file = {"at its place": "", "absolute": str(mine), "from the data directory": "mine.png"}[where]
    found = shown(start(done, "adopt_a_file", file=file, **BY))
    assert found["choice"].startswith("adopted by Ada on ")
    assert Image.open(file_of(done)).convert("RGB").tobytes() == mine_pixels
    assert version_in_dagster(done) == pixels(done)
    is_told(done)


def test_a_file_of_another_size_where_one_says_so(done: Game) -> None:
    paint(done.data.root / "mine.png")
    assert "--any-size" in refusal(start(done, "adopt_a_file", file="mine.png", **BY))
    assert (
        "is that picture now"
        in shown(start(done, "adopt_a_file", file="mine.png", any_size=True, **BY))["how it stands"]
    )


def test_a_version_is_restored(done: Game) -> None:
    was = hash_file(file_of(done))
    reword(done)
    done.run()
    told = refusal(start(done, "restore_a_picture", **BY))
    assert f"known are {short(hash_file(file_of(done)))}, {short(was)}" in told
    assert "is that picture now" in shown(start(done, "restore_a_picture", version=short(was), **BY))["how it stands"]
    assert hash_file(file_of(done)) == was
    is_told(done)


def test_what_was_chosen_of_a_picture_that_is_gone_is_let_go(done: Game) -> None:
    start(done, "lock_a_picture", **BY)
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mine"), poi("Inn"))]})
    found = shown(start(done, "unlock_a_picture"))
    assert found["how it stands"] == "west/old has no picture 'mill'"
    assert not choices_file(done).exists()


def test_the_form_of_unlock_begins_with_what_was_decided(done: Game) -> None:
    start(done, "lock_a_picture", picture="west/old/inn", **BY)
    job = build_with_jobs(done).resolve_job_def("unlock_a_picture")
    assert (job.run_config or {})["ops"]["form_of_unlock_a_picture"]["config"] == {
        "picture": "west/old/inn", "tier": "landscape"
    }  # fmt: skip


def build_with_jobs(game: Game) -> Any:
    from sq_pipeline.defs.build import build_defs
    from sq_pipeline.defs.jobs.table import build_jobs

    return build_defs(data=game.data, make_engines=game.engines, make_jobs=build_jobs)


def _nothing(_game: Game) -> None:
    pass


def _two_picks(game: Game) -> None:
    write(game, line(take=1, seed=7), line(take=2, seed=8))


def _bad_file(game: Game) -> None:
    choices_file(game).write_text(HEAD + "choices: 7\n")


def _file_of_others(game: Game) -> None:
    choices_file(game).write_text("dialogue: [{speaker: Ada, says: No}]\n")


REFUSED: list[tuple[str, dict[str, Any], Callable[[Game], None], str]] = [
    ("pick_a_take", {"by": ""}, _nothing, "nobody is named"),
    ("pick_a_take", {"take": -1}, _nothing, "there is no take -1"),
    ("pick_a_take", {"picture": "west/old/mil"}, _nothing, "did you mean mill?"),
    ("pick_a_take", {"picture": "mill"}, _nothing, "write it as GENRE/WORLD/SLUG"),
    ("lock_a_picture", {"picture": "west/olde/mill"}, _nothing, "known are west/old, west/paper"),
    ("lock_a_picture", {"tier": "boat"}, _nothing, "there is no tier 'boat'; use one of landscape"),
    ("lock_a_picture", {}, lambda game: file_of(game).unlink(), "there is no picture to keep"),
    ("lock_a_picture", {}, _bad_file, "choices.yaml"),
    ("lock_a_picture", {}, _file_of_others, "holds no choices of pictures, and is not written over"),
    ("adopt_a_file", {"file": "nowhere.png"}, _nothing, "is no file"),
    ("restore_a_picture", {"version": "zzz"}, _nothing, "no version begins with 'zzz'"),
    ("unlock_a_picture", {}, _nothing, "of west/old/mill nothing is chosen"),
    ("unlock_a_picture", {"picture": "west/old"}, _nothing, "write it as GENRE/WORLD/SLUG"),
    ("unlock_a_picture", {}, _bad_file, "choices.yaml"),
]


@pytest.mark.parametrize(("name", "form", "make", "told"), REFUSED)
def test_what_cannot_be_is_told_and_changes_nothing(
    name: str, form: dict[str, Any], make: Callable[[Game], None], told: str, done: Game
) -> None:
    make(done)
    before = choices_file(done).read_text() if choices_file(done).exists() else None
    said = {} if name == "unlock_a_picture" else BY
    assert told in refusal(start(done, name, **{**said, **form}))
    assert (choices_file(done).read_text() if choices_file(done).exists() else None) == before


def test_two_picks_are_settled_from_the_form(done: Game) -> None:
    _two_picks(done)
    take_of_two = shown(start(done, "pick_a_take", take=2, **BY))
    assert take_of_two["choice"].startswith("take 2, picked by Ada")
    assert done.plan()["faults"] == []
    is_told(done)


def test_the_page_of_a_job_is_that_of_its_tier(done: Game) -> None:
    assert shown(start(done, "lock_a_picture", picture="west/paper/gate", **BY))["page"] == AssetKey(
        ["west", "worlds", "paper", "poi_images"]
    )
