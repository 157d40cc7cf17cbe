"""The models of a pack's files as a whole: every key told of, and a key that is new and off changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import pytest
from pydantic import BaseModel, Field

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import TIER_NAMES, Tier
from sq_pipeline.content import style_file
from sq_pipeline.content.pack_parts import PackFile, PackPart
from sq_pipeline.content.packs import read_catalog, said_by
from sq_pipeline.content.records import Subject
from sq_pipeline.content.style_file import GenreStyle, StyleFile, WorldStyle
from sq_pipeline.content.subject_files import SUBJECT_FILES, Place, SubjectFile, SubjectForm
from sq_pipeline_tests.content.pack_writing import (
    GENRE_HISTORY,
    GENRE_STYLE,
    ONE_ENTRY,
    catalog_of,
    history_of,
    write,
)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for info in annotation.model_fields.values():
            yield from models_in(info.annotation)
    for inner in get_args(annotation):
        yield from models_in(inner)


FILES = {"genre": GenreStyle, "world": WorldStyle, **{tier: form.model for tier, form in SUBJECT_FILES.items()}}


@pytest.mark.parametrize("file", FILES)
def test_every_key_is_told_of(file: str):
    untold = [
        (model.__name__, key)
        for model in models_in(FILES[file])
        for key, info in model.model_fields.items()
        if not info.description
    ]
    assert untold == []


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        (
            "genre",
            {"positive_suffix", "loras", "lora", "name", "applies_to", *(n.style_key for n in TIER_NAMES.values())},
        ),
        ("world", {"base_seed", "exclude", "add", "trigger", *(n.style_key for n in TIER_NAMES.values())}),
        ("landscape", {"chapters", "points_of_interest", "name", "visual_prompt", "solo", "region", "type"}),
        ("portrait", {"characters", "id", "appearance", "culture", "culture_aesthetic", "solo"}),
        ("creature", {"creatures", "id", "appearance"}),
        ("scene", {"scenes", "id", "description"}),
    ],
)
def test_keys_are_found_by_walking_the_models(file: str, keys: set[str]):
    assert keys <= {key for model in models_in(FILES[file]) for key in model.model_fields}


class LaterStyle(GenreStyle):
    """A genre's style of a version to come."""

    film_grain: str = Field(default="", description="New, and off.")


class LaterPlace(Place):
    """A place of a version to come."""

    mood: str = Field(default="", description="New, and off.")


class LaterChapter(PackPart):
    """A chapter with such places."""

    points_of_interest: list[LaterPlace] = Field(default=[], description="Its places.")


class LaterHistory(PackPart):
    """A history with such places."""

    chapters: list[LaterChapter] = Field(default=[], description="Its chapters.")


@dataclass(frozen=True)
class LaterSubject(Subject):
    """What becomes of it."""

    mood: str = ""


@dataclass
class LaterStyleFile(StyleFile):
    """What a style file says to a version to come."""

    film_grain: str = ""
    grain_sizes: list[int] = field(default_factory=list[int])


@dataclass
class LaterSubjectFile(PackFile):
    """What a history says to a version to come."""

    subjects: list[LaterSubject] = field(default_factory=list[LaterSubject])


LATER_HISTORY = SubjectForm("history.yaml", LaterHistory)


def test_a_new_key_that_is_off_changes_no_hash():
    said = {"fields": {"base_seed": 7}, "tag_overrides": {"ruin": "ivy"}, "has_loras": True}
    assert said_by(LaterStyleFile(GENRE_STYLE, **said)) == said_by(StyleFile(GENRE_STYLE, **said))
    assert said_by(LaterStyleFile(GENRE_STYLE, **said, film_grain="much")) != said_by(StyleFile(GENRE_STYLE, **said))
    now = SubjectFile(GENRE_HISTORY, subjects=[Subject("Mill", "mill", "Old", region="north")])
    later = LaterSubjectFile(GENRE_HISTORY, subjects=[LaterSubject("Mill", "mill", "Old", region="north")])
    assert said_by(later) == said_by(now)
    later.subjects = [LaterSubject("Mill", "mill", "Old", region="north", mood="calm")]
    assert said_by(later) != said_by(now)


@pytest.mark.parametrize(
    "said", ["positive_suffix: ''", "base_seed: 0", "poi_style: ''", "visual_tag_overrides: {a: ''}"]
)
def test_a_default_that_is_written_is_not_nothing(data: DataDir, said: str):
    """A world that says so takes its genre's word away."""
    files = {
        "content/genre_packs/western/visual_style.yaml": "positive_suffix: dust",
        "content/genre_packs/western/worlds/dust/history.yaml": history_of("{name: Mill, description: Old}"),
    }
    before = catalog_of(data, files).worlds["western/dust"]
    world = catalog_of(data, {"content/genre_packs/western/worlds/dust/visual_style.yaml": said}).worlds["western/dust"]
    assert world.source != before.source


@pytest.mark.parametrize(("style_key", "place_key"), [("", ""), ("film_grain:\n", ", mood: ")])
def test_a_new_key_that_is_off_or_empty_changes_no_world(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, style_key: str, place_key: str
):
    def written(style_key: str = "", place_key: str = "") -> dict[str, str]:
        place = f"{{name: Mill, description: Old{place_key}}}"
        return {GENRE_STYLE: f"base_seed: 7\n{style_key}{ONE_ENTRY.lstrip()}", GENRE_HISTORY: history_of(place)}

    before = catalog_of(data, written()).worlds["western/default"]
    monkeypatch.setattr(style_file, "GenreStyle", LaterStyle)
    monkeypatch.setitem(cast(dict[Tier, SubjectForm], SUBJECT_FILES), "landscape", LATER_HISTORY)
    for file, text in written(style_key, place_key).items():
        write(data, file, text)
    after = read_catalog(data).worlds["western/default"]
    assert (after, after.source) == (before, before.source)
