"""Tests of keymaps: what is shipped, every way a keymap can be wrong, its hash, and the choice by target and version.

Applying a keymap to a file is tested in test_remap.
"""

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.adapters import keymap_files
from sq_pipeline.adapters.keymap import KeymapRule
from sq_pipeline.adapters.keymap_files import insist_on_range, load_keymap, select_keymap, select_reading_keymap
from sq_pipeline.base_models.flux_modules import sample_keys
from sq_pipeline.common.errors import ContentError, KeymapError
from sq_pipeline.common.strict_yaml import parse_mapping
from sq_pipeline_tests.adapters.files import KEYMAPS

SHIPPED = sorted(path.name for path in KEYMAPS.glob("*.yaml"))
WRITING = ["mlx-to-diffusers", "mlx-to-kohya", "mlx-to-mflux", "mlx-to-mflux-before-0.19", "mlx-to-mlx"]
DIALECTS = "bfl diffusers kohya mflux mflux-before-0.19 mlx onetrainer onetrainer-omi xlabs".split()


def values_of(name: str = "mlx-to-mflux.yaml") -> dict[str, Any]:
    return yaml.safe_load((KEYMAPS / name).read_text())


def save_keymap(path: Path, values: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


# What is shipped


def test_there_is_a_keymap_for_each_target_and_one_for_each_dialect():
    reading = [f"{dialect}-to-mlx" for dialect in DIALECTS]
    assert sorted(f"{name}.yaml" for name in {*reading, *WRITING}) == SHIPPED
    assert [select_reading_keymap(KEYMAPS, dialect).name for dialect in DIALECTS] == reading


@pytest.mark.parametrize("name", WRITING)
def test_a_shipped_keymap_writes_each_kind_of_key(name: str):
    keymap = load_keymap(KEYMAPS / f"{name}.yaml")
    assert keymap.name == name
    targets = [renamed.target for block in range(38) for key in sample_keys(block) for renamed in keymap.rename(key)]
    assert len(targets) == len(set(targets))
    assert len(targets) == 38 * (40 if name in ("mlx-to-diffusers", "mlx-to-mflux-before-0.19") else 26)
    turned = {renamed.is_transposed for key in sample_keys(3) for renamed in keymap.rename(key)}
    assert turned == {name != "mlx-to-mlx"}


@pytest.mark.parametrize("name", [name for name in WRITING if name not in ("mlx-to-kohya", "mlx-to-mlx")])
def test_a_keymap_for_parts_writes_each_part_where_the_whole_would_put_it(name: str):
    keymap = load_keymap(KEYMAPS / f"{name}.yaml")
    for module, parts in (
        ("double_blocks.7.img_attn.qkv", "qkv"),
        ("double_blocks.7.txt_attn.qkv", "qkv"),
        ("single_blocks.12.linear1", ("q", "k", "v", "mlp")),
    ):
        for matrix in ("lora_a", "lora_b"):
            names = [r.target for part in parts for r in keymap.rename(f"{module}.{part}.{matrix}")]
            assert len(set(names)) == len(parts)
            if name != "mlx-to-mflux":  # which has the whole under one name, and the parts under diffusers'
                assert names == [renamed.target for renamed in keymap.rename(f"{module}.{matrix}")]


@pytest.mark.parametrize("name", WRITING)
def test_what_a_shipped_keymap_writes_is_read_back_as_it_was(name: str):
    keymap = load_keymap(KEYMAPS / f"{name}.yaml")
    dialect = name.removeprefix("mlx-to-")
    reader = select_reading_keymap(KEYMAPS, "mflux" if dialect.startswith("mflux") else dialect)
    for key in sample_keys(12):
        for renamed in keymap.rename(key):
            (back,) = reader.rename(renamed.target)
            module, _, matrix = key.rpartition(".")
            assert back.target.rpartition(".")[2] == matrix
            assert back.target.startswith(f"{module}.")
            assert back.is_transposed == renamed.is_transposed


@pytest.mark.parametrize(
    "key",
    [
        "double_blocks.0.img_attn.qkv.lora_c",
        "double_blocks.0.img_attn.qkv.lora_a.weight",
        "model.double_blocks.0.img_attn.qkv.lora_a",
        "double_blocks.x.img_attn.qkv.lora_a",
        "double_blocks.٣.img_attn.qkv.lora_a",
        "double_blocks.0.img_attn.qkv.lora_a\n",
        "double_blocks.0.img_attn_qkv.lora_a",
        "img_in.lora_a",
        "",
    ],
)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_keymap_renames_nothing_else(name: str, key: str):
    assert load_keymap(KEYMAPS / name).rename(key) == ()


def test_a_tiled_down_matrix_is_one_piece_for_each_part():
    keymap = select_reading_keymap(KEYMAPS, "mflux-before-0.19")
    downs = keymap.rename("lora_unet_single_blocks_3_linear1.lora_down.weight")
    ups = keymap.rename("lora_unet_single_blocks_3_linear1.lora_up.weight")
    assert [(down.target, down.tile, down.share) for down in downs] == [
        (f"single_blocks.3.linear1.{part}.lora_a", (index, 4), None)
        for index, part in enumerate(("q", "k", "v", "mlp"))
    ]
    assert [(up.tile, up.share) for up in ups] == [(None, s) for s in ((0, 1, 7), (1, 2, 7), (2, 3, 7), (3, 7, 7))]


# Every way to be wrong

Edit = Callable[[dict[str, Any]], Any]


def rule_for(values: dict[str, Any], key: str) -> dict[str, Any]:
    return next(rule for rule in values["rules"] if re.fullmatch(rule["pattern"], key))


def swap_targets(values: dict[str, Any]) -> None:
    one, two = (rule_for(values, f"double_blocks.0.{part}.lora_a") for part in ("img_attn.qkv", "txt_attn.qkv"))
    one["target"], two["target"] = two["target"], one["target"]


QKV_A = "double_blocks.0.img_attn.qkv.lora_a"
QKV_B = "double_blocks.0.img_attn.qkv.lora_b"

WRONG: dict[str, tuple[str, Edit, list[str]]] = {
    # keymap, edit, what each line of the error says
    "a rule missing": (
        "mlx-to-mflux.yaml",
        lambda v: v["rules"].pop(0),
        ["rules: no rule matches double_blocks.N.img_attn.qkv.lora_a; add a rule for it"],
    ),
    "rules for single blocks missing": (
        "mlx-to-kohya.yaml",
        lambda v: v.update(rules=[rule for rule in v["rules"] if "double" in rule["pattern"]]),
        [
            f"rules: no rule matches single_blocks.N.{module}.lora_{matrix}"
            for module in ("linear1", "linear2", "modulation.lin")
            for matrix in "ab"
        ],
    ),
    "two rules for one key": (
        "mlx-to-mflux.yaml",
        lambda v: v["rules"].append({**v["rules"][3], "target": r"other_\1"}),
        ["rules: rules[3], rules[34] all match double_blocks.N.img_attn.proj.lora_b; leave one of them"],
    ),
    "a pattern for one digit only": (
        "mlx-to-mflux.yaml",
        lambda v: v["rules"][0].update(pattern=v["rules"][0]["pattern"].replace(r"(\d+)", r"(\d)")),
        ["rules: no rule matches double_blocks.N.img_attn.qkv.lora_a"],
    ),
    "two keys to one target": (
        "mlx-to-mflux.yaml",
        lambda v: v["rules"][2].update(target=v["rules"][0]["target"]),
        [
            "double_blocks.N.img_attn.proj.lora_a and double_blocks.N.img_attn.qkv.lora_a both become "
            "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight; give each its own target",
            "double_blocks.N.img_attn.proj.lora_b goes to lora_unet_double_blocks_0_img_attn_proj, its partner to "
            "lora_unet_double_blocks_0_img_attn_qkv",
        ],
    ),
    "a target without the block": (
        "mlx-to-mflux.yaml",
        lambda v: [rule.update(target=rule["target"].replace(r"_\1_", "_0_")) for rule in v["rules"][:2]],
        [
            "double_blocks.N.img_attn.qkv.lora_a and double_blocks.N.img_attn.qkv.lora_a both become",
            "double_blocks.N.img_attn.qkv.lora_b and double_blocks.N.img_attn.qkv.lora_b both become",
        ],
    ),
    "targets swapped": (
        "mlx-to-mflux.yaml",
        swap_targets,
        ["double_blocks.N.img_attn.qkv.lora_b goes to", "double_blocks.N.txt_attn.qkv.lora_b goes to"],
    ),
    "a bad regex": (
        "mlx-to-mflux.yaml",
        lambda v: v["rules"][4].update(pattern=r"double_blocks\.(\d+"),
        [r"rules[4].pattern: 'double_blocks\\.(\\d+' is no regular expression (missing ), unterminated subpattern"],
    ),
    "a regex with contradicting flags": (
        "mlx-to-mflux.yaml",
        lambda v: v["rules"][4].update(pattern="(?u)x"),
        ["rules[4].pattern: '(?u)x' is no regular expression"],
    ),
    "a group that is not there": (
        "mlx-to-mflux.yaml",
        lambda v: v["rules"][4].update(target=r"lora_unet_\2"),
        [r"rules[4].target: 'lora_unet_\\2' cannot be filled in from the pattern (invalid group reference 2"],
    ),
    "a named group that is not there": (
        "mlx-to-mflux.yaml",
        lambda v: v["rules"][4].update(target=r"lora_unet_\g<block>"),
        [r"rules[4].target: 'lora_unet_\\g<block>' cannot be filled in from the pattern"],
    ),
    "a bad escape in a target": (
        "mlx-to-mflux.yaml",
        lambda v: v["rules"][4].update(target=r"lora_unet_\q"),
        [r"rules[4].target: 'lora_unet_\\q' cannot be filled in from the pattern (bad escape \q"],
    ),
    "several at once": (
        "mlx-to-mflux.yaml",
        lambda v: (v["rules"][4].update(target=r"\3"), v["rules"][9].update(pattern="[")),
        ["rules[4].target: ", "rules[9].pattern: '[' is no regular expression"],
    ),
    "an unknown field": (
        "mlx-to-mflux.yaml",
        lambda v: v.update(loader_version=">=0.19"),
        ["loader_version: unknown key; `loader_versions` is there already; remove this one"],
    ),
    "an unknown field in a rule": (
        "mlx-to-mflux.yaml",
        lambda v: v["rules"][1].update(replicate=3),
        ["rules[1].replicate: unknown key; remove it"],
    ),
    "a field missing": (
        "mlx-to-mflux.yaml",
        lambda v: [v.pop("name"), v["rules"][1].pop("transpose")],
        ["name: is missing; add it", "rules[1].transpose: is missing; add it"],
    ),
    "no rules": ("mlx-to-mflux.yaml", lambda v: v.update(rules=[]), ["rules: "]),
    "no target": ("mlx-to-mflux.yaml", lambda v: v["rules"][0].update(target=[]), ["rules[0].target: "]),
    "an empty target": ("mlx-to-mflux.yaml", lambda v: v["rules"][0].update(target=""), ["rules[0].target[0]: "]),
    "an unknown target dialect": ("mlx-to-mflux.yaml", lambda v: v.update(target="comfy"), ["target: "]),
    "an unknown source": ("mlx-to-mflux.yaml", lambda v: v.update(source="comfy"), ["source: "]),
    "neither end the internal form": (
        "mlx-to-mflux.yaml",
        lambda v: v.update(source="kohya"),
        ["source: from kohya to mflux: neither is mlx, the internal form; write one keymap for each way"],
    ),
    "tiles in a file that is written": (
        "mlx-to-mflux.yaml",
        lambda v: v["rules"][0].update(tile=True),
        ["rules[0].tile: is for reading: no loader of today wants a tiled file; take it away"],
    ),
    "a part without a rule": (
        "mlx-to-diffusers.yaml",
        lambda v: v["rules"][-1].update(pattern=r"single_blocks\.(\d+)\.linear2\.mlp\.lora_b"),
        ["rules: no rule matches single_blocks.N.linear1.mlp.lora_b; add a rule for it"],
    ),
    "a part at another's place": (
        "mlx-to-diffusers.yaml",
        lambda v: [rule.update(target=rule["target"].replace("proj_mlp", "attn.to_k")) for rule in v["rules"][-2:]],
        [
            "single_blocks.N.linear1.mlp.lora_a and single_blocks.N.linear1.k.lora_a both become",
            "single_blocks.N.linear1.mlp.lora_b and single_blocks.N.linear1.k.lora_b both become",
        ],
    ),
    "an ending that the internal form has not": (
        "kohya-to-mlx.yaml",
        lambda v: v["endings"].update({"dora_scale": "magnitude"}),
        ["endings: 'magnitude' is none of the internal form's; use lora_a, lora_b, alpha"],
    ),
    "a module that FLUX.1 has not": (
        "kohya-to-mlx.yaml",
        lambda v: v["rules"][0].update(target=r"double_blocks.\1.\2_attn.qvk"),
        [r"rules[0].target: 'double_blocks.\\1.\\2_attn.qvk' is no module of FLUX.1's blocks, nor a part of one"],
    ),
    "a part that its module has not": (
        "diffusers-to-mlx.yaml",
        lambda v: v["rules"][2].update(target=r"double_blocks.\1.img_attn.proj.q"),
        [r"rules[2].target: 'double_blocks.\\1.img_attn.proj.q' is no module of FLUX.1's blocks, nor a part of one"],
    ),
    "an unknown alpha": ("mlx-to-mflux.yaml", lambda v: v.update(alpha=16), ["alpha: "]),
    "version zero": ("mlx-to-mflux.yaml", lambda v: v.update(version=0), ["version: "]),
    "a bad version range": (
        "mlx-to-mflux.yaml",
        lambda v: v.update(loader_versions="0.19 and later"),
        ["loader_versions: '0.19 and later' is no version range; write e.g. \">=0.19\""],
    ),
    "a part too few in a split": (
        "mlx-to-diffusers.yaml",
        lambda v: rule_for(v, QKV_B).update(split=[1, 1]),
        ["rules[1].split: has 2 parts for 3 targets; give each target its part"],
    ),
    "an empty part in a split": (
        "mlx-to-diffusers.yaml",
        lambda v: rule_for(v, QKV_B).update(split=[1, 1, 0]),
        ["rules[1].split[2]: "],
    ),
    "a split of the rank": (
        "mlx-to-diffusers.yaml",
        lambda v: rule_for(v, QKV_A).update(split=[1, 1, 1]),
        ["rules[0] splits double_blocks.N.img_attn.qkv.lora_a, and with it the rank"],
    ),
    "parts without a split": (
        "mlx-to-diffusers.yaml",
        lambda v: rule_for(v, QKV_B).pop("split"),
        ["rules[1] gives all of double_blocks.N.img_attn.qkv.lora_b to each of its targets; cut it with `split`"],
    ),
    "a part without a down matrix": (
        "mlx-to-diffusers.yaml",
        lambda v: rule_for(v, QKV_A)["target"].pop(),
        ["double_blocks.N.img_attn.qkv.lora_b goes to transformer.transformer_blocks.0.attn.to_k, "],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_keymap_is_one_error_with_file_and_field(tmp_path: Path, case: str):
    name, edit, expected = WRONG[case]
    values = values_of(name)
    edit(values)
    path = save_keymap(tmp_path / name, values)
    with pytest.raises(KeymapError) as caught:
        load_keymap(path, f"keymaps/{name}")
    lines = [str(fault) for fault in caught.value.faults]
    assert all(line.startswith(f"keymaps/{name}: ") for line in lines)
    assert len(lines) == len(expected)
    for line, part in zip(lines, expected, strict=True):
        assert part in line


@pytest.mark.parametrize("text", ["name: [", "- a list", "name: a\nname: b", "name: *alias"])
def test_what_is_not_yaml_is_an_error_too(tmp_path: Path, text: str):
    path = tmp_path / "k.yaml"
    path.write_text(text)
    with pytest.raises(ContentError, match=r"k\.yaml"):
        load_keymap(path)


def test_a_text_is_parsed_once_and_the_file_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parsed: list[str] = []

    def parse(text: str, name: str) -> dict[str, Any]:
        parsed.append(name)
        return parse_mapping(text, name)

    keymap_files._mapping_of.cache_clear()
    keymap_files._keymap_of.cache_clear()
    monkeypatch.setattr(keymap_files, "parse_mapping", parse)
    values = values_of("mlx-to-mflux.yaml")
    path = save_keymap(tmp_path / "k.yaml", values)
    assert load_keymap(path, "a") is load_keymap(path, "a")
    assert parsed == ["a"]
    changed = save_keymap(path, {**values, "version": values["version"] + 1})
    assert load_keymap(changed, "a").version == values["version"] + 1
    save_keymap(path, {**values, "version": "many"})
    for name in ("a", "b", "b"):  # a fault names the file it was read as, the second time too
        with pytest.raises(KeymapError, match=rf"^{name}: version: "):
            load_keymap(path, name)
    assert parsed == ["a", "a", "a", "b"]


# The hash of the rules


def rules_hash(folder: Path, values: dict[str, Any]) -> str:
    return load_keymap(save_keymap(folder / "k.yaml", values)).rules_hash


def test_comments_do_not_change_the_hash(tmp_path: Path):
    text = (KEYMAPS / "mlx-to-mflux.yaml").read_text()
    path = tmp_path / "k.yaml"
    path.write_text("# another comment\n" + text.replace("rules:\n", "rules: # all of them\n\n"))
    assert load_keymap(path).rules_hash == load_keymap(KEYMAPS / "mlx-to-mflux.yaml").rules_hash


@pytest.mark.parametrize(
    "edit",
    [
        lambda v: v["rules"].reverse(),
        lambda v: random.Random(4).shuffle(v["rules"]),
        lambda v: v.update(name="mine"),
        lambda v: v.update(version=2),
        lambda v: v.update(description="another"),
        lambda v: v.update(loader_versions=">=0.20,<1"),
        lambda v: v["rules"][0].update(target=[v["rules"][0]["target"]]),
    ],
    ids=["reversed", "shuffled", "name", "version", "description", "loader_versions", "a list of one target"],
)
def test_what_does_not_decide_the_output_does_not_change_the_hash(tmp_path: Path, edit: Edit):
    values = values_of()
    before = rules_hash(tmp_path, values)
    edit(values)
    assert rules_hash(tmp_path, values) == before


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("mlx-to-mflux.yaml", lambda v: v["rules"][0].update(transpose=False)),
        ("mlx-to-mflux.yaml", lambda v: v.update(alpha="always")),
        ("mlx-to-mflux.yaml", lambda v: v.update(target="kohya")),
        (
            "mlx-to-mflux.yaml",
            lambda v: [rule.update(target=rule["target"].replace("unet", "net")) for rule in v["rules"]],
        ),
        ("mlx-to-mflux.yaml", lambda v: v["rules"][0].update(pattern=v["rules"][0]["pattern"] + "(?:)")),
        ("mlx-to-diffusers.yaml", lambda v: rule_for(v, QKV_B).update(split=[2, 1, 1])),
        ("mlx-to-diffusers.yaml", lambda v: rule_for(v, QKV_B)["target"].reverse()),
    ],
    ids=["transpose", "alpha", "dialect", "target names", "pattern", "split", "order of the parts"],
)
def test_what_decides_the_output_changes_the_hash(tmp_path: Path, name: str, edit: Edit):
    values = values_of(name)
    before = rules_hash(tmp_path, values)
    edit(values)
    assert rules_hash(tmp_path, values) != before


@pytest.mark.parametrize(
    ("name", "pattern", "outcome"),
    [
        (
            "mlx-to-mflux.yaml",
            r"double_blocks\.(\d+)\.img_attn\.qkv\.lora_b",
            r"lora_unet_double_blocks_\1_img_attn_qkv.lora_up.weight (transposed)",
        ),
        (
            "mlx-to-diffusers.yaml",
            r"single_blocks\.(\d+)\.linear1\.lora_b",
            " + ".join(
                rf"transformer.single_transformer_blocks.\1.{part}.lora_B.weight"
                for part in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
            )
            + " (transposed, split 1:1:1:4)",
        ),
    ],
)
def test_a_rule_can_be_read(name: str, pattern: str, outcome: str):
    assert load_keymap(KEYMAPS / name).meaning()["rules"][pattern] == outcome


@given(
    st.lists(st.sampled_from(["a", "b", "+", "(", "(transposed)", "+a", ","]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["a", "b", "+", "(", "(transposed)", "+a", ","]), min_size=1, max_size=3),
    st.tuples(st.booleans(), st.booleans()),
    st.tuples(*[st.lists(st.integers(1, 12), max_size=3).map(tuple)] * 2),
)
@settings(deadline=None, max_examples=150)
def test_outcomes_are_equal_exactly_when_the_rules_are(
    one: list[str], other: list[str], transposes: tuple[bool, bool], splits: tuple[tuple[int, ...], tuple[int, ...]]
):
    rules = [
        KeymapRule(pattern="p", target=tuple(target), transpose=transpose, split=split)
        for target, transpose, split in zip((one, other), transposes, splits, strict=True)
    ]
    assert (rules[0].outcome == rules[1].outcome) == (rules[0] == rules[1])


@pytest.mark.parametrize("target", ["", "two words", "a\n", " a"])
def test_a_target_holds_no_space(tmp_path: Path, target: str):
    values = values_of()
    values["rules"][0].update(target=target)
    with pytest.raises(KeymapError, match=r"rules\[0\]\.target"):
        load_keymap(save_keymap(tmp_path / "k.yaml", values))


@given(st.permutations(range(34)))
@settings(deadline=None, max_examples=10)
def test_any_order_of_rules_is_the_same_keymap(order: list[int]):
    keymap = load_keymap(KEYMAPS / "mlx-to-diffusers.yaml")
    turned = keymap.model_copy(update={"rules": tuple(keymap.rules[index] for index in order)})
    assert turned.rules_hash == keymap.rules_hash
    assert all(turned.rename(key) == keymap.rename(key) for key in sample_keys(11))


# The choice


@pytest.mark.parametrize(
    ("target", "version", "name"),
    [
        ("mflux", "0.24.0", "mlx-to-mflux"),
        ("mflux", "0.19.0", "mlx-to-mflux"),
        ("mflux", "0.18.1", "mlx-to-mflux-before-0.19"),
        ("mflux", "0.2", "mlx-to-mflux-before-0.19"),
        ("mlx", None, "mlx-to-mlx"),
        ("mflux", "0.25.0.dev1", "mlx-to-mflux"),
        ("kohya", None, "mlx-to-kohya"),
        ("diffusers", None, "mlx-to-diffusers"),
    ],
)
def test_the_keymap_of_a_target_and_version_is_found(target: str, version: str | None, name: str):
    assert select_keymap(KEYMAPS, target, version).name == name


@pytest.mark.parametrize("version", ["0.18.1", "0.18.0", "0.2"])
def test_a_keymap_for_another_range_is_refused_with_the_reason(version: str):
    keymap = load_keymap(KEYMAPS / "mlx-to-mflux.yaml")
    insist_on_range(keymap, "0.24.0")
    insist_on_range(keymap, None)
    with pytest.raises(KeymapError) as caught:
        insist_on_range(keymap, version)
    assert str(caught.value) == (
        f"mlx-to-mflux: mlx-to-mflux is for mflux>=0.19, not for {version}: before 0.19 mflux cuts a fused down matrix "
        "along the rank, where this file shares it; leave the choice of the keymap to the version"
    )


def test_a_version_without_a_keymap_is_refused_with_the_ranges(keymaps: Path):
    (keymaps / "mlx-to-mflux-before-0.19.yaml").unlink()
    with pytest.raises(KeymapError) as caught:
        select_keymap(keymaps, "mflux", "0.18.1")
    assert str(caught.value) == (
        "keymaps: no keymap for mflux 0.18.1 (mlx-to-mflux is for mflux>=0.19); "
        "install a version in range, or add a keymap"
    )


def test_a_dialect_that_two_keymaps_read_is_ambiguous(keymaps: Path):
    shutil.copy(keymaps / "kohya-to-mlx.yaml", keymaps / "again.yaml")
    with pytest.raises(KeymapError, match="several keymaps read kohya: kohya-to-mlx, kohya-to-mlx; leave one of them"):
        select_reading_keymap(keymaps, "kohya")


def test_a_folder_without_a_keymap_for_a_dialect_takes_the_shipped_one(keymaps: Path):
    (keymaps / "xlabs-to-mlx.yaml").unlink()
    assert select_reading_keymap(keymaps, "xlabs") == load_keymap(KEYMAPS / "xlabs-to-mlx.yaml")
    (keymaps / "xlabs-to-mlx.yaml").write_text("source: xlabs\ntarget: mlx\n")
    with pytest.raises(KeymapError, match="no keymap reads xlabs; correct or add one"):
        select_reading_keymap(keymaps, "xlabs")


def test_an_mflux_that_is_not_there_is_refused():
    with pytest.raises(KeymapError, match=r"mflux has no version to choose a keymap by \(not installed\)"):
        select_keymap(KEYMAPS, "mflux", "not installed")


@pytest.fixture
def keymaps(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEYMAPS, tmp_path / "keymaps"))


def test_ranges_that_overlap_are_ambiguous_only_where_they_do(keymaps: Path):
    save_keymap(keymaps / "newer.yaml", {**values_of(), "name": "newer", "loader_versions": ">=0.24"})
    assert select_keymap(keymaps, "mflux", "0.23.0").name == "mlx-to-mflux"
    with pytest.raises(KeymapError) as caught:
        select_keymap(keymaps, "mflux", "0.24.0")
    assert str(caught.value) == (
        "keymaps: several keymaps are for mflux: mlx-to-mflux, newer; narrow their loader_versions"
    )


def test_ranges_side_by_side_are_chosen_by_version(keymaps: Path):
    values = values_of("mlx-to-mflux-before-0.19.yaml")
    save_keymap(keymaps / "mlx-to-mflux-before-0.19.yaml", {**values, "name": "older", "loader_versions": "<0.15"})
    save_keymap(keymaps / "between.yaml", {**values_of(), "name": "between", "loader_versions": ">=0.15,<0.19"})
    assert select_keymap(keymaps, "mflux", "0.18.1").name == "between"
    assert select_keymap(keymaps, "mflux", "0.14.2").name == "older"
    assert select_keymap(keymaps, "mflux", "0.24.0").name == "mlx-to-mflux"


def test_a_broken_keymap_stops_its_own_target_only(keymaps: Path):
    (keymaps / "mlx-to-kohya.yaml").write_text("name: [")
    assert select_keymap(keymaps, "mflux", "0.24.0").name == "mlx-to-mflux"
    with pytest.raises(KeymapError) as caught:
        select_keymap(keymaps, "kohya")
    first, second = (str(fault) for fault in caught.value.faults)
    assert first == "keymaps: no keymap for kohya; add one, or choose another target"
    assert second.startswith("keymaps/mlx-to-kohya.yaml: line ")


def test_a_folder_without_keymaps_has_none(tmp_path: Path):
    with pytest.raises(KeymapError, match="no keymap for mflux"):
        select_keymap(tmp_path / "keymaps", "mflux", "0.24.0")
