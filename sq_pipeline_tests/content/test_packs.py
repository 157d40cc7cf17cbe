"""What concerns several files: overlays, levels, neighbours, choosing. Not here: one file (`test_style_file`,
`test_subject_files`), the other tiers (`test_packs_tiers`)."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.common.errors import SelectionError
from sq_pipeline.common.layout import DataDir, shipped_data_root
from sq_pipeline.common.picture_paths import PicturePaths
from sq_pipeline.common.tiers import TIERS
from sq_pipeline.content.packs import read_catalog
from sq_pipeline.content.records import Adapter, Catalog, LoraEntry, Subject, World
from sq_pipeline.content.stacks import stack_for
from sq_pipeline.settings import load_settings
from sq_pipeline_tests.content.pack_writing import (
    GENRE_HISTORY,
    GENRE_STYLE,
    ONE_ENTRY,
    WORLD_HISTORY,
    WORLD_STYLE,
    catalog_of,
    history_of,
)

DEFAULT_STYLE = "content/genre_packs/western/worlds/default/visual_style.yaml"
DEFAULT_HISTORY = "content/genre_packs/western/worlds/default/history.yaml"
OTHER_STYLE = "content/genre_packs/western/worlds/gold/visual_style.yaml"
OTHER_HISTORY = "content/genre_packs/western/worlds/gold/history.yaml"


def only_world(catalog: Catalog) -> World:
    assert catalog.faults == {}
    (world,) = catalog.worlds.values()
    return world


# worlds and levels


@pytest.mark.parametrize(
    ("files", "keys"),
    [
        ({}, []),
        ({GENRE_STYLE: ""}, ["western/default"]),
        ({GENRE_STYLE: ONE_ENTRY, WORLD_STYLE: ""}, ["western/dust"]),
        ({WORLD_HISTORY: history_of("{name: Mill, description: Old}")}, ["western/dust"]),
        ({GENRE_HISTORY: history_of("{name: Mill, description: Old}")}, ["western/default"]),
        ({GENRE_HISTORY: "chapters: []", WORLD_STYLE: ""}, ["western/dust"]),
        (
            {GENRE_HISTORY: history_of("{name: Mill, description: Old}"), WORLD_STYLE: "", OTHER_STYLE: ""},
            ["western/default", "western/dust", "western/gold"],
        ),
        (
            {"content/genre_packs/tides/worlds/deep/history.yaml": "", WORLD_HISTORY: ""},
            ["tides/deep", "western/dust"],
        ),
        ({"content/genre_packs/.git/visual_style.yaml": "", "content/genre_packs/notes.txt": ""}, []),
    ],
)
def test_which_worlds_there_are(data: DataDir, files: dict[str, str], keys: list[str]):
    catalog = catalog_of(data, files)
    assert list(catalog.worlds) == keys
    assert catalog.faults == {}
    assert [world.key for world in catalog.worlds.values()] == keys


def test_no_packs_folder_is_an_empty_catalog(data: DataDir):
    assert read_catalog(data) == Catalog({}, {}, {})


def test_a_genre_s_history_belongs_to_default_and_the_world_s_place_wins(data: DataDir):
    catalog = catalog_of(
        data,
        {
            GENRE_HISTORY: history_of("{name: Mill, description: The genre's.}", "{name: Inn, description: Full.}"),
            DEFAULT_HISTORY: history_of("{name: Well, description: Dry.}", "{name: Mill, description: The world's.}"),
            WORLD_HISTORY: history_of("{name: Saloon, description: Loud.}"),
        },
    )
    assert catalog.faults == {}
    assert catalog.worlds["western/default"].pois == (
        Subject("Well", "well", "Dry."),
        Subject("Mill", "mill", "The world's."),
        Subject("Inn", "inn", "Full."),
    )
    assert catalog.worlds["western/dust"].pois == (Subject("Saloon", "saloon", "Loud."),)


def test_a_genre_without_places_and_a_world_without_a_style(data: DataDir):
    catalog = catalog_of(data, {GENRE_STYLE: ONE_ENTRY, WORLD_HISTORY: history_of("{name: Mill, description: Old}")})
    world = only_world(catalog)
    assert world.entries == (
        LoraEntry("base", "western/landscape.safetensors", 0.8, ("landscape", "scene"), "western_style"),
    )
    assert catalog.warnings == ()


# overlays


_FULL_STYLE = """
positive_suffix: the genre's suffix
negative_prompt: the genre's negative
base_seed: 7
preferred_model: dev
poi_style: the genre's landscape
portrait_style: the genre's portrait
visual_tag_overrides: {sacred: the genre's, town: wood}
"""


@pytest.mark.parametrize(
    ("world_text", "changed"),
    [
        ("", {}),
        ("positive_suffix:", {}),
        ("positive_suffix: mine", {"positive_suffix": "mine"}),
        ("positive_suffix: ''", {"positive_suffix": ""}),
        ("negative_prompt: mine", {"negative_prompt": "mine"}),
        ("base_seed: 0", {"base_seed": 0}),
        ("preferred_model: schnell", {"preferred_model": "schnell"}),
        ("preferred_model: flux1-dev-8bit", {"preferred_model": "flux1-dev-8bit"}),
        ("poi_style: mine", {"tier_suffixes": {"landscape": "mine", "portrait": "the genre's portrait"}}),
        ("portrait_style: mine", {"tier_suffixes": {"landscape": "the genre's landscape", "portrait": "mine"}}),
        (
            "visual_tag_overrides: {sacred: mine, mine: dark}",
            {"tag_overrides": {"sacred": "mine", "town": "wood", "mine": "dark"}},
        ),
    ],
)
def test_a_world_overlays_its_genre_field_by_field(data: DataDir, world_text: str, changed: dict[str, Any]):
    style = only_world(catalog_of(data, {GENRE_STYLE: _FULL_STYLE, WORLD_STYLE: world_text})).style
    expected = {
        "positive_suffix": "the genre's suffix",
        "negative_prompt": "the genre's negative",
        "base_seed": 7,
        "preferred_model": "dev",
        "tier_suffixes": {"landscape": "the genre's landscape", "portrait": "the genre's portrait"},
        "tag_overrides": {"sacred": "the genre's", "town": "wood"},
        **changed,
    }
    assert {name: getattr(style, name) for name in expected} == expected


_GENRE_STACK = """
loras:
  - {name: first, file: western/first.safetensors, scale: 0.5, applies_to: [landscape, scene]}
  - {name: second, file: western/second.safetensors, scale: 0.6, applies_to: [portrait]}
  - {name: third, file: western/third.safetensors, scale: 0.7, applies_to: [landscape]}
"""


@pytest.mark.parametrize(
    ("world_text", "stacks"),
    [
        ("", {"landscape": ["first", "third"], "portrait": ["second"], "scene": ["first"], "creature": []}),
        ("loras:", {"landscape": ["first", "third"], "portrait": ["second"], "scene": ["first"]}),
        ("loras: {exclude: [first]}", {"landscape": ["third"], "portrait": ["second"], "scene": []}),
        ("loras: {exclude: [first, second, third]}", {"landscape": [], "portrait": [], "scene": []}),
        (
            "loras: {add: [{name: own, file: w/x.safetensors, scale: 1, applies_to: [landscape, creature]}]}",
            {"landscape": ["first", "third", "own"], "creature": ["own"], "portrait": ["second"]},
        ),
        (
            "loras: {exclude: [third], add: [{name: own, file: w/x.safetensors, scale: 1, applies_to: [landscape]}]}",
            {"landscape": ["first", "own"], "scene": ["first"]},
        ),
    ],
)
def test_a_stack_is_the_genre_s_minus_exclude_plus_add(data: DataDir, world_text: str, stacks: dict[str, list[str]]):
    world = only_world(catalog_of(data, {GENRE_STYLE: _GENRE_STACK, WORLD_STYLE: world_text}))
    assert {tier: [entry.name for entry in stack_for(world, tier)] for tier in stacks} == stacks


_OWN = "{name: %s, file: western/dust/x.safetensors, scale: 1, applies_to: [landscape]}"


@pytest.mark.parametrize(
    ("world_text", "field", "part"),
    [
        ("loras: {exclude: [frist]}", "loras.exclude[0]", "'frist' names no adapter of the genre"),
        ("loras: {exclude: [first, base]}", "loras.exclude[1]", "'base' names no adapter"),
        (f"loras: {{add: [{_OWN % 'first'}]}}", "loras.add[0].name", "'first' is inherited"),
        (f"loras: {{exclude: [first], add: [{_OWN % 'first'}]}}", "loras.add[0].name", "'first' is inherited"),
        (f"loras: {{add: [{_OWN % 'own'}, {_OWN % 'own'}]}}", "loras.add[1].name", "the name of loras.add[0] too"),
    ],
)
def test_a_world_s_loras_must_fit_its_genre_s(data: DataDir, world_text: str, field: str, part: str):
    catalog = catalog_of(data, {GENRE_STYLE: _GENRE_STACK, WORLD_STYLE: world_text})
    assert stopped(catalog) == ["western/dust"]
    (fault,) = catalog.faults["western/dust"]
    assert (fault.file, fault.field) == (WORLD_STYLE, field)
    assert part in fault.problem
    assert fault.hint


def test_faults_keep_their_places_beside_broken_neighbours(data: DataDir):
    """An entry that cannot be read must not shift the others' numbers, nor hide what is wrong with its name."""
    world = f"loras: {{exclude: [5, nobody], add: [{{name: own}}, {_OWN % 'first'}, {{name: second}}]}}"
    faults = catalog_of(data, {GENRE_STYLE: _GENRE_STACK, WORLD_STYLE: world}).faults["western/dust"]
    named = {(fault.field, fault.problem.split(";")[0]) for fault in faults}
    assert ("loras.exclude[1]", "'nobody' names no adapter of the genre") in named
    assert ("loras.add[1].name", "'first' is inherited from the genre already") in named
    assert ("loras.add[2].name", "'second' is inherited from the genre already") in named
    assert {field for field, _ in named} == {
        "loras.exclude[0]",
        "loras.exclude[1]",
        *(f"loras.add[0].{key}" for key in ("file", "scale", "applies_to")),
        "loras.add[1].name",
        *(f"loras.add[2].{key}" for key in ("name", "file", "scale", "applies_to")),
    }


def test_excluding_a_genre_s_broken_entry_is_no_second_fault(data: DataDir):
    genre = "loras: [{name: first, file: western/first.safetensors, applies_to: [landscape]}]"
    catalog = catalog_of(data, {GENRE_STYLE: genre, WORLD_STYLE: "loras: {exclude: [first]}"})
    assert [(fault.file, fault.field) for fault in catalog.faults["western/dust"]] == [(GENRE_STYLE, "loras[0].scale")]


_LEGACY = "lora: western/old.safetensors\nlora_scale: 0.7\nlora_trigger: dusty\n"


@pytest.mark.parametrize(
    ("genre_text", "world_text", "entries"),
    [
        (_LEGACY, "", [LoraEntry("western_old", "western/old.safetensors", 0.7, TIERS, "dusty")]),
        ("", _LEGACY, [LoraEntry("western_old", "western/old.safetensors", 0.7, TIERS, "dusty")]),
        (_LEGACY, "lora_scale: 0.4", [LoraEntry("western_old", "western/old.safetensors", 0.4, TIERS, "dusty")]),
        (
            _LEGACY,
            "lora: western/new.safetensors\nlora_trigger: shiny",
            [LoraEntry("western_new", "western/new.safetensors", 0.7, TIERS, "shiny")],
        ),
        (_LEGACY, "loras: {exclude: [western_old]}", []),
        (
            _LEGACY,
            f"loras: {{add: [{_OWN % 'own'}]}}",
            [
                LoraEntry("western_old", "western/old.safetensors", 0.7, TIERS, "dusty"),
                LoraEntry("own", "western/dust/x.safetensors", 1.0, ("landscape",)),
            ],
        ),
    ],
)
def test_legacy_keys_of_both_levels_make_one_entry(
    data: DataDir, genre_text: str, world_text: str, entries: list[LoraEntry]
):
    assert list(only_world(catalog_of(data, {GENRE_STYLE: genre_text, WORLD_STYLE: world_text})).entries) == entries


def test_legacy_keys_of_a_world_beside_the_genre_s_loras_are_an_error(data: DataDir):
    catalog = catalog_of(data, {GENRE_STYLE: ONE_ENTRY, WORLD_STYLE: _LEGACY, OTHER_STYLE: ""})
    assert [fault.field for fault in catalog.faults["western/dust"]] == ["lora", "lora_scale", "lora_trigger"]
    assert set(catalog.faults) == set(stopped(catalog)) == {"western/dust"}


# neighbours


def stopped(catalog: Catalog) -> list[str]:
    """The worlds of which nothing can be made."""
    return [key for key, world in catalog.worlds.items() if set(world.tiers) <= world.faulty_tiers.keys()]


def test_two_worlds_of_a_genre_cannot_share_a_slug(data: DataDir):
    catalog = catalog_of(
        data,
        {
            WORLD_HISTORY: history_of("{name: Old Mill, description: a}"),
            OTHER_HISTORY: history_of("{name: Inn, description: c}", "{name: Old-Mill, description: b}"),
            "content/genre_packs/tides/worlds/gold/history.yaml": history_of("{name: Old Mill, description: d}"),
        },
    )
    assert [poi.slug for world in catalog.worlds.values() for poi in world.pois] == ["old_mill", "old_mill", "inn"]
    assert list(catalog.worlds) == ["tides/gold", "western/dust", "western/gold"]
    assert stopped(catalog) == []
    (fault,) = catalog.faults["western/gold"]
    assert (fault.file, fault.field) == (OTHER_HISTORY, "chapters[0].points_of_interest[1]")
    assert "images/poi/old_mill.png" in fault.problem
    assert f"'dust' has ({WORLD_HISTORY}: chapters[0].points_of_interest[0])" in fault.problem
    assert "slug:" in fault.hint
    assert "picture_path:" in fault.hint


def test_a_picture_path_with_the_world_in_it_mends_the_clash_too(data: DataDir):
    files = {
        WORLD_HISTORY: history_of("{name: Mill, description: a}"),
        OTHER_HISTORY: history_of("{name: Mill, description: b}"),
    }
    catalog_of(data, files)
    catalog = read_catalog(data, paths=PicturePaths("worlds/{world}/{kind}/{slug}.png"))
    assert catalog.faults == {}
    assert [poi.slug for world in catalog.worlds.values() for poi in world.pois] == ["mill", "mill"]


def test_without_its_kind_in_the_path_a_person_and_a_place_clash(data: DataDir):
    people = WORLD_HISTORY.replace("history", "portrait_manifest")
    catalog_of(
        data,
        {WORLD_HISTORY: history_of("{name: Ada, description: a}"), people: "characters: [{name: Ada, appearance: b}]"},
    )
    catalog = read_catalog(data, paths=PicturePaths("art/{slug}.png"))
    assert [fault.file for fault in catalog.faults["western/dust"]] == [people]
    assert list(catalog.worlds["western/dust"].subjects) == ["landscape"]


_MILL, _INN = "{name: Mill, description: Old}", "{name: Inn, description: Full}"


@pytest.mark.parametrize(
    ("genre", "shown", "faults"),
    [
        ([_MILL], {"western/dust": ["mill"]}, 0),
        ([_MILL, _INN], {"western/dust": ["mill"], "western/default": ["inn"]}, 0),
        (["{name: Mill, description: New}"], {"western/dust": ["mill"]}, 1),
        (["{name: Mill, description: New}", _INN], {"western/dust": ["mill"], "western/default": ["inn"]}, 1),
    ],
)
def test_what_a_genre_s_history_and_a_world_s_say_alike_is_the_world_s(
    data: DataDir, genre: list[str], shown: dict[str, list[str]], faults: int
):
    """Whichever name is first in the alphabet."""
    for world in ("dust", "alpha", "zeta"):
        root = DataDir(data.root / world)
        history = WORLD_HISTORY.replace("dust", world)
        catalog = catalog_of(root, {GENRE_HISTORY: history_of(*genre), history: history_of(_MILL)})
        found = {key: [poi.slug for poi in item.pois] for key, item in catalog.worlds.items() if item.pois}
        assert found == {key.replace("dust", world): slugs for key, slugs in shown.items()}
        told = [fault for group in catalog.faults.values() for fault in group]
        assert [fault.file for fault in told] == [GENRE_HISTORY] * faults
        assert all(history in fault.problem for fault in told)


def test_a_slug_of_its_own_mends_the_clash(data: DataDir):
    files = {
        WORLD_HISTORY: history_of("{name: Old Mill, description: a}"),
        OTHER_HISTORY: history_of("{name: Old Mill, slug: gold_mill, description: b}"),
    }
    assert list(catalog_of(data, files).worlds) == ["western/dust", "western/gold"]


def test_one_name_for_two_adapters_of_a_genre_is_a_fault(data: DataDir):
    other = (_OWN % "own").replace("dust/x", "gold/x")
    files = {WORLD_STYLE: f"loras: {{add: [{_OWN % 'own'}]}}", OTHER_STYLE: f"loras: {{add: [{other}]}}"}
    catalog = catalog_of(data, files)
    (fault,) = catalog.faults["western/gold"]
    assert (fault.file, fault.field) == (OTHER_STYLE, "own")
    assert catalog.adapters["western/own"].file == "western/dust/x.safetensors"


def test_worlds_may_share_one_adapter_at_their_own_scales(data: DataDir):
    files = {
        WORLD_STYLE: f"loras: {{add: [{_OWN % 'own'}]}}",
        OTHER_STYLE: f"loras: {{add: [{(_OWN % 'own').replace('scale: 1', 'scale: 0.3')}]}}",
    }
    catalog = catalog_of(data, files)
    assert catalog.faults == {}
    assert list(catalog.adapters) == ["western/own"]
    assert [world.entries[0].lora_scale for world in catalog.worlds.values()] == [1.0, 0.3]


_GOOD_NEIGHBOURS = {
    GENRE_STYLE: ONE_ENTRY,
    WORLD_HISTORY: history_of("{name: Mill, description: Old}"),
    OTHER_HISTORY: history_of("{name: Inn, description: Full}"),
    "content/genre_packs/tides/worlds/deep/history.yaml": history_of("{name: Reef, description: Blue}"),
}


@pytest.mark.parametrize(
    ("file", "text", "broken"),
    [
        (WORLD_HISTORY, "chapters: {}", ["western/dust"]),
        (WORLD_HISTORY, "chapters: [", ["western/dust"]),
        (WORLD_STYLE, "base_seed: x", ["western/dust"]),
        (WORLD_STYLE, ONE_ENTRY, ["western/dust"]),
        (GENRE_HISTORY, "chapters: {}", ["western/default"]),
        (DEFAULT_STYLE, "base_seed: x", ["western/default"]),
        (GENRE_STYLE, "base_seed: x", ["western/dust", "western/gold"]),
        (GENRE_STYLE, "- a list", ["western/dust", "western/gold"]),
        ("content/genre_packs/tides/visual_style.yaml", "a: 1\na: 2\n", ["tides/deep"]),
    ],
)
def test_a_broken_pack_leaves_its_neighbours_intact(data: DataDir, file: str, text: str, broken: list[str]):
    whole = catalog_of(data, _GOOD_NEIGHBOURS)
    catalog = catalog_of(data, {file: text})
    assert sorted(catalog.faults) == broken == stopped(catalog)
    assert all(fault.file == file for faults in catalog.faults.values() for fault in faults)
    assert {key: world for key, world in catalog.worlds.items() if key not in broken} == {
        key: world for key, world in whole.worlds.items() if key not in broken
    }


@pytest.mark.parametrize("text", ["chapters: [", "chapters: {}", "- a list", "chapters: [{points_of_interest: [7]}]"])
def test_a_file_that_cannot_be_read_shows_what_it_said_last(data: DataDir, text: str):
    before = catalog_of(data, _GOOD_NEIGHBOURS).worlds["western/dust"]
    world = catalog_of(data, {WORLD_HISTORY: text}).worlds["western/dust"]
    assert world.subjects == before.subjects
    assert world.faulty_tiers["landscape"] == world.faults
    assert [fault.file for fault in world.faults] == [WORLD_HISTORY]
    again = catalog_of(data, {WORLD_HISTORY: _GOOD_NEIGHBOURS[WORLD_HISTORY]}).worlds["western/dust"]
    assert again == before


def test_a_style_that_cannot_be_read_keeps_its_adapters(data: DataDir):
    files = {**_GOOD_NEIGHBOURS, WORLD_STYLE: f"loras: {{add: [{_OWN % 'own'}]}}"}
    before = catalog_of(data, files)
    catalog = catalog_of(data, {WORLD_STYLE: "loras: {add: ["})
    assert catalog.adapters == before.adapters
    assert catalog.worlds["western/dust"].entries == before.worlds["western/dust"].entries
    assert stopped(catalog) == ["western/dust"]


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ("{name: 1920, description: x}", "points_of_interest[0].name"),
        ("{name: Barn}", "points_of_interest[0].visual_prompt"),
        ("[1, 2]", "points_of_interest[0]"),
        ("{name: Inn, visual_prompt: [a, b]}", "points_of_interest[0].visual_prompt"),
        ("{name: Inn, slug: 7, description: x}", "points_of_interest[0].slug"),
        ("{description: a place without a name}", "points_of_interest[0].name"),
    ],
)
def test_a_faulty_entry_takes_only_itself_away(data: DataDir, entry: str, field: str):
    people = WORLD_HISTORY.replace("history", "portrait_manifest")
    files = {WORLD_HISTORY: history_of(entry, _MILL), people: "characters: [{name: Ada, appearance: tall}]"}
    world = catalog_of(data, files).worlds["western/dust"]
    assert [fault.field for fault in world.faults] == [f"chapters[0].{field}"]
    assert {tier: [subject.slug for subject in found] for tier, found in world.subjects.items()} == {
        "landscape": ["mill"],
        "portrait": ["ada"],
    }
    assert world.faulty_tiers == {}


def test_a_folder_whose_name_is_no_text_is_told_and_left_out(data: DataDir):
    catalog_of(data, _GOOD_NEIGHBOURS)
    for name in (b"gr\xfcn", b"two\nlines", b"bell\x07"):
        folder = os.fsencode(data.genre_root("western") / "worlds") + b"/" + name
        Path(os.fsdecode(folder)).mkdir()
    catalog = read_catalog(data)
    assert [world.name for world in catalog.select(None)] == ["deep", "dust", "gold"]
    told = [fault for group in catalog.faults.values() for fault in group]
    assert len(told) == 3
    assert all(key.startswith("western/") for key in catalog.faults)  # nothing of the genre may seem to be gone
    assert all(str(fault).isprintable() and "rename" in fault.hint for fault in told)


def test_the_faults_of_all_files_of_a_world_come_together(data: DataDir):
    files = {GENRE_STYLE: "base_seed: x", WORLD_STYLE: "poi_style: 5", WORLD_HISTORY: history_of("{name: 7}")}
    catalog = catalog_of(data, files)
    assert {fault.file for fault in catalog.faults["western/dust"]} == set(files)


def test_warnings_of_a_genre_are_told_once(data: DataDir):
    files = {GENRE_STYLE: "positve_suffix: x", WORLD_STYLE: "", OTHER_STYLE: "negative_promt: y"}
    catalog = catalog_of(data, files)
    assert catalog.faults == {}
    assert [(warning.file, warning.field) for warning in catalog.warnings] == [
        (GENRE_STYLE, "positve_suffix"),
        (OTHER_STYLE, "negative_promt"),
    ]


# adapters


@pytest.mark.parametrize(
    ("file", "applies_to", "folder", "dataset", "tier"),
    [
        ("western/landscape.safetensors", "[landscape]", "western/landscape", "western/landscape", "landscape"),
        (
            "western/dust/portrait.safetensors",
            "[landscape, portrait]",
            "western/worlds/dust/portrait",
            "western/worlds/dust/portrait",
            "portrait",
        ),
        ("western/landscape.safetensors", "[scene, landscape]", "western/portrait", None, "landscape"),
        ("western/bought.safetensors", "[scene]", "", None, "scene"),
        ("bought.safetensors", "[scene]", "bought", None, "scene"),
        ("a/b/c/d.safetensors", "[scene]", "a/b/c/d", None, "scene"),
    ],
)
def test_an_adapter_s_dataset_and_tier(
    data: DataDir, file: str, applies_to: str, folder: str, dataset: str | None, tier: str
):
    (data.datasets_root / folder).mkdir(parents=True)
    text = f"loras: [{{name: one, file: {file}, scale: 1, applies_to: {applies_to}, trigger: t}}]"
    catalog = catalog_of(data, {GENRE_STYLE: text})
    assert catalog.adapters == {"western/one": Adapter("western", "one", file, tier, "t", dataset)}
    assert catalog.adapters["western/one"].key == "western/one"


# choosing


@pytest.fixture
def mixed(data: DataDir) -> Catalog:
    """Two good worlds of two genres, and a broken one."""
    return catalog_of(data, {**_GOOD_NEIGHBOURS, OTHER_HISTORY: "chapters: {}"})


def test_select_gives_one_world_or_all(mixed: Catalog):
    assert [world.key for world in mixed.select(None)] == ["tides/deep", "western/dust", "western/gold"]
    assert [world.key for world in mixed.select("western/dust")] == ["western/dust"]


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("western/silver", "there is no world 'western/silver'"),
        ("space/dust", "there is no genre 'space'"),
        ("west/dust", "there is no genre 'west'"),
        ("dust", "there is no world 'dust'"),
        ("western", "there is no world 'western'"),
        ("", "there is no world ''"),
        ("western/dust/", "there is no world"),
    ],
)
def test_select_of_something_unknown_says_what_there_is(mixed: Catalog, asked: str, part: str):
    with pytest.raises(SelectionError) as caught:
        mixed.select(asked)
    (fault,) = caught.value.faults
    assert fault.field == "--world"
    assert part in fault.problem
    assert fault.hint == "known are tides/deep, western/dust, western/gold"


def test_select_from_nothing(data: DataDir):
    assert read_catalog(data).select(None) == ()
    with pytest.raises(SelectionError, match="known are none"):
        read_catalog(data).select("western/dust")


# all of it


def test_the_shipped_packs_have_neither_faults_nor_warnings():
    data = DataDir(shipped_data_root())
    catalog = read_catalog(data, ignore_keys=load_settings(data).ignore_keys)
    assert catalog.faults == {}
    assert catalog.warnings == ()
    assert len(catalog.worlds) >= 3
    assert all(world.pois for world in catalog.worlds.values())


_words = st.sampled_from(["western/a.safetensors", "../x.safetensors", "landscape", "base", "", "no", "dev", "\0"])
_scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.just(10**30) | st.floats(-2, 2) | _words
_entries = st.dictionaries(
    st.sampled_from(["name", "file", "scale", "applies_to", "trigger", "triger"]),
    _scalars | st.lists(_scalars),
    max_size=6,
)
_anything = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3)
)
_loras = _anything | st.lists(_entries, max_size=3) | st.fixed_dictionaries({"add": st.lists(_entries, max_size=2)})
_styles = st.fixed_dictionaries(
    {},
    optional={
        "positive_suffix": _anything,
        "base_seed": _anything,
        "preferred_model": _anything,
        "visual_tag_overrides": _anything,
        "poi_style": _anything,
        "loras": _loras,
        "lora": _anything,
        "lora_scale": _anything,
        "lora_trigger": _anything,
    },
)
_places = st.dictionaries(
    st.sampled_from(["name", "slug", "description", "visual_prompt", "region", "type"]), _anything, max_size=6
)
_histories = st.fixed_dictionaries(
    {"chapters": _anything | st.lists(st.fixed_dictionaries({"points_of_interest": st.lists(_places | _anything)}))}
)


@given(genre=_styles, world=_styles, history=_histories)
@settings(deadline=None, max_examples=50)
def test_whatever_a_pack_says_the_catalog_is_read_and_each_world_is_whole_or_faulty(
    tmp_path_factory: pytest.TempPathFactory, genre: Any, world: Any, history: Any
):
    data = DataDir(tmp_path_factory.mktemp("any"))
    files = {GENRE_STYLE: genre, WORLD_STYLE: world, WORLD_HISTORY: history}
    catalog = catalog_of(data, {file: yaml.safe_dump(value) for file, value in files.items()})
    assert set(catalog.worlds) == {"western/dust"}
    assert set(catalog.faults) in (set(), {"western/dust"})
    assert not stopped(catalog) or catalog.faults
    for fault in (*catalog.warnings, *(fault for faults in catalog.faults.values() for fault in faults)):
        assert fault.file in files
        assert fault.problem
        assert fault.hint
    for found in catalog.worlds.values():
        assert all(entry.applies_to and entry.file for entry in found.entries)
        assert len({poi.slug for poi in found.pois}) == len(found.pois)
        assert all(poi.slug and poi.name for poi in found.pois)
