"""What an entry says of its own picture: every form that is read, and every slip with a hint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.prompts import seed_for
from sq_pipeline.content.records import OwnSettings, Subject
from sq_pipeline.content.subject_files import SubjectFile, read_subjects
from sq_pipeline_tests.content.pack_writing import GENRE_HISTORY, catalog_of, history_of, the_fault, write

MILL = "{name: Mill, visual_prompt: a mill, "


def read(data: DataDir, keys: str) -> SubjectFile:
    return read_subjects(data, write(data, GENRE_HISTORY, history_of(f"{MILL}{keys}}}")).parent, "landscape")


@pytest.mark.parametrize(
    ("keys", "own"),
    [
        ("seed: 7", OwnSettings(seed="7")),
        ("seed: 0", OwnSettings(seed="0")),
        ("seed: 007", OwnSettings(seed="7")),
        ("seed: 4294967295", OwnSettings(seed="4294967295")),
        ("seed: +3", OwnSettings(seed="+3")),  # which other readers of YAML take for 3
        ('seed: "+3"', OwnSettings(seed="+3")),
        ("seed: ' +03 '", OwnSettings(seed="+3")),
        ("seed: ~", OwnSettings()),
        ("size_px: [128, 64]", OwnSettings(size_px=(128, 64))),
        ("num_inference_steps: 12", OwnSettings(num_inference_steps=12)),
        ("negative_prompt: ' fog '", OwnSettings(negative_prompt="fog")),
        ("negative_prompt: ''", OwnSettings(negative_prompt="")),
        ("draft: true", OwnSettings(is_draft=True)),
        ("draft: false", OwnSettings()),
        ("note: [anything, 7]", OwnSettings()),
    ],
)
def test_every_key_is_read(data: DataDir, keys: str, own: OwnSettings) -> None:
    found = read(data, keys)
    assert (found.faults, found.warnings) == ([], [])
    assert found.subjects == [Subject("Mill", "mill", visual_prompt="a mill", own=own)]


@pytest.mark.parametrize(
    ("keys", "field", "told"),
    [
        ("seed: -3", "seed", "is -3, not a seed; write a whole number from 0 to 4294967295, or `+1`"),
        ("seed: 4294967296", "seed", "is 4294967296, not a seed"),
        ("seed: 1.5", "seed", "is 1.5, not a seed"),
        ("seed: true", "seed", "is true/false: True, not a seed"),
        ("seed: random", "seed", "is a text: 'random', not a seed"),
        ("seed: '7'", "seed", "is a text: '7', not a seed"),
        ("seed: [7]", "seed", "is a list: [7], not a seed"),
        ("seed: +99999999999", "seed", "not a seed"),
        ("size_px: 128", "size_px", "is a number: 128, not two numbers; write `[width, height]`"),
        ("size_px: 128x64", "size_px", "not two numbers"),
        ("size_px: [128]", "size_px", "not two numbers"),
        ("size_px: [128, 65]", "size_px", "has a side of 65"),
        ("size_px: [32, 64]", "size_px", "has a side of 32"),
        ("size_px: [128, true]", "size_px", "has a side of True"),
        ("size_px: [4096, 4096]", "size_px", "is 16777216 pixels in all; at most 4194304 are rendered"),
        ("num_inference_steps: 0", "num_inference_steps", "write a whole number from 1 to 200"),
        ("num_inference_steps: 4.0", "num_inference_steps", "is a number: 4.0, not a number of steps"),
        ("num_inference_steps: many", "num_inference_steps", "not a number of steps"),
        ("negative_prompt: [fog, rain]", "negative_prompt", 'write it as one: "fog, rain"'),
        ("negative_prompt: 7", "negative_prompt", "put it in quotes"),
        ("draft: soon", "draft", "write `draft: true`, or remove it"),
        ("draft: 1", "draft", "is a number: 1, not true or false"),
    ],
)
def test_every_slip_is_told_and_stops_that_entry_only(data: DataDir, keys: str, field: str, told: str) -> None:
    text = history_of(f"{MILL}{keys}}}", "{name: Inn, visual_prompt: an inn}")
    found = read_subjects(data, write(data, GENRE_HISTORY, text).parent, "landscape")
    fault = the_fault(found.faults, GENRE_HISTORY)
    assert fault.field == f"chapters[0].points_of_interest[0].{field}"
    assert told in str(fault)
    assert [subject.slug for subject in found.subjects] == ["inn"]


def test_all_slips_of_an_entry_are_told_at_once(data: DataDir) -> None:
    assert len(read(data, "seed: x, size_px: 1, num_inference_steps: 0, draft: 2, negative_prompt: 3").faults) == 5


@pytest.mark.parametrize(("key", "meant"), [("sed", "seed"), ("drafts", "draft"), ("size_pxs", "size_px")])
def test_a_near_miss_is_told(data: DataDir, key: str, meant: str) -> None:
    warnings = [str(warning) for warning in read(data, f"{key}: 7").warnings]
    assert any(f".{key}: " in warning and f"did you mean `{meant}`?" in warning for warning in warnings), warnings


def test_a_draft_is_of_no_tier_s_pictures_and_still_known(data: DataDir) -> None:
    catalog = catalog_of(
        data, {GENRE_HISTORY: history_of(f"{MILL}draft: true}}", "{name: Inn, visual_prompt: an inn}")}
    )
    world = catalog.worlds["western/default"]
    assert [subject.slug for subject in world.subjects["landscape"]] == ["inn"]
    assert [subject.slug for subject in world.drafts["landscape"]] == ["mill"]


@given(st.integers(0, 2**32 - 1), st.integers(-(2**40), 2**40), st.integers(0, 9_999_999_999))
def test_a_shift_counts_from_the_seed_that_it_has_and_a_number_is_itself(own: int, base: int, shift: int) -> None:
    def seed(said: str) -> int:
        return seed_for("west", "old", "Mill", "landscape", base, said)

    assert seed(str(own)) == own
    assert seed(f"+{shift}") == (seed("") + shift) % 2**32
    assert seed("+0") == seed("")
