"""The template of pictures' paths: what it may say, and that it never leads anywhere else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.picture_paths import DEFAULT_TEMPLATE, PicturePaths, why_wrong

_DATA = DataDir(Path("/game"))
_GENRE = "/game/content/genre_packs/west"


@pytest.mark.parametrize(
    ("template", "path"),
    [
        (DEFAULT_TEMPLATE, "images/creature/rat.png"),
        ("worlds/{world}/assets/{kind}/{slug}.png", "worlds/old {mine}/assets/creature/rat.png"),
        ("{slug}.png", "rat.png"),
        ("art/{world}-{kind}-{slug}.png", "art/old {mine}-creature-rat.png"),
    ],
)
def test_a_template_is_filled_in(template: str, path: str) -> None:
    assert why_wrong(template) is None
    paths = PicturePaths(template)
    assert paths.path(_DATA, "west", "old {mine}", "creature", "rat").as_posix() == f"{_GENRE}/{path}"
    key = paths.key("old {mine}", "creature", "rat")
    for other in (paths, PicturePaths()):
        assert other.path_of_key(_DATA, "west", key).as_posix() == f"{_GENRE}/{path}"


def test_the_default_remembers_pictures_as_it_always_did() -> None:
    assert [PicturePaths().key("old", tier, "rat") for tier in ("landscape", "creature")] == ["rat", "creature/rat"]


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("images/{kind}/mill.png", "lacks {slug}"),
        ("../{slug}.png", "no plain path"),
        ("a/../../{slug}.png", "no plain path"),
        ("/srv/{slug}.png", "no plain path"),
        ("a//{slug}.png", "no plain path"),
        ("./{slug}.png", "no plain path"),
        ("C:{slug}.png", "no plain path"),
        ("a\\{slug}.png", "no plain path"),
        ("a\n{slug}.png", "no plain path"),
        ("{slug}.jpg", "does not name a picture"),
        ("{slug}", "does not name a picture"),
        ("{slug}/picture.png", "does not name a picture"),
        ("{slug}.png/", "no plain path"),
        ("images/archive/{slug}.png", "removed pictures"),
        ("{genre}/{slug}.png", "holds {genre}"),
        ("{}/{slug}.png", "holds {}"),
        ("{0}/{slug}.png", "holds {0}"),
        ("{slug.real}.png", "holds {slug.real}"),
        ("{slug!r}.png", "formats"),
        ("{slug:>900000000}.png", "formats"),
        ("{slug.png", "expected '}'"),
        ("", "lacks {slug}"),
    ],
)
def test_a_template_that_does_not_do_says_why(template: str, told: str) -> None:
    found = why_wrong(template)
    assert found is not None
    assert told in found[0]
    assert found[1]


@given(
    st.text(alphabet=st.sampled_from("{}/.abslugworldkind:!\\ "), max_size=40).map(lambda text: f"{text}{{slug}}.png")
)
def test_whatever_a_template_says_it_stays_in_the_genre(template: str) -> None:
    if why_wrong(template) is None:
        path = PicturePaths(template).path(_DATA, "west", "old", "scene", "duel")
        assert path.is_relative_to(_GENRE)
        assert ".." not in path.parts
        assert path.suffix == ".png"
