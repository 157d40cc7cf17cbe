"""What `plan` says: which inputs changed, the chain that led there, and the table for a person."""

import json
import os
import shutil
from dataclasses import replace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sq_pipeline.cli import app
from sq_pipeline.cli.pipeline_commands import plan_rows
from sq_pipeline.common.errors import AdapterError
from sq_pipeline.pipeline.adapters import adapter_status, mlx_adapter
from sq_pipeline.pipeline.adapters.adapter_assets import ADAPTER_ASSETS
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.chain import chain_of, follow
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline_tests.pipeline.fast import FastEngines, chapter, lora, poi, write_dataset, write_yaml
from sq_pipeline_tests.pipeline.game import Game

LORAS, WORLD = "west/loras/west_land", "west/worlds/old"
LINE = ("training_dataset", "mlx_adapter", "chosen_checkpoint", "mflux_adapter", "verification", "promoted_adapter")

OLD_STACK = {f"{WORLD}/stack", *(f"{WORLD}/poi_images:{slug}" for slug in ("mill", "mine", "inn")), f"{WORLD}/gallery"}


def stale(game: Game) -> dict[str, dict[str, Any]]:
    return {item["asset"]: item for item in game.plan()["stale"]}


def edit_keymap(game: Game, change: str, to: str) -> None:
    folder = game.data.keymaps_root
    shipped = folder.resolve()
    folder.unlink()  # a link to the shipped ones
    shutil.copytree(shipped, folder)
    path = folder / "mlx-to-mflux.yaml"
    text = path.read_text()
    assert change in text
    path.write_text(text.replace(change, to))


CHANGES: list[tuple[str, dict[str, Any], str, list[str]]] = [
    ("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", "a view of a burnt mill"), poi("Mine"), poi("Inn"))]},
     f"{WORLD}/poi_images:mill", ["positive_prompt: west, a view of [Mill → a burnt mill], wide"]),
    ("visual_style.yaml", {"positive_suffix": "very wide"},
     f"{WORLD}/poi_images:mine", ["positive_prompt: west, a view of Mine, [+ very] wide"]),
    ("visual_style.yaml", {"loras": [lora("west_land", "west/landscape", trigger="west", scale=0.5)]},
     f"{WORLD}/poi_images:inn", ["stack[0] scale: 1.0 → 0.5"]),
    ("visual_style.yaml", {"loras": [lora("west_land", "west/landscape", trigger="wild", scale=1.0)]},
     f"{LORAS}/verification", ["trigger: west → wild"]),
    ("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill"), poi("Mine"), poi("Inn"), poi("Saloon"))]},
     f"{WORLD}/poi_images:saloon", ["never made"]),
]  # fmt: skip


@pytest.mark.parametrize(("file", "change", "asset", "reasons"), CHANGES)
def test_the_inputs_that_changed(done: Game, file: str, change: dict[str, Any], asset: str, reasons: list[str]) -> None:
    done.edit(file, change)
    assert stale(done)[asset]["reasons"] == reasons


def test_a_changed_picture_of_a_dataset_leads_to_all_that_hangs_on_it(done: Game) -> None:
    folder = done.data.datasets_root / "west/landscape"
    for suffix in ("png", "txt"):
        shutil.copy(folder / f"0.{suffix}", folder / f"3.{suffix}")
    (folder / "1.txt").write_text("west \n")
    found = stale(done)
    why = ["files.1.txt: changed", "files.3.png: added", "files.3.txt: added"]
    first = f"{LORAS}/training_dataset"
    assert (found[first]["status"], found[first]["reasons"], found[first]["chain"]) == ("stale", why, [])
    told = f"({why[0]}; {why[1]}; and 1 more)"
    line = [f"{LORAS}/{name}" for name in reversed(LINE)]
    for place, name in enumerate(LINE[1:], 1):
        item = found[f"{LORAS}/{name}"]
        assert (item["status"], item["chain"]) == ("pending", line[len(LINE) - place :])
    assert found[f"{LORAS}/mlx_adapter"]["reasons"] == [f"because {first} {told}"]
    whole = " ← ".join(reversed(LINE))
    assert found[f"{WORLD}/stack"]["reasons"] == [f"because {LORAS}/{whole} {told}"]
    mill = found[f"{WORLD}/poi_images:mill"]
    assert mill["chain"] == [f"{WORLD}/stack", *line]
    assert mill["reasons"] == [f"because {WORLD}/stack ← {LORAS}/{whole} {told}"]
    gallery = found[f"{WORLD}/gallery"]
    assert gallery["chain"] == [f"{WORLD}/poi_images:mill", *mill["chain"]]
    assert gallery["reasons"] == [f"because {WORLD}/poi_images:mill ← stack ← {LORAS}/{whole} {told}", "and 2 more"]
    assert set(found) == {*line, *OLD_STACK}


def test_a_chain_ends_where_the_store_holds_what_is_needed(done: Game) -> None:
    done.edit("visual_style.yaml", {"loras": [lora("west_land", "west/landscape", trigger="west", scale=0.5)]})
    found = stale(done)
    assert set(found) == OLD_STACK
    assert found[f"{WORLD}/stack"]["reasons"] == ["adapters[0] scale: 1.0 → 0.5"]
    assert found[f"{WORLD}/poi_images:mill"]["chain"] == [f"{WORLD}/stack"]
    assert found[f"{WORLD}/gallery"]["reasons"][0] == (
        f"because {WORLD}/poi_images:mill ← stack (adapters[0] scale: 1.0 → 0.5)"
    )


def test_a_picture_with_another_prompt_follows_it(done: Game) -> None:
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", "x"), poi("Mine"), poi("Inn"))]})
    found = stale(done)
    assert found[f"{WORLD}/prompts:mill"]["chain"] == []
    assert found[f"{WORLD}/poi_images:mill"]["chain"] == [f"{WORLD}/prompts:mill"]
    assert found[f"{WORLD}/gallery"]["reasons"] == [
        f"because {WORLD}/poi_images:mill ← prompts:mill (positive_prompt: west, [a view of Mill → x], wide)"
    ]


def test_every_adapter_that_a_stack_waits_for_is_named(done: Game) -> None:
    entries = [
        lora("west_land", "west/landscape", trigger="west"),
        lora("other", "west/other/landscape", trigger="west"),
    ]
    done.edit("visual_style.yaml", {"loras": entries})
    write_dataset(done.data.datasets_root / "west/worlds/other/landscape", "west", 5)
    write_dataset(done.data.datasets_root / "west/landscape", "west", 6, count=4)
    stack = stale(done)[f"{WORLD}/stack"]
    assert len(stack["reasons"]) == 2
    assert stack["reasons"][0].startswith(f"because {LORAS}/promoted_adapter ← verification")
    assert stack["reasons"][1].endswith("training_dataset (never made)")


def test_a_stack_is_blocked_by_the_adapter_that_cannot_be_made() -> None:
    pending, broken = Step("w/loras/a/x", "x", "stale", reasons=("never made",)), Step("w/loras/b/x", "x", "blocked")
    assert [follow(steps, "w/worlds/v/stack", "stack").status for steps in ([pending], [pending, broken])] == [
        "pending",
        "blocked",
    ]
    assert chain_of(follow([pending, broken], "w/worlds/v/stack", "stack")) == ("w/loras/b/x",)


def test_a_changed_rule_is_shown_old_and_new(done: Game) -> None:
    edit_keymap(done, r"lora_unet_double_blocks_\1_img_attn_qkv", r"lora_net_double_blocks_\1_img_attn_qkv")
    found = stale(done)
    old, new = (rf"lora_{net}_double_blocks_\1_img_attn_qkv.lora_down.weight" for net in ("unet", "net"))
    assert found[f"{LORAS}/mflux_adapter"]["reasons"][0] == (
        rf"keymap.double_blocks\.(\d+)\.img_attn\.qkv\.lora_a: [{old} → {new}] (transposed)"
    )
    assert len(found[f"{LORAS}/mflux_adapter"]["reasons"]) == 2
    assert found[f"{LORAS}/verification"]["chain"] == [f"{LORAS}/mflux_adapter"]
    assert f"{LORAS}/mlx_adapter" not in found


def test_an_alpha_is_a_rule_too(done: Game) -> None:
    edit_keymap(done, "loader: mflux\n", "loader: mflux\nalpha: always\n")
    assert stale(done)[f"{LORAS}/mflux_adapter"]["reasons"] == ["keymap.alpha: where_needed → always"]


def test_what_is_no_rule_of_a_keymap_changes_nothing(done: Game) -> None:
    edit_keymap(done, "rules:\n", "# a comment\nrules:  # and one more\n")
    path = done.data.keymaps_root / "mlx-to-mflux.yaml"
    values = yaml.safe_load(path.read_text())
    rules = [dict(reversed(rule.items())) for rule in reversed(values["rules"])]
    for changed in ({**values, "rules": rules}, {**values, "name": "mine", "version": 7, "description": "other"}):
        write_yaml(path, changed)
        assert done.plan()["stale"] == []


def test_what_cannot_be_made_names_the_fault_at_the_root(done: Game) -> None:
    (done.data.datasets_root / "west/landscape/lora.yaml").write_text("iteratoins: 5\n")
    blocked = {item["asset"]: item for item in done.plan()["blocked"]}
    first = blocked[f"{LORAS}/training_dataset"]
    assert first["chain"] == []
    assert "did you mean `iterations`?" in first["reasons"][0]
    last = blocked[f"{LORAS}/promoted_adapter"]
    assert last["chain"] == [f"{LORAS}/{name}" for name in reversed(LINE[:-1])]
    assert "did you mean `iterations`?" in last["reasons"][0]


def test_a_person_who_is_waited_for_is_at_the_root(game: Game) -> None:
    write_yaml(game.data.settings_file, {"promotion": "manual", "thresholds": {"ssim_trigger_max": 1.0}})
    game.run()
    blocked = {item["asset"]: item for item in game.plan()["blocked"]}
    picture = blocked[f"{WORLD}/poi_images:mill"]
    assert picture["chain"] == [f"{WORLD}/stack", f"{LORAS}/promoted_adapter"]
    assert "sq-pipeline adapter promote west_land --by WHO" in picture["reasons"][0]


def test_the_first_plan_of_all_names_what_was_never_made(game: Game) -> None:
    found = stale(game)
    assert found[f"{LORAS}/training_dataset"]["reasons"] == ["never made"]
    for asset, item in found.items():
        assert item["reasons"], asset
        assert (item["chain"] == []) == (item["status"] == "stale"), asset
        assert all(step in found for step in item["chain"])


def test_a_plan_opens_no_engine(done: Game) -> None:
    def refuse(*_: object) -> Any:
        raise AssertionError("a plan loads no model")

    engines = replace(done.engines(done.data), trainer=refuse, renderer=refuse)
    done.edit("visual_style.yaml", {"positive_suffix": "very wide"})
    write_dataset(done.data.datasets_root / "west/landscape", "west", 9)
    assert make_plan(Context(done.data, engines), None).as_json()["stale"]


@pytest.mark.parametrize("place", [1, 6])
def test_an_asset_waits_for_what_it_is_made_from_alone(game: Game, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """Not for its neighbours in the table: Dagster makes it as soon as its own upstream is there."""
    context = Context(game.data, game.engines(game.data))
    adapter = context.adapter("west_land")
    make_adapter_asset(context, adapter, "training_dataset")
    leaf = replace(mlx_adapter.ASSET, name="leaf")
    kinds = list(ADAPTER_ASSETS.values())
    monkeypatch.setattr(adapter_status, "assets_of", lambda _: [*kinds[:place], leaf, *kinds[place:]])
    steps = adapter_status.adapter_steps_of(context, adapter)
    assert {name for name, step in steps.items() if step.status == "stale"} == {"leaf", "mlx_adapter"}
    assert chain_of(steps["promoted_adapter"]) == tuple(f"{LORAS}/{name}" for name in reversed(LINE[1:-1]))


def test_making_a_step_out_of_turn_says_what_comes_first(game: Game) -> None:
    context = Context(game.data, game.engines(game.data))
    with pytest.raises(AdapterError) as caught:
        make_adapter_asset(context, context.adapter("west_land"), "mflux_adapter")
    assert str(caught.value) == (
        f"{LORAS}/mflux_adapter: cannot be made yet, because {LORAS}/chosen_checkpoint ← mlx_adapter "
        "← training_dataset (never made)"
    )


# The table


def rows(game: Game) -> dict[str, str]:
    return dict(plan_rows(game.plan()["stale"]))


def test_pictures_with_one_reason_are_one_row(done: Game) -> None:
    write_dataset(done.data.datasets_root / "west/landscape", "west", 9)
    found = rows(done)
    assert found[f"{WORLD}/poi_images: mill, mine, inn (3)"].startswith(f"because {WORLD}/stack ← ")
    assert len(found) == len(LINE) + 3


def test_one_change_in_many_prompts_is_one_row_without_what_differs(done: Game) -> None:
    done.edit("visual_style.yaml", {"positive_suffix": "very wide", "base_seed": 7})
    found = rows(done)
    assert found[f"{WORLD}/poi_images: mill, mine, inn (3)"] == "positive_prompt: … [+ very] …\nseed: changed"
    assert found["west/worlds/paper/poi_images: gate, dock (2)"]


def test_different_changes_keep_their_rows(done: Game) -> None:
    pois = [poi("Mill", "a view of a mill"), poi("Mine", "a view of a mine"), poi("Inn")]
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(*pois)]})
    found = rows(done)
    assert found[f"{WORLD}/poi_images:mill"] == "positive_prompt: west, a view of [Mill → a mill], wide"
    assert found[f"{WORLD}/poi_images:mine"] == "positive_prompt: west, a view of [Mine → a mine], wide"


def test_many_names_are_counted() -> None:
    items = [
        {"asset": f"g/worlds/w/poi_images:{number}", "status": "stale", "reasons": ["never made"]}
        for number in range(200)
    ]
    assert plan_rows(items) == [("g/worlds/w/poi_images: 0, 1, 2, 3, 4, 5 … and 194 more", "never made")]


def test_only_what_belongs_together_is_put_together() -> None:
    def item(asset: str, status: str = "stale", reason: str = "never made") -> dict[str, Any]:
        return {"asset": asset, "status": status, "reasons": [reason]}

    items = [
        item("g/worlds/w/poi_images:a"),
        item("g/worlds/w/prompts:a"),
        item("g/worlds/v/poi_images:a"),
        item("g/worlds/w/poi_images:b", reason="seed: 1 → 2"),
        item("g/worlds/w/poi_images:c", "pending"),
        item("g/worlds/w/stack"),
    ]
    assert plan_rows(items) == [(entry["asset"], entry["reasons"][0]) for entry in items]


def test_the_command_prints_the_table(done: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sq_pipeline.wiring.real_engines", FastEngines())
    monkeypatch.setenv("COLUMNS", "200")
    done.edit("visual_style.yaml", {"positive_suffix": "very wide"})
    answer = CliRunner().invoke(app, ["plan", "--data", os.fspath(done.data.root)])
    assert answer.exit_code == 0
    assert f"{WORLD}/poi_images: mill, mine, inn (3)" in answer.output
    assert "positive_prompt: … [+ very] …" in answer.output
    assert "12 stale, " in answer.output


@pytest.mark.parametrize("is_json", [True, False])
def test_the_command_ends_with_1_where_something_is_at_fault(
    is_json: bool, done: Game, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sq_pipeline.wiring.real_engines", FastEngines())
    arguments = ["plan", "--data", os.fspath(done.data.root), *(["--json"] if is_json else [])]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    (done.data.world_root("west", "old") / "history.yaml").write_text("chapters: {}\n")
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 1
    assert "worlds/old/history.yaml: chapters: is a mapping" in answer.stderr
    if is_json:
        assert json.loads(answer.stdout)["faults"]


def test_a_promotion_that_waits_is_no_fault(done: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sq_pipeline.wiring.real_engines", FastEngines())
    retouched = done.data.published_image("west", "landscape", "mill")
    retouched.write_text("a person's")
    answer = CliRunner().invoke(app, ["plan", "--json", "--data", os.fspath(done.data.root)])
    assert (answer.exit_code, json.loads(answer.stdout)["blocked"][0]["status"]) == (0, "waiting")
