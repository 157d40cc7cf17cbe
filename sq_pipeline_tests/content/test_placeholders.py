"""What is no prompt yet, and what only looks so."""

import pytest

from sq_pipeline.content.placeholders import is_placeholder


@pytest.mark.parametrize(
    "text",
    [
        "TODO",
        "TODO (art): author solo visual_prompt for lamp_yard",
        "TBD: ask the artist",
        "  tbd",
        "todo: later",
        "[TODO]",
        "FIXME",
        "<placeholder>",
        "Lorem ipsum dolor",
        "...",
        "…",
        "???",
        "-",
    ],
)
def test_placeholders(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a mill",
        "todos los santos at night",
        "a list of things to do",
        "TK-421 at his post",
        "2",
        "Ü",
        "龙门",
        "🌵",
        "to do what he must",
    ],
)
def test_words(text: str) -> None:
    assert not is_placeholder(text)
