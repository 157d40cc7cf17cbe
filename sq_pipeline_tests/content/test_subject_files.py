"""What `history.yaml` and the manifests of the other tiers may say, and every fault. Several files: `test_packs`."""

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import Subject
from sq_pipeline.content.subject_files import SUBJECT_FILES, SubjectFile, read_subjects
from sq_pipeline_tests.content.pack_writing import GENRE_HISTORY, history_of, the_fault, write


def history(data: DataDir, text: str) -> SubjectFile:
    return read_subjects(data, write(data, GENRE_HISTORY, text).parent, "landscape")


# history.yaml


def test_every_field_of_a_place_is_read(data: DataDir):
    found = history(
        data,
        """
        title: A history
        chapters:
          - title: The first settlers
            atmosphere: tense
            points_of_interest:
              - name: Old Mill
                slug: mill
                description: A mill by the river.
                visual_prompt: a wooden mill, evening
                region: north
                type: ruin
                npcs: [miller]
          - title: A chapter without places
          - points_of_interest:
        """,
    )
    assert found.faults == found.warnings == []
    assert found.subjects == [
        Subject("Old Mill", "mill", "A mill by the river.", "a wooden mill, evening", region="north", kind="ruin")
    ]


@pytest.mark.parametrize("text", ["", "title: nothing yet", "chapters:", "chapters: []", "chapters: [{title: x}]"])
def test_a_history_may_have_no_places(data: DataDir, text: str):
    found = history(data, text)
    assert (found.subjects, found.faults, found.warnings) == ([], [], [])


def test_a_missing_history_has_no_places(data: DataDir):
    assert read_subjects(data, (data.root / GENRE_HISTORY).parent, "landscape") == SubjectFile(GENRE_HISTORY)


@pytest.mark.parametrize(
    ("place", "subject"),
    [
        ("{name: Old Mill, description: Old}", Subject("Old Mill", "old_mill", "Old")),
        ("{slug: old_mill, description: Old}", Subject("old mill", "old_mill", "Old")),
        ("{slug: old-mill, description: Old}", Subject("old mill", "old_mill", "Old")),
        ("{name: The Mill, slug: old_mill, description: Old}", Subject("The Mill", "old_mill", "Old")),
        ("{name: Mill, slug: ../../Mill, description: Old}", Subject("Mill", "mill", "Old")),
        ("{name: Mill, visual_prompt: a mill}", Subject("Mill", "mill", visual_prompt="a mill")),
        ("{name: Mill, visual_prompt: {solo: a mill, crowd: many}}", Subject("Mill", "mill", visual_prompt="a mill")),
        ("{name: Mill, description: Old, visual_prompt: ''}", Subject("Mill", "mill", "Old")),
        ("{name: Mill, description: Old, visual_prompt: }", Subject("Mill", "mill", "Old")),
        ("{name: ' Mill ', description: ' Old '}", Subject("Mill", "mill", "Old")),
        ("{name: 'No', description: no}", Subject("No", "no", "no")),  # YAML 1.1 would read False
    ],
)
def test_a_place_is_read(data: DataDir, place: str, subject: Subject):
    found = history(data, history_of(place))
    assert found.faults == found.warnings == []
    assert found.subjects == [subject]


def test_a_visual_prompt_over_several_lines_is_kept_verbatim(data: DataDir):
    text = (
        "chapters:\n- points_of_interest:\n  - name: Mill\n    visual_prompt: |\n      a mill,\n        by  the river\n"
    )
    assert history(data, text).subjects[0].visual_prompt == "a mill,\n  by  the river"


_PLACE = "chapters[0].points_of_interest[0]"


@pytest.mark.parametrize(
    ("text", "field", "part"),
    [
        ("chapters: {one: {}}", "chapters", "is a mapping, not a list"),
        ("chapters: [prologue]", "chapters[0]", "is a text, not a mapping"),
        ("chapters: [{points_of_interest: {name: Mill}}]", "chapters[0].points_of_interest", "not a list"),
        (history_of("Mill"), _PLACE, "is a text, not a mapping"),
        (history_of("{description: Old}"), f"{_PLACE}.name", "is missing"),
        (history_of("{name: '', description: Old}"), f"{_PLACE}.name", "is missing"),
        (history_of("{name: 7, description: Old}"), f"{_PLACE}.name", "is a number: 7, not a text"),
        (history_of("{name: true, description: Old}"), f"{_PLACE}.name", "is true/false"),
        (history_of("{name: Mill}"), f"{_PLACE}.visual_prompt", "neither visual_prompt nor description"),
        (history_of("{name: Mill, description: [a]}"), f"{_PLACE}.description", "is a list"),
        (history_of("{name: Mill, visual_prompt: 5}"), f"{_PLACE}.visual_prompt", "is a number"),
        (history_of("{name: Mill, visual_prompt: {sole: x}}"), f"{_PLACE}.visual_prompt.solo", "is missing"),
        (history_of("{name: Mill, visual_prompt: {solo: 5}}"), f"{_PLACE}.visual_prompt.solo", "no text"),
        (history_of("{name: Mill, visual_prompt: {}, description: x}"), f"{_PLACE}.visual_prompt.solo", "is missing"),
        (history_of("{name: Mill, description: x, type: [a]}"), f"{_PLACE}.type", "is a list"),
        (history_of("{name: Mill, description: x, region: 5}"), f"{_PLACE}.region", "is a number"),
    ],
)
def test_a_fault_of_a_history_names_its_field(data: DataDir, text: str, field: str, part: str):
    fault = the_fault(history(data, text).faults, GENRE_HISTORY)
    assert fault.field == field
    assert part in fault.problem


def test_all_faults_of_a_history_are_reported_at_once_and_good_places_are_read(data: DataDir):
    text = history_of("{name: Mill, description: Old}", "{name: 7}", "{name: Inn, visual_prompt: 5, region: [a]}")
    found = history(data, f"{text}  - no chapter\n")
    assert [subject.name for subject in found.subjects] == ["Mill"]
    assert {fault.field for fault in found.faults} == {
        "chapters[0].points_of_interest[1].name",
        "chapters[0].points_of_interest[2].visual_prompt",
        "chapters[0].points_of_interest[2].region",
        "chapters[1]",
    }


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("chapter: []", "chapter"),
        ("chapters: [{point_of_interest: []}]", "chapters[0].point_of_interest"),
        (history_of("{name: Mill, description: x, visual_promt: y}"), f"{_PLACE}.visual_promt"),
    ],
)
def test_a_near_miss_in_a_history_is_warned_of(data: DataDir, text: str, field: str):
    found = history(data, text)
    assert found.faults == []
    assert the_fault(found.warnings, GENRE_HISTORY).field == field


_AGAIN = """
chapters:
  - points_of_interest:
      - {{name: Old Mill, description: By the river., type: ruin}}
      - {{name: Inn, description: Full.}}
  - points_of_interest:
      - {}
"""


@pytest.mark.parametrize(
    ("again", "has_warning"),
    [
        ("{name: Old Mill, description: By the river., type: ruin}", False),
        ("{name: Old Mill}", False),
        ("{slug: old_mill}", False),
        ("{slug: old_mill, description: Burnt down.}", True),
        ("{name: Old Mill, description: Burnt down., type: ruin}", True),
        ("{name: Old Mill, visual_prompt: a burnt mill}", True),
        ("{name: OLD MILL, description: By the river., type: ruin}", True),
    ],
)
def test_a_place_of_several_chapters_is_one_and_the_first_counts(data: DataDir, again: str, has_warning: bool):
    found = history(data, _AGAIN.format(again))
    assert found.faults == []
    assert found.subjects == [
        Subject("Old Mill", "old_mill", "By the river.", kind="ruin"),
        Subject("Inn", "inn", "Full."),
    ]
    assert bool(found.warnings) == has_warning
    if has_warning:
        assert the_fault(found.warnings, GENRE_HISTORY).field == "chapters[1].points_of_interest[0]"


def test_two_places_with_one_slug_are_a_fault(data: DataDir):
    found = history(data, history_of("{name: Old Mill!, description: a}", "{name: Old-Mill, description: b}"))
    fault = the_fault(found.faults, GENRE_HISTORY)
    assert fault.field == "chapters[0].points_of_interest[1]"
    assert "both have the slug 'old_mill'" in fault.problem
    assert "slug:" in fault.hint


# the manifests of the other tiers


def manifest(data: DataDir, tier: Tier, text: str) -> SubjectFile:
    path = f"content/genre_packs/western/worlds/dust/{SUBJECT_FILES[tier].name}"
    return read_subjects(data, write(data, path, text).parent, tier)


PORTRAITS = """
characters:
  - name: Ada Stone
    role: sheriff
    type: npc_major
    appearance: a grey braid, a tin star
    culture: river folk
    culture_aesthetic: blue glass beads
  - id: old-bo
    appearance: a red scarf
  - {name: Cy, slug: the_bald_one, visual_prompt: a bald man, culture: hill folk}
"""


def test_people_are_read_as_packs_write_them(data: DataDir):
    found = manifest(data, "portrait", PORTRAITS)
    assert found.faults == found.warnings == []
    assert found.subjects == [
        Subject(
            "Ada Stone",
            "ada_stone",
            "a grey braid, a tin star",
            kind="npc_major",
            culture="river folk, blue glass beads",
            role="sheriff",
        ),
        Subject("old bo", "old_bo", "a red scarf"),
        Subject("Cy", "the_bald_one", visual_prompt="a bald man", culture="hill folk"),
    ]


@pytest.mark.parametrize(
    ("tier", "text"),
    [
        ("creature", "creatures: [{id: mule, name: Mule, description: a tired mule, threat_level: 1}]"),
        ("creature", "creatures: [{name: Mule, appearance: a tired mule, culture: not read here}]"),
        ("scene", "scenes: [{name: Mule, description: a tired mule}]"),
    ],
)
def test_creatures_and_scenes_are_read(data: DataDir, tier: Tier, text: str):
    found = manifest(data, tier, text)
    assert found.subjects == [Subject("Mule", "mule", "a tired mule")]
    assert found.faults == found.warnings == []


@pytest.mark.parametrize("tier", ["portrait", "creature", "scene"])
@pytest.mark.parametrize("text", ["", "title: nothing yet", "{key}:", "{key}: []"])
def test_a_manifest_may_be_empty(data: DataDir, tier: Tier, text: str):
    found = manifest(data, tier, text.format(key=next(iter(SUBJECT_FILES[tier].model.model_fields))))
    assert (found.subjects, found.faults, found.warnings) == ([], [], [])


@pytest.mark.parametrize(
    ("tier", "text", "field", "part"),
    [
        ("portrait", "characters: {Ada: tall}", "characters", "a mapping, not a list"),
        ("portrait", "characters: [Ada]", "characters[0]", "a text, not a mapping"),
        (
            "portrait",
            "characters: [{name: Ada}]",
            "characters[0].visual_prompt",
            "neither visual_prompt nor appearance",
        ),
        ("portrait", "characters: [{name: Ada, appearance: 7}]", "characters[0].appearance", "not a text"),
        ("portrait", "characters: [{appearance: tall}]", "characters[0].name", "is missing"),
        ("portrait", "characters: [{name: Ada, appearance: x, culture: [a]}]", "characters[0].culture", "a list"),
        (
            "portrait",
            "characters: [{name: A, appearance: x}, {name: A!, appearance: y}]",
            "characters[1]",
            "the slug 'a'",
        ),
        ("scene", "scenes: [{name: Duel, visual_prompt: {solos: x}}]", "scenes[0].visual_prompt.solo", "is missing"),
    ],
)
def test_a_fault_of_a_manifest_names_its_field(data: DataDir, tier: Tier, text: str, field: str, part: str):
    fault = the_fault(
        manifest(data, tier, text).faults, f"content/genre_packs/western/worlds/dust/{SUBJECT_FILES[tier].name}"
    )
    assert fault.field == field
    assert part in fault.problem


@pytest.mark.parametrize(
    ("tier", "text", "field", "guess"),
    [
        ("portrait", "character: [{name: Ada, appearance: x}]", "character", "characters"),
        (
            "portrait",
            "characters: [{name: Ada, apearance: x, visual_prompt: y}]",
            "characters[0].apearance",
            "appearance",
        ),
        (
            "creature",
            "creatures: [{name: A, descripton: x, visual_prompt: y}]",
            "creatures[0].descripton",
            "description",
        ),
    ],
)
def test_a_near_miss_in_a_manifest_is_warned_of(data: DataDir, tier: Tier, text: str, field: str, guess: str):
    (warning,) = manifest(data, tier, text).warnings
    assert (warning.field, warning.hint) == (field, f"did you mean `{guess}`?")


def test_a_person_named_twice_is_one_and_a_difference_is_told(data: DataDir):
    found = manifest(data, "portrait", "characters: [{name: A, appearance: x}, {name: A}, {name: A, appearance: y}]")
    assert found.subjects == [Subject("A", "a", "x")]
    (warning,) = found.warnings
    assert (warning.field, warning.problem) == ("characters[2]", "'A' is further up too, and says something else")
