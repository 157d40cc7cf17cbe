"""All about one picture: prompt, tokens, what was dropped, what made it, its versions and takes."""

import shutil

import pytest

from sq_pipeline.common.archive import archive_version
from sq_pipeline.common.errors import PictureError
from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.gallery.survey import Survey
from sq_pipeline.pipeline.choices.choose import adopt, lock, pick
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.settled import find_settled
from sq_pipeline.pipeline.worlds.named_picture import find_picture
from sq_pipeline.pipeline.worlds.takes import make_takes
from sq_pipeline_tests.gallery.conftest import Shown, Small
from sq_pipeline_tests.pipeline.fast import chapter, poi
from sq_pipeline_tests.pipeline.test_choices import MILL, choose, reword
from sq_pipeline_tests.pipeline.test_theirs import retouch


def why_refused(game: Small, number: int) -> str:
    """What `pick` says of a take; nothing where it takes it."""
    try:
        choose(game, pick, number)
    except PictureError as error:
        return str(error)
    return ""


def test_what_made_a_fresh_picture_and_what_it_is_asked_with(shown: Shown) -> None:
    told = shown.details("old", "mill")
    record = told["made"]
    assert told["prompt"]["positive"] == "west, a view of Mill, wide"
    assert [count["encoder"] for count in told["prompt"]["tokens"]] == ["T5", "CLIP"]
    assert told["prompt"]["tokens"][0] == {"encoder": "T5", "tokens": 6, "budget": 96}
    assert told["stack"] == [{"name": "west_land", "lora_scale": 1.0}]
    assert record["seed"] == told["prompt"]["seed"]
    assert record["sha256"] == f"sha256:{told['picture']['sha']}"
    assert record["adapters"][0]["keys_matched"] == record["adapters"][0]["keys_total"] > 0
    assert told["settings"]["base_model"] == "tiny-flux"
    assert told["place"] == "content/genre_packs/west/images/poi/mill.png"
    assert told["reasons"] == told["chain"] == told["takes"] == []


def test_a_stale_picture_shows_what_is_there_and_what_would_be_made(in_states: Shown) -> None:
    told = in_states.details("old", "mill")
    assert told["state"] == "stale"
    assert any("burnt mill" in reason for reason in told["reasons"])
    assert told["chain"] == ["west/worlds/old/prompts:mill"]
    assert told["prompt"]["positive"] == "west, a burnt mill, wide"
    assert told["versions"][0]["labels"] == ["in the game"]
    assert any("burnt mill" in line for line in told["versions"][0]["differs"])
    assert [take["number"] for take in told["takes"]] == [1, 2, 3]
    seeds = [take["seed"] for take in told["takes"]]
    assert seeds == [told["made"]["seed"] + number for number in (1, 2, 3)]
    assert len({take["sha"] for take in told["takes"]} | {told["picture"]["sha"]}) == 4


def test_of_a_draft_and_of_one_at_fault_all_that_is_known_is_told(in_states: Shown) -> None:
    draft, failed = in_states.details("old", "ford"), in_states.details("old", "barn")
    assert (draft["state"], draft["prompt"]["positive"]) == ("draft", "west, a view of Ford, wide")
    assert draft["settings"]["size_px"]
    assert failed["prompt"]["faults"] == failed["reasons"]
    # in its place is something that is no picture: what the store has is shown
    assert in_states.details("old", "mine")["picture"]["sha"] == in_states.details("old", "mine")["versions"][0]["sha"]


def test_versions_of_before_are_found_in_the_store_and_in_the_archive(shown: Shown) -> None:
    game = shown.game
    place = game.data.published_image("west", "landscape", "mill")
    first = shown.details("old", "mill")["picture"]["sha"]
    archived = archive_version(place, game.data.genre_root("west") / "images/archive")
    other = archive_version(game.data.published_image("west", "landscape", "mine"), archived.parent)
    other.rename(other.with_name("mill_2.png"))  # of another place, with a name that begins alike
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn"))]})
    game.bring_up()
    shown.look()
    told = shown.details("old", "mill")
    assert [version["labels"] for version in told["versions"]] == [
        ["in the game", "as it would be made now"],
        ["archived"],
    ]
    archived.unlink()
    shown.look()
    in_game, before = shown.details("old", "mill")["versions"]
    assert (before["sha"], before["labels"]) == (first, [])
    assert "" < before["at"] <= in_game["at"]
    assert any("burnt mill" in line for line in before["differs"])


def test_takes_that_nobody_took_are_no_versions(in_states: Shown) -> None:
    told = in_states.details("old", "mill")
    assert {take["sha"] for take in told["takes"]}.isdisjoint(version["sha"] for version in told["versions"])


def test_takes_of_before_say_what_changed_since_and_are_those_that_nobody_can_pick(shown: Shown) -> None:
    """A prompt that changed, a file that was painted over; what is rendered anew is picked."""
    game = shown.game
    folder = game.data.takes_root / "west/old/landscape/mill"

    def before() -> dict[int, list[str]]:
        shown.look()
        return {take["number"]: take["before"] for take in shown.details("old", "mill")["takes"]}

    def take(first: int, count: int) -> None:
        context = Context(game.data, game.engines(game.data), looks_ahead=False)
        make_takes(context, find_picture(context, MILL), first, count)

    take(1, 3)
    assert before() == {1: [], 2: [], 3: []}
    retouch(folder / "take-3.png")
    reword(game)
    take(2, 1)
    found = before()
    assert (found[2], found[3]) == ([], ["was changed since it was rendered"])
    assert any("in the rain" in change for change in found[1])
    for number, changes in found.items():
        refused = why_refused(game, number)
        assert bool(changes) == bool(refused)
        assert all(change in refused for change in changes)
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", " ".join(["long"] * 120)))]})
    assert before() == {1: [], 2: [], 3: found[3]}  # what they would be now nobody knows: the plan tells why


def test_a_picture_that_nobody_expects_is_not_there(shown: Shown) -> None:
    assert shown.survey.details("no such id") is None
    assert shown.survey.tiles("no such id") is None


KEPT = {"locked": lock, "adopted": adopt}


@pytest.mark.parametrize("state", KEPT)
@pytest.mark.parametrize("is_settled", [False, True])
def test_a_kept_picture_tells_who_keeps_it_what_made_it_and_what_would_be(
    state: str, is_settled: bool, shown: Shown
) -> None:
    game, act = shown.game, KEPT[state]
    place = game.data.published_image("west", "landscape", "mill")
    seed = shown.details("old", "mill")["made"]["seed"]
    if act is adopt:
        retouch(place)
    choose(game, act, *([None] if act is adopt else []))
    reword(game)
    game.bring_up()
    shown.look()
    if is_settled:
        shown = Shown(game, Survey(game.data, lambda: Context(game.data, game.engines(game.data))))
        shown.look()
        context = Context(game.data, game.engines(game.data))
        assert find_settled(context, context.catalog.worlds["west/old"], "landscape") is not None
    tile, told = shown.tiles("old")["mill"], shown.details("old", "mill")
    assert tile["state"] == told["state"] == state
    assert "by Ada on" in tile["why"]
    assert "would be made again because" in tile["why"]
    assert "in the rain" in tile["why"]
    assert [choice["told"].partition(" on ")[0] for choice in told["choices"]] == [f"{state} by Ada"]
    assert any("in the rain" in reason for reason in told["otherwise"])
    assert told["made"]["seed"] == seed
    assert told["settings"]["base_model"] == "tiny-flux"
    now, *_ = told["versions"]
    assert now["labels"] == ["in the game", "kept"]
    assert (
        (now["sha"], now["version"]) == (tile["picture"]["sha"],) * 2 == (hash_file(place).removeprefix("sha256:"),) * 2
    )
    assert any("in the rain" in line for line in now["differs"])
    assert shown.group("old")["counts"] == {"fresh": 2, state: 1}


def test_a_picked_picture_tells_whose_pick_it_is(shown: Shown) -> None:
    choose(shown.game, pick, 2)
    shown.game.bring_up()
    shown.look()
    tile, (choice,) = shown.tiles("old")["mill"], shown.details("old", "mill")["choices"]
    assert (tile["state"], tile["picked"].partition(" on ")[0]) == ("fresh", "take 2, picked by Ada")
    assert (choice["act"], choice["take"], choice["by"], choice["why"]) == ("pick", 2, "Ada", "I like it")


def test_a_kept_picture_whose_file_is_lost_fails(shown: Shown) -> None:
    game = shown.game
    choose(game, lock)
    shutil.rmtree(game.data.store_root / "objects")
    shutil.rmtree(game.data.chosen_pictures("west"))
    game.data.published_image("west", "landscape", "mill").unlink()
    shown.look()
    told = shown.details("old", "mill")
    assert (told["state"], told["picture"]) == ("failed", None)
    assert any("put it back into" in reason for reason in told["reasons"])
