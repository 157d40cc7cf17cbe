"""What `history.yaml` and the manifests of the other tiers may say, and every fault. Several files: `test_packs`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.core.content import Subject
from sq_pipeline.storage.layout import DataDir
from sq_pipeline.storage.subject_files import SubjectFile, make_slug, read_subjects
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
        (history_of("{name: '酒場', description: Old}"), f"{_PLACE}.name", "no letter or digit"),
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
    assert "slug:" in fault.mend


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Old Mill", "old_mill"),
        ("St. Mary's Church", "st_marys_church"),
        ("  Café -- Zürich!  ", "cafe_zurich"),
        ("Straße 7", "strasse_7"),
        ("already_a_slug", "already_a_slug"),
        ("../../etc/passwd", "etc_passwd"),
        ("酒場", ""),
    ],
)
def test_slugs(name: str, slug: str):
    assert make_slug(name) == slug


@given(name=st.text(max_size=40))
@settings(deadline=None, max_examples=100)
def test_a_slug_is_a_file_name_and_its_own_slug(name: str):
    slug = make_slug(name)
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
    assert make_slug(slug) == slug
