"""Names of any kind as keys and file names: as they were where they could be, and no two alike."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sq_pipeline.common.names import key_parts, make_slug

_KEPT = {
    "Rusty Cog": "rusty_cog",
    "The  Old -- Mill!": "the_old_mill",
    "O'Hara's": "oharas",
    "Café Müller": "cafe_muller",
    "Straße 7": "strasse_7",
    "already_a_slug": "already_a_slug",
    "../../etc/passwd": "etc_passwd",
    "1920": "1920",
    "Łódź Mill": "odz_mill",
    "ﬁeld": "field",
}
_READ = {
    "Мельница": "melnitsa",
    "Кузница 5": "kuznitsa_5",
    "Дом A": "dom_a",
    "Αθήνα": "athina",
    "Երևան": "erevan",
}
_WITH_TAIL = {
    "龙门客栈": "longmenkezhan",
    "מגדל": "mgdl",
    "हिन्दी गाँव": "hindi",
    "🌵": "place",
    "!!!": "place",
    "Very Long " * 30: "very_long_very_long",
    "x" * 5000: "x" * 100,
}


@pytest.mark.parametrize(("name", "slug"), [*_KEPT.items(), *_READ.items(), ("", ""), (" \n", "")])
def test_slugs(name: str, slug: str) -> None:
    assert make_slug(name) == slug


@pytest.mark.parametrize(("name", "start"), _WITH_TAIL.items())
def test_a_name_that_cannot_be_told_from_others_by_its_letters_has_a_tail(name: str, start: str) -> None:
    assert re.fullmatch(rf"{start}[a-z0-9_]*_[0-9a-f]{{8}}", make_slug(name))


def test_long_names_with_one_start_and_names_that_sound_alike_differ() -> None:
    names = [f"{'Very Long ' * 30}{end}" for end in ("East", "West")] + ["石门", "市门", "🌵", "🏜️"]
    assert len({make_slug(name) for name in names}) == len(names)


def test_a_subject_is_called_by_what_it_is_where_nothing_can_be_read() -> None:
    assert make_slug("🌵", "creature").startswith("creature_")


@given(st.text(max_size=200))
def test_any_name_has_one_slug_that_is_a_file_name(name: str) -> None:
    slug = make_slug(name)
    assert bool(slug) == bool(name.strip())
    assert re.fullmatch(r"[a-z0-9_]{0,110}", slug)
    assert not slug.startswith("_")
    assert make_slug(slug) == slug
    assert slug == make_slug(unicodedata.normalize("NFC", name)) == make_slug(unicodedata.normalize("NFD", name))


@given(
    st.sets(st.text(min_size=1, max_size=80) | st.sampled_from(["alpha", "Alpha", "alpha copy", "a_b", "A_B", "a b"]))
)
def test_any_names_have_keys_of_their_own(names: set[str]) -> None:
    parts = key_parts(names)
    assert set(parts) == names
    assert len({part.casefold() for part in parts.values()}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_]{1,60}", part) for part in parts.values())


@pytest.mark.parametrize("name", ["west", "spaghetti_western", "Alpha", "con", "v2", "x" * 60])
def test_a_name_that_is_a_key_stays_as_it_is(name: str) -> None:
    assert key_parts([name, "other"])[name] == name


@pytest.mark.parametrize("names", [("a__worlds__b", "a_worlds_b"), ("x_deadbeef", "x"), ("x" * 200, "x" * 199)])
def test_names_that_could_be_taken_for_others_have_a_tail(names: tuple[str, str]) -> None:
    """Dagster joins the parts of a key with two underscores."""
    assert re.search(r"[^_]_[0-9a-f]{8}$", key_parts(names)[names[0]])


def test_of_two_names_that_differ_in_case_one_keeps_its_key() -> None:
    parts = key_parts(["Alpha", "alpha"])
    assert parts["alpha"] == "alpha"
    assert parts["Alpha"].startswith("alpha_")
