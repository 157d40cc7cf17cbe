"""`choices.yaml` as people edit and merge it: what is wrong in it stops its own picture, and nothing is lost."""

from typing import Any

import pytest

from sq_pipeline.common.errors import ContentError
from sq_pipeline.content.choices import HEAD
from sq_pipeline.pipeline.choices.choose import lock, pick
from sq_pipeline_tests.pipeline.fast import chapter, poi
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_choices import choices_file, choose, file_of, reword


def write(game: Game, *lines: str) -> None:
    choices_file(game).write_text("choices:\n" + "".join(f"- {line}\n" for line in lines))


def line(**values: Any) -> str:
    said = {"picture": "old/mill", "act": "pick", "take": 1, "seed": 7, "by": "Ada", "at": "'2026-11-30T12:00:00Z'"}
    return "{" + ", ".join(f"{name}: {value}" for name, value in {**said, **values}.items() if value != "") + "}"


WRONG: dict[str, tuple[str, str]] = {
    "an act that is none": (line(act="lok"), "act: is 'lok'; did you mean lock?"),
    "a key that is none": (line(sed=3), "sed: unknown key"),
    "no seed": (line(seed=""), "seed: is missing"),
    "a seed that is none": (line(seed="-1"), "seed: is -1"),
    "nobody": (line(by="' '"), "by: "),
    "no time": (line(at="yesterday"), "at: "),
    "no hash": (line(act="lock", take="", seed=""), "file_sha256: is missing"),
    "a path for a hash": (line(act="lock", take="", seed="", file_sha256="../x.png"), "file_sha256: "),
    "a tier that is none": (line(tier="landscapes"), "tier: is 'landscapes'; did you mean landscape?"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_line_that_is_wrong_stops_its_own_picture(case: str, done: Game) -> None:
    wrong, told = WRONG[case]
    was = file_of(done).read_bytes()
    write(done, wrong)
    reword(done)
    plan = done.plan()
    assert any(told in fault for fault in plan["faults"]), plan["faults"]
    report = done.run()
    assert report.rendered == []  # of the others nothing changed
    assert file_of(done).read_bytes() == was
    reword(done, visual_prompt="a mill at dawn")
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill"), poi("Mine", "a new mine"), poi("Inn"))]})
    assert [item["poi"] for item in done.run().rendered] == ["mine"]


def test_a_file_that_cannot_be_understood_stops_all_of_its_genre(done: Game) -> None:
    """No mapping, no YAML, marks of a merge, a line of nobody knows which picture."""
    reword(done)
    for text, told in (
        ("choices: {}\n", "choices: is a mapping"),
        ("choices: [\n", "choices.yaml"),
        ("choices:\n<<<<<<< mine\n- {}\n=======\n>>>>>>> theirs\n", "has the marks of a merge that is not settled"),
        (f"choices:\n- {line(picture='', pictur='old/mill')}\n", "pictur: unknown key"),
        ("choices:\n- 7\n", "is a number"),
    ):
        choices_file(done).write_text(HEAD + text)
        assert any(told in fault for fault in done.plan()["faults"]), (text, done.plan()["faults"])
        assert done.run().rendered == []
    choices_file(done).unlink()
    assert len(done.run().rendered) == 1


def test_two_picks_after_a_merge_stop_the_picture_until_one_is_chosen(done: Game) -> None:
    write(done, line(take=1, seed=7, by="Ada"), line(take=2, seed=8, by="Bo"))
    was = file_of(done).read_bytes()
    (fault,) = done.plan()["faults"]
    assert "take 1, picked by Ada" in fault
    assert "take 2, picked by Bo" in fault
    done.run()
    assert file_of(done).read_bytes() == was
    choose(done, pick, 2)
    assert done.plan()["faults"] == []
    assert done.run().failed == []
    write(done, line(by="Ada"), line(by="Bo"))  # both mean one
    assert done.plan()["faults"] == []


def test_other_lines_stay_as_they_are_and_comments_are_kept_in_the_archive(done: Game) -> None:
    write(done, line(picture="old/inn", act="lok"), "# a note")
    choose(done, lock, name="west/old/mine")
    text = choices_file(done).read_text()
    assert "act: lok" in text
    assert "picture: old/mine" in text
    (kept,) = (done.data.genre_root("west") / "archive").iterdir()
    assert "# a note" in kept.read_text()


def test_a_choice_of_a_picture_that_is_not_there_is_told(done: Game) -> None:
    write(done, line(picture="old/nowhere"), line(picture="gone/mill"))
    told = [warning for warning in done.plan()["warnings"] if "choices.yaml" in warning]
    assert len(told) == 2
    assert done.plan()["faults"] == []


THEIRS = {
    "a dialogue": "choices:\n- {id: ask, text: Who are you?, next: tale}\n",
    "a mapping": "start: {picture: door.png, options: [left, right]}\n",
    "no YAML": "choices: [\n",
    "prose": "what the hero may do\n",
}


@pytest.mark.parametrize("case", THEIRS)
def test_a_file_of_this_name_that_is_the_game_s_own_stops_nothing_and_is_never_written(case: str, done: Game) -> None:
    choices_file(done).write_text(THEIRS[case])
    reword(done)
    plan = done.plan()
    assert plan["faults"] == []
    assert any("choices.yaml: is not read: it holds no choices of pictures" in line for line in plan["warnings"])
    assert len(done.run().rendered) == 1
    with pytest.raises(ContentError, match="is not written over"):
        choose(done, lock)
    assert choices_file(done).read_text() == THEIRS[case]
    assert not done.data.chosen_pictures("west").exists()
