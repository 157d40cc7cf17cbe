"""The parts of a diffusers wheel that load a FLUX.1 adapter, taken from its source text and run in a namespace.

The wheel's own: the whole of `loaders/lora_conversion_utils.py`, and what `_TAKEN` lists: `load_lora_weights` and all
that it calls down to `lora_state_dict`, `load_lora_adapter` and `get_peft_kwargs`. FLUX.1's widths and block counts,
written into the conversions, are set to the base model's. Not here: what a file does with it (`diffusers_loader`).
"""

import __future__

import ast
import builtins
import collections
import functools
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline_tests.loaders.numpy_torch import TORCH, StandIn
from sq_pipeline_tests.loaders.peft_rule import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

# file in the wheel: names taken from its top level; for a class, the methods and attributes that are kept
_TAKEN: dict[str, dict[str, Collection[str]]] = {
    "utils/state_dict_utils.py": {
        "UNET_TO_DIFFUSERS": (),
        "KEYS_TO_ALWAYS_REPLACE": (),
        "convert_state_dict": (),
        "convert_unet_state_dict_to_peft": (),
        "state_dict_all_zero": (),
        "_load_sft_file_metadata": (),
        "_load_sft_state_dict_metadata": (),
    },
    "utils/peft_utils.py": {
        "get_peft_kwargs": (),
        "get_adapter_name": (),
        "_create_lora_config": (),
        "_maybe_warn_for_unhandled_keys": (),
    },
    "loaders/lora_base.py": {"LORA_ADAPTER_METADATA_KEY": (), "_fetch_state_dict": ()},
    "loaders/peft.py": {"PeftAdapterMixin": ("load_lora_adapter",)},
    "loaders/lora_pipeline.py": {
        "TRANSFORMER_NAME": (),
        "TEXT_ENCODER_NAME": (),
        "_MODULE_NAME_TO_ATTRIBUTE_MAP_FLUX": (),
        "FluxLoraLoaderMixin": (
            "transformer_name",
            "text_encoder_name",
            "_control_lora_supported_norm_keys",
            "lora_state_dict",
            "load_lora_weights",
            "load_lora_into_transformer",
            "_maybe_expand_transformer_param_shape_or_error_",
            "_maybe_expand_lora_state_dict",
            "_calculate_module_shape",
            "_prepare_outputs",
        ),
    },
}


def run_wheel(package: Path, base_model: Flux1Model, files: StandIn, warnings: list[str]) -> dict[str, Any]:
    """The wheel's names, ready to call; `files` is its `safetensors`, and `warnings` collects what it logs."""
    code = _wheel_code(package, base_model.double_blocks, base_model.single_blocks, base_model.hidden_size)
    return _run_code(code, files, warnings)


@functools.lru_cache
def _wheel_code(package: Path, double_blocks: int, single_blocks: int, hidden_size: int) -> tuple[Any, ...]:
    """The taken parts of the wheel, compiled. An assertion fails where a wheel is not the one that was read."""
    # with FLUX.1's own sizes each replacement puts back what was there
    sizes = {
        "dims=[3072, 3072, 3072, 12288]": (1, f"dims={[hidden_size] * 3 + [4 * hidden_size]}"),
        "inner_dim = 3072": (2, f"inner_dim = {hidden_size}"),
        "num_layers = 19": (2, f"num_layers = {double_blocks}"),
        "num_single_layers = 38": (2, f"num_single_layers = {single_blocks}"),
    }
    conversions = (package / "loaders/lora_conversion_utils.py").read_text()
    for found, (count, replacement) in sizes.items():
        assert conversions.count(found) == count, f"{found!r} is no longer in the conversions {count} times"
        conversions = conversions.replace(found, replacement)
    trees = [_taken(ast.parse((package / file).read_text()), names) for file, names in _TAKEN.items()]
    return tuple(_compile(tree) for tree in (*trees, ast.parse(conversions)))


def _taken(tree: ast.Module, names: dict[str, Collection[str]]) -> ast.Module:
    found = {name: node for node in tree.body if (name := _name_of(node)) in names}
    assert found.keys() == names.keys(), f"gone from the wheel: {names.keys() - found.keys()}"
    for name, kept in names.items():
        node = found[name]
        if isinstance(node, ast.ClassDef):
            members = {member_name: member for member in node.body if (member_name := _name_of(member)) in kept}
            assert members.keys() == set(kept), f"gone from {name}: {set(kept) - members.keys()}"
            node.bases, node.decorator_list, node.body = [], [], list(members.values())
    return ast.Module(list(found.values()), [])


def _name_of(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


def _compile(tree: ast.Module) -> Any:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):  # decorators that ask the hub, or for an installed PEFT, are left out
            kept = ("classmethod", "staticmethod")
            node.decorator_list = [d for d in node.decorator_list if isinstance(d, ast.Name) and d.id in kept]
    # annotations stay unread: they name types that are not here
    return compile(tree, "diffusers", "exec", flags=__future__.annotations.compiler_flag)


def _run_code(code: Sequence[Any], files: StandIn, warnings: list[str]) -> dict[str, Any]:
    """The wheel's functions, in a namespace of their own where torch, PEFT and the reading of files are ours."""
    quiet = StandIn(
        "logger",
        info=lambda *_: None,
        debug=lambda *_: None,
        error=lambda *_: None,
        warning=lambda message, *_: warnings.append(str(message).strip()),
    )
    peft = StandIn(
        "peft",
        LoraConfig=LoraConfig,
        inject_adapter_in_model=inject_adapter_in_model,
        set_peft_model_state_dict=set_peft_model_state_dict,
        BaseTunerLayer=type("BaseTunerLayer", (), {}),
    )
    names: dict[str, Any] = {
        "re": re,
        "json": json,
        "collections": collections,
        "torch": TORCH,
        "safetensors": files,
        "logger": quiet,
        "_LOW_CPU_MEM_USAGE_DEFAULT_LORA": True,  # as with any recent PEFT and transformers
        "get_submodule_by_name": lambda model, path: model.linears[path],
        "_get_model_file": lambda folder, weights_name, **_: str(Path(folder) / weights_name),
    }
    inside: list[StandIn] = []  # what a relative import finds

    def import_(name: str, *rest: Any) -> Any:
        level = rest[3] if len(rest) > 3 else 0
        ours = {"torch": TORCH, "peft": peft, "safetensors": files}
        return inside[0] if level else ours.get(name.split(".")[0]) or builtins.__import__(name, *rest)

    names["__builtins__"] = {**vars(builtins), "__import__": import_}
    *taken, conversions = code
    for one in taken:
        exec(one, names)
    inside.append(
        StandIn(
            "diffusers",
            logging=StandIn("logging", get_logger=lambda _: quiet),
            state_dict_all_zero=names["state_dict_all_zero"],
            LORA_ADAPTER_METADATA_KEY=names["LORA_ADAPTER_METADATA_KEY"],
            _maybe_remove_and_reapply_group_offloading=lambda *_: None,
            _raise_if_tensor_parallel=lambda *_: None,
        )
    )
    exec(conversions, names)
    return names
