"""The generated parts of the documentation are up to date, and whoever adds a key must say what it means."""

import pytest
from pydantic import BaseModel

from sq_pipeline_tests.docs import blocks, facts, generate, pack_keys
from sq_pipeline_tests.docs.blocks import block_names, fill, pages
from sq_pipeline_tests.docs.model_keys import model_table


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(blocks.DOCS).as_posix())
def test_a_page_is_up_to_date(page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")  # whatever the terminal is
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = page.read_text(encoding="utf-8")
    filled = fill(text, {name: generate.BLOCKS[name]() for name in block_names(text)})
    assert filled == text, "run `just docs`, or `uv run python -m sq_pipeline_tests.docs.generate`"


def test_every_generated_part_is_in_one_page() -> None:
    names = [name for page in pages() for name in block_names(page.read_text(encoding="utf-8"))]
    assert sorted(names) == sorted(generate.BLOCKS)


def test_a_stale_part_is_noticed() -> None:
    text = "before\n<!-- generated: a -->\n\nold\n\n<!-- end of generated -->\nafter\n"
    assert fill(text, {"a": "new\n"}) == text.replace("old", "new")
    with pytest.raises(KeyError):
        fill(text, {"b": "new\n"})


def test_a_mark_that_stands_alone_is_an_error() -> None:
    with pytest.raises(ValueError, match="no other one"):
        block_names("<!-- generated: a -->\n\nold\n")


class _Inner(BaseModel):
    side: int = 4
    """A side."""


class _Known(BaseModel):
    share: float
    """A share,
    in two lines."""
    inner: _Inner = _Inner(side=7)
    """Both."""
    by_name: dict[str, _Inner] = {}
    """Many."""


class _Untold(BaseModel):
    extra: int = 1


def test_a_models_table_has_every_key_with_its_default_and_text() -> None:
    assert model_table(_Known).splitlines()[2:] == [
        "| `share` | a number | required | A share, in two lines. |",
        "| `inner` | a mapping |  | Both. |",
        "| `inner.side` | a whole number | `7` | A side. |",
        "| `by_name` | a mapping |  | Many. |",
        "| `by_name.….side` | a whole number | `4` | A side. |",
    ]


def test_a_field_without_a_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="_Untold: no text under extra"):
        model_table(_Untold)


def test_an_inherited_key_of_a_pack_is_in_its_table() -> None:
    rows = [line.split(" | ")[0] for line in pack_keys.subject_tables().splitlines()]
    assert rows.count("| `visual_prompt.solo`") == 5
    assert "| `poi_style` | a text |  | " in pack_keys.style_table()


def test_an_error_code_without_a_line_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "_ERRORS", {code: text for code, text in facts._ERRORS.items() if code != "internal"})
    with pytest.raises(ValueError, match="differ: internal"):
        facts.error_table()
