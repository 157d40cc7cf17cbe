"""What one `visual_style.yaml` may say, and every fault of it. Several files: `test_packs`."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import TIERS
from sq_pipeline.content.records import LoraEntry
from sq_pipeline.content.style_file import StyleFile, read_style
from sq_pipeline.content.subject_files import read_subjects
from sq_pipeline_tests.content.pack_writing import (
    GENRE_HISTORY,
    GENRE_STYLE,
    ONE_ENTRY,
    WORLD_STYLE,
    the_fault,
    write,
)


def genre_style(data: DataDir, text: str) -> StyleFile:
    return read_style(data, write(data, GENRE_STYLE, text))


def world_style(data: DataDir, text: str, genre: str = "") -> StyleFile:
    return read_style(data, write(data, WORLD_STYLE, text), genre_style(data, genre))


def entry_text(**changes: str | None) -> str:
    """A genre's `loras` of one entry, with values replaced, or left out (None)."""
    values = {"name": "base", "file": "western/landscape.safetensors", "scale": "0.8", "applies_to": "[landscape]"}
    lines = [f"{key}: {value}" for key, value in {**values, **changes}.items() if value is not None]
    return "loras:\n  - " + "\n    ".join(lines) + "\n"


# visual_style.yaml: what is read


def test_every_field_of_a_style_is_read(data: DataDir):
    style = genre_style(
        data,
        """
        positive_suffix: wide shot
        negative_prompt: text, watermark
        base_seed: 1966
        preferred_model: dev
        poi_style: establishing shot
        portrait_style: close up
        visual_tag_overrides:
          sacred: old stone
          town: [dust, wood]
        loras:
          - name: base
            file: western/landscape.safetensors
            scale: 1
            applies_to: [landscape, scene]
            trigger: western_style
        """,
    )
    assert style.faults == style.warnings == []
    assert style.file == GENRE_STYLE
    assert style.fields == {
        "positive_suffix": "wide shot",
        "negative_prompt": "text, watermark",
        "base_seed": 1966,
        "preferred_model": "dev",
    }
    assert style.tier_suffixes == {"landscape": "establishing shot", "portrait": "close up"}
    assert style.tag_overrides == {"sacred": "old stone", "town": "dust, wood"}
    assert style.entries == [
        LoraEntry("base", "western/landscape.safetensors", 1.0, ("landscape", "scene"), "western_style")
    ]


def test_a_missing_or_empty_style_says_nothing(data: DataDir):
    missing = read_style(data, data.root / GENRE_STYLE)
    assert missing == StyleFile(GENRE_STYLE)
    assert genre_style(data, "# nothing yet\n") == StyleFile(GENRE_STYLE)
    assert genre_style(data, "positive_suffix:\nbase_seed:\nloras:\nlora:\nvisual_tag_overrides:\n").fields == {}


def test_an_empty_text_is_said(data: DataDir):
    """So that a world can clear what its genre says; only a key without a value inherits."""
    assert genre_style(data, "positive_suffix: ''\n").fields == {"positive_suffix": ""}


def test_keys_that_are_not_ours_are_noted_and_change_nothing(data: DataDir):
    style = genre_style(
        data,
        """
        narrator_voice: dry
        music: [banjo, harmonica]
        ui_palette: {ink: '#000000'}
        map_style: not a key of ours
        style_notes: Keep it dusty!
        """,
    )
    assert style == StyleFile(GENRE_STYLE, unread=style.unread)
    assert list(style.unread) == ["narrator_voice", "music", "ui_palette", "map_style", "style_notes"]


@pytest.mark.parametrize(
    ("text", "field", "guess"),
    [
        ("positve_suffix: x", "positve_suffix", "positive_suffix"),
        ("negative_promt: x", "negative_promt", "negative_prompt"),
        ("base_sed: 1", "base_sed", "base_seed"),
        ("prefered_model: dev", "prefered_model", "preferred_model"),
        ("poi_styl: x", "poi_styl", "poi_style"),
        ("portrait_styles: x", "portrait_styles", "portrait_style"),
        ("visual_tag_override: {a: b}", "visual_tag_override", "visual_tag_overrides"),
        ("lorass: []", "lorass", "loras"),
        (entry_text(triger="x"), "loras[0].triger", "trigger"),
    ],
)
def test_a_near_miss_of_our_keys_is_warned_of(data: DataDir, text: str, field: str, guess: str):
    style = genre_style(data, text)
    assert style.faults == []
    warning = the_fault(style.warnings, GENRE_STYLE)
    assert warning.field == field
    assert warning.hint == f"did you mean `{guess}`?"


# visual_style.yaml: faults


@pytest.mark.parametrize(
    ("text", "field", "part"),
    [
        ("positive_suffix: 5", "positive_suffix", "is a number, not a text"),
        ("negative_prompt: [a, b]", "negative_prompt", "is a list, not a text"),
        ("poi_style: {a: b}", "poi_style", "is a mapping, not a text"),
        ("portrait_style: true", "portrait_style", "is true/false, not a text"),
        ("preferred_model: 5", "preferred_model", "is a number, not a text"),
        ("preferred_model: stable-diffusion", "preferred_model", "unknown base model 'stable-diffusion'"),
        ("base_seed: 1.5", "base_seed", "not a whole number"),
        ("base_seed: '42'", "base_seed", "is a text: '42', not a whole number"),
        ("base_seed: true", "base_seed", "not a whole number"),
        ("visual_tag_overrides: [a]", "visual_tag_overrides", "is a list, not a mapping"),
        ("visual_tag_overrides: {sacred: 5}", "visual_tag_overrides.sacred", "is a number, not a text"),
        ("visual_tag_overrides: {sacred: [a, 5]}", "visual_tag_overrides.sacred", "is a list, not a text"),
        # a genre's `loras` is a list of entries
        ("loras: {add: []}", "loras", "is a mapping; a genre's is a list"),
        ("loras: western/landscape.safetensors", "loras", "is a text; a genre's is a list"),
        ("loras: [western/landscape.safetensors]", "loras[0]", "is a text, not a mapping"),
        # an entry: missing and empty
        (entry_text(name=None), "loras[0].name", "is missing"),
        (entry_text(file=None), "loras[0].file", "is missing"),
        (entry_text(scale=None), "loras[0].scale", "is missing"),
        (entry_text(applies_to=None), "loras[0].applies_to", "is missing"),
        (entry_text(name=""), "loras[0].name", "is missing"),
        (entry_text(scale=""), "loras[0].scale", "is missing"),
        (entry_text(name="' '"), "loras[0].name", "is empty"),
        (entry_text(trigger="''"), "loras[0].trigger", "is empty"),
        (entry_text(applies_to="[]"), "loras[0].applies_to", "is empty"),
        # an entry: wrong values
        (entry_text(name="5"), "loras[0].name", "is a number, not a text"),
        (entry_text(name="west/base"), "loras[0].name", "other signs than letters, digits and _"),
        (entry_text(name="../base"), "loras[0].name", "other signs"),
        (entry_text(trigger="[a]"), "loras[0].trigger", "is a list, not a text"),
        (entry_text(scale="'0.8'"), "loras[0].scale", "is a text: '0.8', not a finite number"),
        (entry_text(scale="true"), "loras[0].scale", "not a finite number"),
        (entry_text(scale=".inf"), "loras[0].scale", "not a finite number"),
        (entry_text(scale=".nan"), "loras[0].scale", "not a finite number"),
        (entry_text(applies_to="landscape"), "loras[0].applies_to", "is a text, not a list of tiers"),
        (entry_text(applies_to="{landscape: 1}"), "loras[0].applies_to", "is a mapping, not a list of tiers"),
        (entry_text(applies_to="[landscape, 5]"), "loras[0].applies_to", "holds a number: 5, not a tier"),
        # an entry: a file outside
        (entry_text(file="../landscape.safetensors"), "loras[0].file", "leaves content/lora"),
        (entry_text(file="western/../../x.safetensors"), "loras[0].file", "leaves content/lora"),
        (entry_text(file="/etc/x.safetensors"), "loras[0].file", "leaves content/lora"),
        (entry_text(file="C:/x.safetensors"), "loras[0].file", "leaves content/lora"),
        (entry_text(file=r"'..\x.safetensors'"), "loras[0].file", "leaves content/lora"),
        (entry_text(file='"a\\0.safetensors"'), "loras[0].file", "NUL"),
        (entry_text(file="western/landscape.ckpt"), "loras[0].file", "is no .safetensors file"),
        (entry_text(file="western/landscape"), "loras[0].file", "is no .safetensors file"),
        # legacy
        (f"lora: a.safetensors\n{ONE_ENTRY}", "lora", "stands beside `loras`"),
        (f"lora_scale: 0.5\n{ONE_ENTRY}", "lora_scale", "stands beside `loras`"),
        (f"lora_trigger: x\n{ONE_ENTRY}", "lora_trigger", "stands beside `loras`"),
        ("lora_scale: 0.5", "lora_scale", "a `lora` that is not there"),
        ("lora_trigger: x", "lora_trigger", "a `lora` that is not there"),
        ("lora: 5", "lora", "is a number, not a text"),
        ("lora: ../x.safetensors", "lora", "leaves content/lora"),
        ("lora: /x.safetensors", "lora", "leaves content/lora"),
        ("lora: x.ckpt", "lora", "is no .safetensors file"),
        ("lora: a.safetensors\nlora_scale: much", "lora_scale", "not a finite number"),
        ("lora: a.safetensors\nlora_trigger: 5", "lora_trigger", "is a number, not a text"),
        ("lora: a.safetensors\nlora_trigger: ' '", "lora_trigger", "is empty"),
    ],
)
def test_a_fault_of_a_genre_style_names_its_field(data: DataDir, text: str, field: str, part: str):
    fault = the_fault(genre_style(data, text).faults, GENRE_STYLE)
    assert fault.field == field
    assert part in fault.problem


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "a: 1\na: 2\n"])
def test_a_style_that_is_no_yaml_mapping_is_one_fault(data: DataDir, text: str):
    style = genre_style(data, text)
    assert len(style.faults) == 1
    assert style.faults[0].file == GENRE_STYLE


def test_two_entries_with_one_name(data: DataDir):
    two = ONE_ENTRY + ONE_ENTRY.replace("loras:\n", "")
    fault = the_fault(genre_style(data, two).faults, GENRE_STYLE)
    assert (fault.field, fault.problem) == ("loras[1].name", "'base' is the name of loras[0] too")


def test_a_repeated_name_is_reported_beside_the_entry_s_other_faults(data: DataDir):
    style = genre_style(data, ONE_ENTRY + "  - name: base\n    file: western/x.safetensors\n    applies_to: [scene]\n")
    assert {fault.field for fault in style.faults} == {"loras[1].name", "loras[1].scale"}


@pytest.mark.parametrize(("tier", "hint"), [("landscpe", "did you mean landscape?"), ("menu", "known are landscape,")])
def test_an_unknown_tier_is_warned_of(data: DataDir, tier: str, hint: str):
    style = genre_style(data, entry_text(applies_to=f"[landscape, {tier}]"))
    assert style.faults == []
    assert style.entries[0].applies_to == ("landscape", tier)
    warning = the_fault(style.warnings, GENRE_STYLE)
    assert warning.field == "loras[0].applies_to"
    assert hint in warning.hint


def test_all_faults_of_a_file_are_reported_at_once(data: DataDir):
    style = genre_style(
        data,
        """
        positve_suffix: x
        base_seed: many
        poi_style: 5
        lora: old.safetensors
        loras:
          - name: base
            file: ../x.safetensors
            scale: loud
            applies_to: []
          - file: western/y.safetensors
            scale: 1.0
            applies_to: [landscape]
          - name: base
        """,
    )
    assert {fault.field for fault in style.faults} == {
        "base_seed",
        "poi_style",
        "lora",
        "loras[0].file",
        "loras[0].scale",
        "loras[0].applies_to",
        "loras[1].name",
        "loras[2].name",
        "loras[2].file",
        "loras[2].scale",
        "loras[2].applies_to",
    }
    assert all(fault.file == GENRE_STYLE and fault.problem and fault.hint for fault in style.faults)
    assert [warning.field for warning in style.warnings] == ["positve_suffix"]


def test_a_file_that_leads_out_through_a_link(data: DataDir, tmp_path: Path):
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (data.lora_root / "western").symlink_to(outside)
    fault = the_fault(genre_style(data, ONE_ENTRY).faults, GENRE_STYLE)
    assert fault.field == "loras[0].file"
    assert "through a link" in fault.problem


def test_a_link_in_a_circle_is_no_crash(data: DataDir):
    (data.lora_root / "western").symlink_to(data.lora_root / "western")
    assert [entry.name for entry in genre_style(data, ONE_ENTRY).entries] == ["base"]


def test_links_that_stay_inside_and_a_linked_data_directory_are_fine(data: DataDir, tmp_path: Path):
    (data.lora_root / "shared").mkdir()
    (data.lora_root / "western").symlink_to(data.lora_root / "shared")
    assert genre_style(data, ONE_ENTRY).faults == []
    (tmp_path / "link").symlink_to(data.root)
    linked = DataDir(tmp_path / "link")
    assert read_style(linked, linked.root / GENRE_STYLE).faults == []


def test_a_dangling_link_is_a_fault_and_not_a_file_that_says_nothing(data: DataDir):
    for file in (GENRE_STYLE, GENRE_HISTORY):
        (data.root / file).parent.mkdir(parents=True, exist_ok=True)
        (data.root / file).symlink_to("nowhere.yaml")
    assert "no such file" in read_style(data, data.root / GENRE_STYLE).faults[0].problem
    assert "no such file" in read_subjects(data, (data.root / GENRE_HISTORY).parent, "landscape").faults[0].problem


def test_a_file_s_path_is_written_one_way(data: DataDir):
    (entry,) = genre_style(data, entry_text(file="./western//landscape.safetensors")).entries
    assert entry.file == "western/landscape.safetensors"


# visual_style.yaml: legacy keys


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        (
            "lora: western/old-style.safetensors\nlora_scale: 0.7\nlora_trigger: dusty",
            LoraEntry("western_old_style", "western/old-style.safetensors", 0.7, TIERS, "dusty"),
        ),
        ("lora: old.safetensors", LoraEntry("old", "old.safetensors", 1.0, TIERS, None)),
        ("lora: old.safetensors\nlora_scale: 1", LoraEntry("old", "old.safetensors", 1.0, TIERS, None)),
        ("lora: old.safetensors\nloras:", LoraEntry("old", "old.safetensors", 1.0, TIERS, None)),
    ],
)
def test_legacy_keys_alone_are_one_entry(data: DataDir, text: str, entry: LoraEntry):
    style = genre_style(data, text)
    assert style.faults == style.warnings == []
    assert style.entries == [entry]


# visual_style.yaml: a world's


def test_a_world_excludes_and_adds(data: DataDir):
    style = world_style(
        data,
        """
        loras:
          exclude: [base]
          add:
            - name: dust
              file: western/dust/landscape.safetensors
              scale: 0.85
              applies_to: [landscape]
        """,
        ONE_ENTRY,
    )
    assert style.faults == []
    assert style.exclude == ["base"]
    assert style.entries == [LoraEntry("dust", "western/dust/landscape.safetensors", 0.85, ("landscape",))]


@pytest.mark.parametrize("text", ["loras: {}", "loras: {add: [], exclude: []}", "loras:\n  add:\n  exclude:\n"])
def test_a_world_may_change_nothing(data: DataDir, text: str):
    style = world_style(data, text, ONE_ENTRY)
    assert (style.faults, style.exclude, style.entries) == ([], [], [])


@pytest.mark.parametrize(
    ("text", "field", "part"),
    [
        (ONE_ENTRY, "loras", "is a list; a world's is a mapping"),
        ("loras: base", "loras", "is a text; a world's is a mapping"),
        ("loras: {exclude: base}", "loras.exclude", "is a text, not a list"),
        ("loras: {add: {name: x}}", "loras.add", "is a mapping, not a list"),
        ("loras: {exclude: [5]}", "loras.exclude[0]", "is a number, not a text"),
        ("loras: {exlude: [base]}", "loras.exlude", "unknown key"),
        ("loras: {name: base}", "loras.name", "unknown key"),
        ("loras: {add: [base]}", "loras.add[0]", "is a text, not a mapping"),
        ("loras: {add: [{name: x, file: x.safetensors, scale: 1}]}", "loras.add[0].applies_to", "is missing"),
        ("lora: a.safetensors\nloras: {}", "lora", "stands beside `loras`"),
        ("lora: a.safetensors", "lora", "stands beside the genre's `loras`"),
        ("lora_scale: 0.5", "lora_scale", "stands beside the genre's `loras`"),
    ],
)
def test_a_fault_of_a_world_style_names_its_field(data: DataDir, text: str, field: str, part: str):
    fault = the_fault(world_style(data, text, ONE_ENTRY).faults, WORLD_STYLE)
    assert fault.field == field
    assert part in fault.problem


@given(lora_scale=st.floats(-10, 10).filter(bool))
@settings(deadline=None, max_examples=50)
def test_a_scale_is_read_exactly(tmp_path_factory: pytest.TempPathFactory, lora_scale: float):
    data = DataDir(tmp_path_factory.mktemp("scale"))
    (entry,) = genre_style(data, entry_text(scale=repr(lora_scale))).entries
    assert math.isclose(entry.lora_scale, lora_scale, rel_tol=0, abs_tol=0)
