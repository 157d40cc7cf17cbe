"""Manifests of the other tiers among the files of a genre: levels, faults, neighbours. One file: test_subject_files."""

from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Subject
from sq_pipeline_tests.content.pack_writing import catalog_of, history_of


def test_a_genre_s_manifests_belong_to_default_too(data: DataDir):
    genre, world = "content/genre_packs/western", "content/genre_packs/western/worlds"
    catalog = catalog_of(
        data,
        {
            f"{genre}/portrait_manifest.yaml": "characters: [{name: Ada, appearance: the genre's}]",
            f"{genre}/creatures.yaml": "creatures: [{name: Mule, description: tired}]",
            f"{world}/default/portrait_manifest.yaml": "characters: [{name: Ada, appearance: mine}]",
            f"{world}/dust/scene_manifest.yaml": "scenes: [{name: Duel, description: at noon}]",
        },
    )
    assert catalog.faults == {}
    assert catalog.worlds["western/default"].subjects == {
        "portrait": (Subject("Ada", "ada", "mine"),),
        "creature": (Subject("Mule", "mule", "tired"),),
    }
    assert catalog.worlds["western/dust"].subjects == {"scene": (Subject("Duel", "duel", "at noon"),)}
    assert catalog.worlds["western/dust"].tiers == ("scene",)


def test_a_creature_that_two_files_have_is_the_first_file_s_and_told_where_they_differ(data: DataDir):
    folder = "content/genre_packs/western/worlds/dust"
    catalog = catalog_of(
        data,
        {
            f"{folder}/creatures.yaml": "[{name: Mule, description: tired}, {name: Rat, description: fat}]",
            f"{folder}/bestiary.yaml": "entries: [{name: Mule, description: fresh}, {name: Rat, description: fat}, "
            "{name: Owl, description: white}]",
        },
    )
    found = catalog.worlds["western/dust"].subjects["creature"]
    assert [(item.slug, item.description) for item in found] == [("mule", "tired"), ("rat", "fat"), ("owl", "white")]
    (warning,) = catalog.warnings
    assert (warning.file, warning.field) == (f"{folder}/bestiary.yaml", "entries[0]")
    assert "creatures.yaml too (creatures[0])" in warning.problem


def test_a_fault_of_a_manifest_stops_its_tier_only(data: DataDir):
    worlds = "content/genre_packs/western/worlds"
    catalog = catalog_of(
        data,
        {
            f"{worlds}/dust/portrait_manifest.yaml": "characters: 7",
            f"{worlds}/dust/history.yaml": history_of("{name: Mill, description: Old}"),
            f"{worlds}/salt/portrait_manifest.yaml": "characters: [{name: Ada, appearance: tall}]",
        },
    )
    assert list(catalog.faults) == ["western/dust"]
    dust, salt = catalog.worlds["western/dust"], catalog.worlds["western/salt"]
    assert (dust.tiers, salt.tiers) == (("landscape", "portrait"), ("portrait",))
    assert list(dust.subjects) == ["landscape"]
    assert salt.faulty_tiers == {}
    (fault,) = dust.faulty_tiers["portrait"]
    assert (fault.file, fault.field) == (f"{worlds}/dust/portrait_manifest.yaml", "characters")


def test_two_worlds_may_not_show_one_person_but_a_place_and_a_person_may_share_a_slug(data: DataDir):
    worlds = "content/genre_packs/western/worlds"
    ada = "characters: [{name: Ada, appearance: tall}]"
    catalog = catalog_of(
        data,
        {
            f"{worlds}/dust/portrait_manifest.yaml": ada,
            f"{worlds}/dust/history.yaml": history_of("{name: Ada, description: A town}"),
            f"{worlds}/salt/portrait_manifest.yaml": ada,
        },
    )
    assert catalog.worlds["western/salt"].subjects == {}
    (fault,) = catalog.faults["western/salt"]
    assert (fault.file, fault.field) == (f"{worlds}/salt/portrait_manifest.yaml", "characters[0]")
    assert "images/portrait/ada.png, as 'Ada' of world 'dust' has" in fault.problem
