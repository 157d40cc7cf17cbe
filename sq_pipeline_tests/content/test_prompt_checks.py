"""What the checks of prompts find, and what they leave alone: a table a check."""

from collections.abc import Callable

import pytest

from sq_pipeline.base_models.ports import TokenCounts
from sq_pipeline.content.prompt_checks import PROMPT_CHECKS, Asked, CheckName, check_prompt
from sq_pipeline.content.prompts import Prompt
from sq_pipeline.content.records import Subject

COUNTS = TokenCounts("T5", 9, 512, 9, 77)


def asked(
    subject: Subject, counts: TokenCounts = COUNTS, *, paints_words: bool = True, has_name: bool = True, style: str = ""
) -> Asked:
    text = ", ".join(filter(None, (subject.visual_prompt or f"{subject.name}: {subject.description}", style)))
    prompt = Prompt("west", "dust", subject.name, subject.slug, "landscape", text, "", 1, counts, ())
    return Asked(subject, prompt, paints_words, has_name)


def drawn(text: str) -> Subject:
    """A subject with a visual prompt, which has no name in its prompt."""
    return Subject("Old Mill", "old_mill", visual_prompt=text)


def found(check: CheckName, of: Asked) -> list[str]:
    others: list[CheckName] = [name for name in PROMPT_CHECKS if name != check]
    return [word for one in check_prompt(of, others) for word in one.words]


WORDS: dict[CheckName, list[tuple[str, list[str]]]] = {
    "unwritten": [
        ("a mill, TODO: which wood?", ["TODO"]),
        ("a mill ??? at noon", ["???"]),
        ("a mill by {river} on <name of hill>", ["{river}", "<name of hill>"]),
        ("[insert a time of day], a mill", ["[insert a time of day]"]),
        ("lorem ipsum dolor", ["lorem ipsum"]),
        ("a mill? at noon", []),
        ("the todo list of a miller", []),
        ("a [red] mill, (wide shot:1.2)", []),
        ("XXXL boots on a fence", []),
    ],
    "dates": [
        ("a mill built in 1887", ["built in 1887"]),
        ("a street in 1920s style", ["1920s"]),
        ("a 1950s diner", ["1950s"]),
        ("harbour, est. 1742", ["est. 1742"]),
        ("a fair on the 4th July", ["4th July"]),
        ("a fair, March 12, 1931", ["March 12, 1931"]),
        ("the ruins of 300 BC", ["300 BC"]),
        ("a log from 1887-05-01", ["1887-05-01"]),
        ("1200 sheep on a hill", []),
        ("an army of 2000", ["of 2000"]),
        ("a 1920 px wide view", []),
        ("soldiers march 12 abreast", ["march 12"]),
        ("a mill at noon in may", []),
    ],
    "quoted": [
        ('a shop with a sign "Saloon"', ["Saloon"]),
        ("a banner “Gold!” over the road", ["Gold!"]),
        ("a sign that reads Closed, by a door", ["sign that reads Closed"]),
        ("the miller's mill", []),
        ("the letters of a dead man", []),
    ],
    "negations": [
        ("an empty street, no people", ["no people"]),
        ("a tower without a roof", ["without a roof"]),
        ("a plain with not a single tree", ["not a single tree"]),
        ("a road with no cars or trucks", ["no cars or trucks"]),
        ("neither smoke nor fire", ["neither smoke", "nor fire"]),
        ("a mill that is no longer used", []),
        ("the only roof that nobody owns", []),
        ("a wagon that never came back", []),
        ("not far from the river", []),
        ("a knot in the wood, notched beams, norwegian huts", []),
        ("north of nowhere", []),
        ("no letters, no visible text, without a frame", []),
        ("a wall without letters or doors", []),
    ],
    "scenes": [
        ("a mill at dawn, meanwhile the town burns", ["meanwhile"]),
        ("the square before and after the flood", ["before and after"]),
        ("a diptych of two saints", ["diptych"]),
        ("a ship leaves; years later it rots", ["years later"]),
        ("elsewhere on the hill", []),
    ],
    "times": [
        ("a street at noon and the same street at night", ["noon and at night"]),
        ("a mill at dusk under the first stars", []),
        ("moonlight at midnight", []),
        ("a knight by the night market at noon", []),
        ("the morning glory of a garden", []),
    ],
}


@pytest.mark.parametrize(
    ("check", "text", "words"), [(check, *case) for check, cases in WORDS.items() for case in cases]
)
def test_a_check_finds_what_a_model_would_paint(check: CheckName, text: str, words: list[str]) -> None:
    told = [word.strip('"“”') for word in found(check, asked(drawn(text)))]
    assert told == words


def test_a_name_is_noted_where_it_goes_into_the_prompt() -> None:
    described = Subject("Old Mill", "old_mill", description="a mill at noon")
    assert found("names", asked(described)) == ["Old Mill"]
    assert not found("names", asked(described, has_name=False))
    assert not found("names", asked(described, paints_words=False))
    assert not found("names", asked(drawn("a mill at noon")))


@pytest.mark.parametrize("check", ["dates", "quoted"])
def test_a_base_model_that_paints_no_words_needs_no_look_at_them(check: CheckName) -> None:
    text = 'a shop built in 1887 with a sign "Saloon"'
    assert found(check, asked(drawn(text)))
    assert not found(check, asked(drawn(text), paints_words=False))


def test_the_style_s_own_words_are_not_the_entry_s() -> None:
    """People write `no letters` there, and rely on it; a placeholder is one wherever it stands."""
    suffixed = asked(drawn("a mill"), style="no letters, no watermark, built in 1900, TODO")
    assert {one.check for one in check_prompt(suffixed, ())} == {"unwritten"}


def test_what_encoders_do_not_read_is_noted() -> None:
    counts = TokenCounts("T5", 90, 512, 90, 77, broken=("🐎", "Łódź"))
    assert found("bytes", asked(drawn("a 🐎 in Łódź"), counts)) == ["🐎", "Łódź"]
    assert found("clip", asked(drawn("a mill"), counts)) == ["77 of 90 tokens"]
    assert not found("clip", asked(drawn("a mill")))


@pytest.mark.parametrize("check", PROMPT_CHECKS)
def test_each_check_can_be_left_out_and_says_why_it_is_made(check: CheckName) -> None:
    text = 'TODO: a shop without a door, built in 1887, meanwhile a sign "Saloon" at noon and at night'
    everything = asked(Subject("Shop", "shop", description=text), TokenCounts("T5", 90, 512, 90, 77, broken=("🐎",)))
    assert check in {one.check for one in check_prompt(everything, ())}
    assert check not in {one.check for one in check_prompt(everything, (check,))}
    assert PROMPT_CHECKS[check].reason
    assert PROMPT_CHECKS[check].hint


LONG: list[Callable[[], str]] = [
    lambda: "no " * 50_000,
    lambda: '"' * 50_000,
    lambda: "built in " * 20_000,
    lambda: "sign that reads " * 20_000,
    lambda: "<a " * 30_000,
    lambda: "[insert " * 20_000,
    lambda: "not a single " * 20_000,
]


@pytest.mark.parametrize("make", LONG)
def test_a_long_text_takes_no_long_time(make: Callable[[], str]) -> None:
    """A pattern that goes back over all it read, once for each place, would take minutes here."""
    check_prompt(asked(drawn(make())), ())
