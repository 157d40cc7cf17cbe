"""Tests of a world's adapters from elsewhere: a strength that is stated is used, told, or stops the file, by `plan`.

The rows named as in the table of cases are built by its recipe; the others are their brothers.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.adapters.source import open_adapter
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pipeline.adapters.facts import reading_keymap_of
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline_tests.adapters.files import save
from sq_pipeline_tests.cases.adapters import joined, kohya, peft, split, trained_apart, write_odd, write_peft_folder
from sq_pipeline_tests.pipeline.fast import FastEngines, chapter, lora, poi, write_yaml

MODEL = "peft/adapter_model"


def pack(data: DataDir, file: str = "own", **entry: Any) -> None:
    """A genre of one place, with one adapter from elsewhere."""
    write_yaml(data.settings_file, {"base_model": "tiny-flux", "promotion": "automatic"})
    loras = [lora("own_style", f"west/{file}", **entry)]
    write_yaml(data.genre_root("west") / "visual_style.yaml", {"positive_suffix": "dust", "loras": loras})
    write_yaml(data.genre_root("west") / "worlds/alpha/history.yaml", {"chapters": [chapter(poi("Mill"))]})


def context_of(data: DataDir) -> Context:
    return Context(data, FastEngines()(data))


def plan_of(data: DataDir) -> dict[str, Any]:
    return make_plan(context_of(data), None).as_json()


def own(data: DataDir) -> Path:
    return data.lora_root / "west/own.safetensors"


# the scale of an entry


@pytest.fixture
def sound(data: DataDir) -> DataDir:
    (data.lora_root / "west").mkdir(parents=True)
    save(own(data), kohya(joined()))
    return data


@pytest.mark.parametrize(
    "scale",
    [0, -0.0, 1e6, -11.0, 10.001],
    ids=["9-scale-zero", "9-scale-minus-zero", "9-scale-million", "minus eleven", "above ten"],
)
def test_a_scale_that_nobody_means_is_a_fault_and_nothing_is_planned(sound: DataDir, scale: float):
    pack(sound, scale=scale)
    plan = plan_of(sound)
    assert [fault.split(": is ")[0] for fault in plan["faults"]] == [
        "content/genre_packs/west/visual_style.yaml: loras[0].scale"
    ]
    assert plan["stale"] == []


@pytest.mark.parametrize(
    "scale", [3.0, -1.0, 10, -10.0, 2.001], ids=["9-scale-three", "9-scale-minus-one", "ten", "minus ten", "above two"]
)
def test_a_scale_that_is_odd_is_one_warning_and_planned(sound: DataDir, scale: float):
    pack(sound, scale=scale)
    plan = plan_of(sound)
    (warning,) = plan["warnings"]
    assert warning.startswith(f"content/genre_packs/west/visual_style.yaml: loras[0].scale: is {scale:g}: ")
    assert plan["faults"] == []
    assert plan["stale"]


@pytest.mark.parametrize("scale", [0.25, 1, 2, 0.001], ids=["9-scale-quarter", "one", "two", "a thousandth"])
def test_other_scales_are_planned_without_a_word(sound: DataDir, scale: float):
    pack(sound, scale=scale)
    plan = plan_of(sound)
    assert (plan["faults"], plan["warnings"], plan["blocked"]) == ([], [], [])


def test_the_older_form_of_a_scale_is_held_to_the_same(sound: DataDir):
    pack(sound)
    style = {"lora": "west/own.safetensors", "lora_scale": 3}
    write_yaml(sound.genre_root("west") / "visual_style.yaml", style)
    assert [warning for warning in plan_of(sound)["warnings"] if "lora_scale: is 3" in warning]
    write_yaml(sound.genre_root("west") / "visual_style.yaml", {**style, "lora_scale": 0})
    assert [fault for fault in plan_of(sound)["faults"] if "lora_scale: is 0" in fault]


# the file


STOPPED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "9-stack-shard": (
        "adapter-00001-of-00002",
        lambda folder: save(folder / "adapter-00001-of-00002.safetensors", kohya(joined())),
        "is part 1 of 2 of an adapter; the rest is in adapter-00002-of-00002.safetensors",
    ),
    "8-stack-fp8-one-line": (
        "own",
        lambda folder: write_odd(folder / "own.safetensors", kohya(joined(), dtype="F8_E4M3")),
        "64 tensors are F8_E4M3, which no target here holds",
    ),
    "a strength that only a person knows": (
        "own",
        lambda folder: save(
            folder / "own.safetensors",
            kohya(joined(), has_alpha=False),
            {"ss_network_alpha": "1", "ss_network_dim": "2"},
        ),
        "west/own.safetensors OUT --target mflux --missing-alpha stated` for alpha 1 (scale 0.5)",
    ),
    "parts, and nobody says how": (
        "own",
        lambda folder: save(folder / "own.safetensors", trained_apart()),
        "--target mflux --split-qkv yes` if it is (scale 1)",
    ),
    "a text encoder besides": (
        "own",
        lambda folder: save(
            folder / "own.safetensors",
            kohya(joined())
            | kohya({f"layers.{i}": next(iter(joined().values())) for i in range(4)}, prefix="lora_te1_"),
        ),
        "4 modules are of a text encoder",
    ),
    "a configuration that contradicts": (
        MODEL,
        lambda folder: write_peft_folder(folder / "peft", {"r": 16}),
        "adapter_config.json says rank 16 (r), the file has rank 4",
    ),
}


@pytest.mark.parametrize("case", STOPPED)
def test_what_a_remap_would_refuse_is_blocked_in_one_line_before_anything_is_verified(data: DataDir, case: str):
    file, build, problem = STOPPED[case]
    (data.lora_root / "west").mkdir(parents=True)
    build(data.lora_root / "west")
    pack(data, file)
    blocked = {item["asset"]: item["reasons"] for item in plan_of(data)["blocked"]}
    (reason,) = blocked["west/loras/own_style/mflux_adapter"]
    assert reason.startswith(f"content/lora/west/{file}.safetensors: ")
    assert problem in reason
    if "OUT" not in reason:
        assert len(reason.replace(str(data.root), "")) <= 300


TOLD: dict[str, tuple[str, Callable[[Path], object], bool, float, str]] = {
    "9-stack-peft-folder": (
        MODEL,
        lambda folder: write_peft_folder(folder / "peft"),
        True,
        4.0,
        "scale 4 in 52 modules is from adapter_config.json",
    ),
    "9-stack-alpha-8-times": (
        "own",
        lambda folder: save(folder / "own.safetensors", kohya(joined(), 16.0)),
        False,
        8.0,
        "runs at 8 times its matrices",
    ),
    "an alpha in the metadata": (
        "own",
        lambda folder: save(folder / "own.safetensors", peft(split(rank=4)), {"lora_alpha": "2", "r": "4"}),
        True,
        0.5,
        "scale 0.5 in 52 modules is from metadata lora_alpha",
    ),
    "parts that were trained apart": (
        "own",
        lambda folder: save(folder / "own.safetensors", trained_apart(), {"ss_network_args": '{"split_qkv": "True"}'}),
        True,
        1.0,
        "8 modules were trained in parts (split_qkv",
    ),
    "a negative alpha": (
        "own",
        lambda folder: save(folder / "own.safetensors", kohya(joined(), -2.0)),
        False,
        -1.0,
        "a negative scale",
    ),
    "metadata of another model": (
        "own",
        lambda folder: save(folder / "own.safetensors", kohya(joined()), {"ss_base_model_version": "sdxl_base_v1-0"}),
        False,
        1.0,
        "metadata ss_base_model_version says sdxl",
    ),
    "names that mflux does not know": (
        "own",
        lambda folder: save(folder / "own.safetensors", peft(joined(), "diffusion_model.")),
        True,
        1.0,
        "",
    ),
    "good": ("own", lambda folder: save(folder / "own.safetensors", kohya(joined())), False, 1.0, ""),
}


@pytest.mark.parametrize("case", TOLD)
def test_a_strength_of_a_file_is_told_once_and_is_what_mflux_gets(data: DataDir, case: str):
    file, build, is_remapped, scale, told = TOLD[case]
    (data.lora_root / "west").mkdir(parents=True)
    build(data.lora_root / "west")
    pack(data, file)
    plan = plan_of(data)
    assert (plan["blocked"], plan["faults"]) == ([], [])
    assert [warning.split(": ")[0] for warning in plan["warnings"]] == [f"content/lora/west/{file}.safetensors"] * bool(
        told
    )
    assert all(told in warning for warning in plan["warnings"])
    context = context_of(data)
    adapter = context.catalog.adapters["west/own_style"]
    assert (reading_keymap_of(context, adapter) is not None) is is_remapped
    record, _ = make_adapter_asset(context, adapter, "mflux_adapter")
    written = open_adapter(context.adapter_file(record.objects["adapter"]))
    assert {round(patch.scale, 6) for patch in written.patches.values()} == {scale}


def test_an_edited_configuration_makes_the_adapter_stale(data: DataDir):
    folder = write_peft_folder(data.lora_root / "west/peft")
    pack(data, MODEL)
    context = context_of(data)
    make_adapter_asset(context, context.catalog.adapters["west/own_style"], "mflux_adapter")
    asset = "west/loras/own_style/mflux_adapter"
    assert asset not in {item["asset"] for item in plan_of(data)["stale"]}
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 8}))
    assert asset in {item["asset"] for item in plan_of(data)["stale"]}


def test_a_file_with_another_suffix_says_what_to_do(data: DataDir):
    pack(data)
    path = data.genre_root("west") / "visual_style.yaml"
    path.write_text(path.read_text().replace("own.safetensors", "own.sft"))
    (fault,) = plan_of(data)["faults"]
    assert fault.endswith("rename it to .safetensors")
