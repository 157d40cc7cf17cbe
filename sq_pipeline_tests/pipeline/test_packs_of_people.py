"""Packs as people write them: what `plan` and `prompts` say of each, with the real tokenizers; nothing is rendered."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.cli import main
from sq_pipeline.cli.content_commands import _collect_prompts
from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.cases.adapters import joined, kohya, write_odd
from sq_pipeline_tests.cases.packs import build, cases
from sq_pipeline_tests.defs.test_sensors import Ticks
from sq_pipeline_tests.pipeline.game import Game

_ALPHA = "west/worlds/alpha/history.yaml"
_P = "points_of_interest"


@dataclass(frozen=True)
class Said:
    """What is said of a case: pictures that are to be made, faults, warnings, and prompts by name."""

    planned: list[str]
    faults: list[str]
    warnings: list[str]
    blocked: list[str]
    prompts: dict[str, dict[str, Any]]

    def prompt(self, name: str) -> str:
        return self.prompts[name]["positive_prompt"]


def look(root: Path) -> Said:
    data = DataDir(root)
    found = make_plan(Context(data, real_engines(data)), None).as_json()
    texts = _collect_prompts(root, None, None)
    assert {fault for fault in found["faults"] if ".safetensors" not in fault} <= set(texts["faults"])
    for line in (*found["faults"], *found["warnings"]):
        assert "\n" not in line
    return Said(
        [item["asset"].rpartition("/")[2] for item in found["stale"] if "_images:" in item["asset"]],
        found["faults"],
        found["warnings"],
        [item["asset"] for item in found["blocked"]],
        {row["name"]: row for row in texts["prompts"]},
    )


@dataclass(frozen=True)
class Right:
    """The right answer: slugs that are planned, how many faults and warnings, and what each line of them holds."""

    planned: Sequence[str]
    faults: Sequence[tuple[str, ...]] = ()
    warnings: Sequence[tuple[str, ...]] = ()
    also: Callable[[Said], bool] = field(default=lambda said: True)


def _holds(lines: Sequence[str], wanted: Sequence[tuple[str, ...]]) -> bool:
    return len(lines) == len(wanted) and all(
        any(all(part in line for part in parts) for line in lines) for parts in wanted
    )


_BOTH = ("good_place", "neighbour")
_KEPT = ("no letters", "no watermark", "every figure fully clothed in work dress")
_FIRST_SUFFIX = "printed plate in ochre and slate"

RIGHT: dict[str, Right] = {
    **{f"2-world-{number:02d}": Right(_BOTH) for number in range(1, 13)},
    **{f"2-genre-{number:02d}": Right(("good_place", "sound_place")) for number in range(1, 5)},
    "2-finder-duplicate": Right(_BOTH, [("worlds/alpha copy/history.yaml", "good_place.png", "world 'alpha'")]),
    "2-world-case-pair": Right((*_BOTH, "other_place")),
    "2-world-nfc-nfd": Right(("good_place", "other_place")),
    "2-name-300": Right(("neighbour", "short_one", r"very_long_[a-z_]{90,}_[0-9a-f]{8}")),
    "2-name-5000": Right(("neighbour", "short_one", r"very_long_[a-z_]{90,}_[0-9a-f]{8}")),
    "2-two-long-names-one-start": Right(("neighbour", *[r"very_long_[a-z_]{90,}_[0-9a-f]{8}"] * 2)),
    "2-names-cyrillic": Right(("kuznitsa", "melnitsa", "neighbour")),
    "2-names-hebrew": Right((r"mgdl_[0-9a-f]{8}", "neighbour")),
    "2-names-cjk": Right((r"fengche_[0-9a-f]{8}", r"longmenkezhan_[0-9a-f]{8}", "neighbour")),
    "2-name-emoji-only": Right(("neighbour", r"place_[0-9a-f]{8}")),
    "2-names-nfc-nfd": Right(("cafe_mill", "neighbour"), [(_ALPHA, f"{_P}[1]", "accents")]),
    "2-same-slug-two-worlds": Right(
        ("the_gate",), [("worlds/beta/history.yaml", f"{_P}[0]", "the_gate.png", "`slug:`", "`picture_path:`")]
    ),
    "2-path-template": Right(("the_gate", "the_gate")),
    "3-one-faulty-entry": Right((*_BOTH, "ila_fenn"), [(f"history.yaml: chapters[0].{_P}[0].name", "1920")]),
    "3-one-faulty-portrait": Right((*_BOTH, "ila_fenn"), [("portrait_manifest.yaml: characters[0].name",)]),
    "3-one-place-too-long": Right(_BOTH, also=lambda said: said.blocked == ["west/worlds/alpha/poi_images:barn"]),
    "3-unclosed-quote-now": Right(("neighbour",), [(_ALPHA, "line 4")]),
    "3-genre-history-is-worlds": Right(("neighbour", "salt_gate", "the_lantern_house")),
    "3-genre-history-differs": Right(
        ("neighbour", "salt_gate"), [("west/history.yaml", "worlds/broken_shore/history.yaml", "'Salt Gate'")]
    ),
    "3-clash-in-one-world": Right(("barn", *_BOTH), [(_ALPHA, f"{_P}[1]", "'barn?'", "'Barn!'")]),
    "3-faulty-world-style": Right(_BOTH, [], [("visual_style.yaml", "`style_note`")]),
    "3-faulty-manifest-other-tier": Right((*_BOTH, "ila_fenn"), [("creatures.yaml: creatures[0]", "is a list")]),
    "4-sentences-for-nothing": Right(
        ("ridge_gate",),
        [],
        [("west/alpha", "Ridge Gate without", "horizon on the lower third", "sq-pipeline prompts --world west/alpha")],
        also=lambda said: (
            said.prompt("Ridge Gate").startswith("Ridge Gate: The checkpoint. Two towers of grey stone.")
            and all(part in said.prompt("Ridge Gate") for part in (_FIRST_SUFFIX, *_KEPT))
            and 84 <= said.prompts["Ridge Gate"]["t5_tokens"] <= 96
        ),
    ),
    "4-style-dropped-verbatim": Right(
        ("ridge_gate",),
        [],
        [("Ridge Gate without",)],
        also=lambda said: said.prompt("Ridge Gate").startswith(
            f"a gate of grey stone between two towers at dusk, {_FIRST_SUFFIX}, "
        ),
    ),
    "4-style-dropped-warn": Right(("ridge_gate",), [], [("Ridge Gate without",)]),
    "4-suffix-fits-by-commas": Right(
        ("ridge_gate",),
        [],
        [("Ridge Gate without",)],
        also=lambda said: f"wet road, wide shot, {_FIRST_SUFFIX}" in said.prompt("Ridge Gate"),
    ),
    "4-abbreviation-saint": Right(
        ("old_chapel",),
        [],
        [("Old Chapel without",)],
        also=lambda said: "St. Orrin keeps his chapel on the hill" in said.prompt("Old Chapel"),
    ),
    "4-abbreviation-mister": Right(
        ("old_chapel",),
        [],
        [("Old Chapel without",)],
        also=lambda said: not re.search(r"Mr\.?,", said.prompt("Old Chapel")),
    ),
    "4-no-drop": Right(
        ("good_place", "salt_gate"),
        also=lambda said: (
            said.prompt("Good Place") == "a mill, a few houses, wide shot, dust"
            and said.prompt("Salt Gate") == "Salt Gate: A gate. Grey stone., wide shot, dust"
        ),
    ),
    "4-comma-after-stop": Right(
        ("the_root",),
        also=lambda said: said.prompt("The Root") == "The Root: The deepest layer of the mesh., woodcut",
    ),
    "4-safety-clause": Right(
        (*_BOTH, "ila_fenn"),
        [],
        [("Ila Fenn without", "a grey braid and a coat with many pockets")],
        also=lambda said: all(
            part in said.prompt("Ila Fenn") for part in ("one subject", "no letters", "no watermark")
        ),
    ),
    "5-portraits-real-shape": Right(
        (*_BOTH, "ila_fenn", "picker_salt_m01"),
        [],
        [("portrait_manifest.yaml", "`archetype`", "`sex`"), ("Ila Fenn without “lock gates at dusk behind her”",)],
        also=lambda said: (
            said.prompt("Ila Fenn")
            == "Ila Fenn: Keeper of the Lock, chest-up, a woman of fifty with a grey braid and a burnt sleeve, "
            "river wool, brass buttons, a coil of rope on her shoulder, one subject, "
            "no letters, no watermark, dust"
            and "bleached linen and rope belts" in said.prompt("picker salt clerk m01")
            and "salt_anglo" not in said.prompt("picker salt clerk m01")
        ),
    ),
    "5-genre-manifest": Right(
        (*_BOTH, "ila_fenn", "picker_salt_m01"),
        [],
        [
            ("west/portrait_manifest.yaml", "`archetype`", "`sex`"),
            ("west/portrait_manifest.yaml", "'salt_anglo' is no file in", "cultures/"),
            ("backdrop_poi", "'good_place' is no place of this world"),
            ("Ila Fenn without",),
        ],
    ),
    "5-culture-without-file": Right(
        (*_BOTH, "bo"),
        [],
        [("characters[0].culture", "'salt_anglo'", "worlds/alpha/cultures/")],
        also=lambda said: said.prompt("Bo") == "Bo: a red scarf, dust",
    ),
    "5-portrait-positive-suffix": Right(
        (*_BOTH, "bo"),
        also=lambda said: (
            said.prompt("Bo") == "Bo: a red scarf, studio plate, plain backdrop"
            and said.prompt("Good Place") == "a mill, dust"
        ),
    ),
    "5-backdrop-dangling": Right((*_BOTH, "bo"), [], [("backdrop_poi", "'good_plaec'", "did you mean good_place?")]),
    "5-draft-world": Right(_BOTH, [], [("world.yaml: draft",)]),
    # of these `seed`, `negative_prompt` and `draft` are ours by now
    "5-entry-keys": Right(("neighbour",), [], [(_ALPHA, "`size`", "`image_prompt`")]),
    "5-todo-with-description": Right(
        ("lamp_yard", "neighbour"),
        [],
        [(f"{_P}[0].visual_prompt", "is a placeholder", "description is used"), ("`visual_prompt.backdrop`",)],
        also=lambda said: said.prompt("Lamp Yard") == "Lamp Yard: A yard of grey stone with one lamp., dust",
    ),
    "5-todo-alone": Right(_BOTH, [(f"{_P}[0].visual_prompt", "nothing but a placeholder")]),
    "5-solo-backdrop": Right(
        ("main_street", "neighbour"),
        [],
        [("`visual_prompt.backdrop`",)],
        also=lambda said: said.prompt("Main Street") == "a dirt street at noon, dust",
    ),
    "5-history-yml": Right(("neighbour",), [], [("worlds/alpha/history.yml", "rename it to history.yaml")]),
    "5-history-upper": Right(("neighbour",), [], [("worlds/alpha/History.yaml", "rename it to history.yaml")]),
    "5-history-subfolder": Right(("neighbour",), [], [("worlds/alpha", "no file that is read", "lore/history.yaml")]),
    "5-portraits-yaml": Right(_BOTH, [], [("portraits.yaml", "rename it to portrait_manifest.yaml")]),
    "5-portrait-manifest-yml": Right(_BOTH, [], [("portrait_manifest.yml", "rename it to portrait_manifest.yaml")]),
    "5-bestiary": Right(
        (*_BOTH, "sump_hound"),
        [],
        [("bestiary.yaml", "`level`", "`tags`", "`threat_level`")],
        also=lambda said: (
            said.prompt("Sump Hound") == "Sump Hound: a lean hound, A hound of the low drains, all ribs., dust"
        ),
    ),
    "5-top-level-places": Right(_BOTH),
    "5-creatures-list": Right((*_BOTH, "hound", "rat"), [], [("creatures.yaml", "`threat_level`")]),
    "5-portraits-list": Right((*_BOTH, "bo")),
    "5-tag-override-mapping": Right(
        (*_BOTH, "old_fort"),
        [],
        [("visual_style.yaml", "`style_note`")],
        also=lambda said: (
            said.prompt("Good Place") == "a mill, heat shimmer over boards, dust"
            and said.prompt("Old Fort") == "a fort, dust"
        ),
    ),
    "5-ignore-keys": Right((*_BOTH, "ila_fenn", "picker_salt_m01"), [], [("Ila Fenn without",)]),
    "8-yaml-tab": Right(("neighbour",), [(_ALPHA, "line 4", "tab", "use spaces")]),
    "8-yaml-colon": Right(("neighbour",), [("line 4", "a colon in a text", 'name: "Barn: the old one"')]),
    "8-yaml-percent": Right(("neighbour",), [("line 5", "begins with %", 'visual_prompt: "%RH barn"')]),
    "8-yaml-at": Right(("neighbour",), [("line 5", "begins with @", 'visual_prompt: "@home barn"')]),
    "8-yaml-nbsp": Right(("neighbour",), [("line 4", "a no-break space")]),
    "8-yaml-template": Right(("neighbour",), [("line 5", "begins with {{", 'visual_prompt: "{{ style }} barn"')]),
    "8-yaml-conflict": Right(("neighbour",), [("line 5", "holds a merge conflict (line 5)")]),
    "8-yaml-lfs": Right(("neighbour",), [("is a Git LFS pointer", "run `git lfs pull`")]),
    "8-suffix-list": Right((), [("visual_style.yaml: positive_suffix", 'write it as one: "film grain, dust"')]),
    "8-prompt-list": Right(("neighbour",), [("visual_prompt", '`visual_prompt: "a barn, at noon"`')]),
    "8-prompt-mapping": Right(("neighbour",), [("visual_prompt.solo", "`solo: …`")]),
    "8-type-list": Right(("neighbour",), [("type", "one type", "`type: town`")]),
    "8-top-level-list": Right(("neighbour",), [("history.yaml", "write `chapters:` above it")]),
    "8-too-long-names-the-file": Right(_BOTH, also=lambda said: said.blocked == ["west/worlds/alpha/poi_images:barn"]),
}


@pytest.mark.parametrize("case", RIGHT)
def test_the_right_answer(tmp_path: Path, shipped: DataDir, case: str) -> None:
    root = build(case, tmp_path / "game", shipped.root)
    said, right = look(root), RIGHT[case]
    planned = sorted(asset.partition(":")[2] for asset in said.planned)
    assert len(planned) == len(right.planned), planned
    for slug, wanted in zip(planned, sorted(right.planned, key=lambda text: text.replace("[", "")), strict=True):
        assert re.fullmatch(wanted, slug), planned
    assert _holds(said.faults, right.faults), said.faults
    assert _holds(said.warnings, right.warnings), said.warnings
    assert right.also(said), said


def test_a_whole_pack_has_one_fault_left_and_each_prompt_its_floor(tmp_path: Path, shipped: DataDir) -> None:
    root = build("5-real-pack", tmp_path / "game", shipped.root)
    said = look(root)
    (fault,) = said.faults
    assert "content/lora/lora/gulch_style.safetensors" in fault
    assert said.planned == []  # they wait for their style
    pictures = {asset.partition(":")[2] for asset in said.blocked if "_images:" in asset}
    assert pictures == {
        "main_street", "rens_pump_house", "old_chapel", "boiler_row", "ila_fenn", "picker_salt_m01", "rattler", "rat",
    }  # fmt: skip
    for name, row in said.prompts.items():
        prompt = row["positive_prompt"]
        assert prompt.startswith("gulch_style, ")
        assert "TODO" not in prompt
        assert "harsh midday sun" in prompt or all(part in prompt for part in (_FIRST_SUFFIX, *_KEPT)), name
    assert len(said.prompts) == len(pictures)
    files = [line.partition(": ")[0] for line in said.warnings if " not read: " in line]
    assert len(files) == len(set(files))  # once a file


def test_a_file_that_is_broken_after_a_run_takes_nothing_away(
    tmp_path: Path, shipped: DataDir, empty_instance: Path
) -> None:
    data = DataDir(build("3-unclosed-quote", tmp_path / "game", shipped.root))
    shutil.copytree(empty_instance, data.dagster_home)
    with open_instance(data) as instance:
        game = Game(data, instance)
        assert {item["poi"] for item in game.run().rendered} == {"good_place", "neighbour"}
        pictures = {path: path.read_bytes() for path in data.packs_root.glob("west/images/poi/*.png")}
        before = {*build_defs(data=data).resolve_asset_graph().get_all_asset_keys()}
        history = cases()["3-unclosed-quote-now"][_ALPHA]
        (data.packs_root / _ALPHA).write_text(history or "")
        plan = game.plan()
        (fault,) = plan["faults"]
        assert "line 4: a quote is opened" in fault
        assert plan["stale"] == []
        _, said = Ticks(game).tick("content")
        assert "gone" not in said
        assert "line 4: a quote is opened" in said
        assert {*build_defs(data=data).resolve_asset_graph().get_all_asset_keys()} == before
        assert game.run().rendered == []
    assert {path: path.read_bytes() for path in pictures} == pictures


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_faults_of_a_plan_are_on_stderr_too(
    tmp_path: Path,
    shipped: DataDir,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
) -> None:
    """8-plan-with-faults, which is 3-one-faulty-entry"""
    root = build("3-one-faulty-entry", tmp_path / "game", shipped.root)
    monkeypatch.setattr(sys, "argv", ["sq-pipeline", "plan", "--data", str(root), *options])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    (line,) = [line for line in said.err.splitlines() if line.startswith("fault: ")]
    assert "history.yaml: chapters[0].points_of_interest[0].name" in line
    if options:
        assert json.loads(said.out)["faults"] == [line.removeprefix("fault: ")]


def test_what_is_blocked_without_a_fault_is_on_stderr(
    tmp_path: Path, shipped: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A prompt that is too long: the exit code is 1, and not without a word."""
    root = build("8-too-long-names-the-file", tmp_path / "game", shipped.root)
    monkeypatch.setattr(sys, "argv", ["sq-pipeline", "plan", "--data", str(root), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert line.startswith("blocked: west/worlds/alpha/poi_images:barn: content/genre_packs/west/worlds/alpha/history")


def test_each_case_is_asked_for_its_answer() -> None:
    of_their_own = {"3-legacy-lora", "3-unclosed-quote", "5-real-pack"}
    assert {*cases()} == {*RIGHT, *of_their_own}


@pytest.mark.parametrize("case", [name for name in cases() if name.startswith(("2-", "3-"))])
def test_the_definitions_load_and_lead_back_to_the_folders(tmp_path: Path, shipped: DataDir, case: str) -> None:
    data = DataDir(build(case, tmp_path / "game", shipped.root))
    graph = build_defs(data=data).resolve_asset_graph()
    keys = graph.get_all_asset_keys()
    assert all(re.fullmatch(r"[A-Za-z0-9_]{1,60}", part) for key in keys for part in key.path)
    assert len({key.to_user_string().casefold() for key in keys}) == len(keys)
    folders = {f"{path.parts[-3]}/{path.name}" for path in data.packs_root.glob("*/worlds/*")}
    shown = {str(graph.get(key).metadata.get("world")) for key in keys if key.path[-1] == "stack"}
    assert folders <= shown
    if case == "2-path-template":  # each has its own place of that name
        pictures = {key.to_user_string() for key in keys if key.path[-1] == "poi_images"}
        assert pictures == {"west/worlds/alpha/poi_images", "west/worlds/beta/poi_images"}


def test_an_older_pack_s_adapter_that_is_not_there_is_one_fault(tmp_path: Path, shipped: DataDir) -> None:
    root = build("3-legacy-lora", tmp_path / "game", shipped.root)
    said = look(root)
    assert said.planned == []
    (fault,) = said.faults
    assert "content/lora/lora/west_style.safetensors" in fault
    assert "content/genre_packs/west/lora/west_style.safetensors" in fault
    assert "take lora_west_style out of the style" in fault


@pytest.mark.parametrize("folder", ["content/lora/lora", "content/genre_packs/west/lora"])
def test_an_older_pack_s_adapter_is_found_where_older_packs_have_it(
    tmp_path: Path, shipped: DataDir, folder: str
) -> None:
    root = build("3-legacy-lora", tmp_path / "game", shipped.root)
    (root / "sq.yaml").write_text("base_model: tiny-flux\npromotion: automatic\n")
    (root / folder).mkdir(parents=True)
    write_odd(root / folder / "west_style.safetensors", kohya(joined()))
    said = look(root)
    assert said.faults == []
    assert sorted(asset.partition(":")[2] for asset in said.planned) == ["good_place", "neighbour"]
