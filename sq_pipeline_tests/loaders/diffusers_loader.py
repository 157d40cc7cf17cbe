"""diffusers' FLUX.1 loading of adapters, run without torch.

The wheel's own, run from its source text: the whole of `loaders/lora_conversion_utils.py`; `load_lora_weights` and
what it calls, down to `lora_state_dict` (which chooses the conversion), `load_lora_adapter` and `get_peft_kwargs`.
Ours: torch (`numpy_torch`), PEFT (`peft_rule`), the model's skeleton, reading the file, and finding the functions.
Text encoders are left out. FLUX.1's widths and block counts, written into the conversions, are set to the base model's.
"""

import __future__

import ast
import builtins
import collections
import functools
import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import safetensors

from sq_pipeline.core.base_models import BaseModel
from sq_pipeline_tests.adapters.files import load_bits, metadata_of
from sq_pipeline_tests.loaders.layers import Layer, layers_of, put_together
from sq_pipeline_tests.loaders.numpy_torch import TORCH, Linear, StandIn, Tensor, tensor_of
from sq_pipeline_tests.loaders.outcomes import Applied, Loader, NotRun, Outcome, Refused, first_line
from sq_pipeline_tests.loaders.peft_rule import (
    LoraConfig,
    inject_adapter_in_model,
    set_peft_model_state_dict,
    updates_of,
)
from sq_pipeline_tests.loaders.wheels import wheel_folder

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


def apply_with_diffusers(loader: Loader, files: Sequence[tuple[Path, BaseModel]]) -> list[Outcome]:
    """One outcome for each file."""
    folder = wheel_folder("diffusers", loader.version)
    if isinstance(folder, NotRun):
        return [folder] * len(files)
    return [_apply(folder / "diffusers", file, base_model) for file, base_model in files]


def _apply(package: Path, file: Path, base_model: BaseModel) -> Outcome:
    warnings: list[str] = []
    code = _wheel_code(package, base_model.double_blocks, base_model.single_blocks, base_model.hidden_size)
    names = _run_code(code, warnings)
    layers = layers_of(base_model, "diffusers")
    transformer = _transformer(names["PeftAdapterMixin"], layers)
    pipeline = type("Pipeline", (names["FluxLoraLoaderMixin"],), _PIPELINE)()
    pipeline.transformer = transformer
    try:
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, use_safetensors=True)
        deltas = updates_of(transformer)
    except NameError:  # the wheel calls something that was not taken: a fault of this harness
        raise
    except Exception as error:
        return Refused(first_line(error))
    return Applied(put_together(base_model, layers, deltas), warnings)


_PIPELINE: dict[str, Any] = {
    "text_encoder": None,
    "lora_scale": 1.0,
    "load_lora_into_text_encoder": lambda self, *_, **__: None,
}


def _transformer(mixin: type, layers: Sequence[Layer]) -> Any:
    """A model of nothing but the blocks' linear layers, with the wheel's `load_lora_adapter`."""
    linears = {layer.path: Linear(layer.inputs, layer.outputs) for layer in layers}
    paths: dict[str, Any] = {}
    for path, linear in linears.items():
        parts = path.split(".")
        for count in range(1, len(parts)):
            paths.setdefault(".".join(parts[:count]), object())
        paths[path] = linear

    def named_modules(self: Any) -> Iterator[tuple[str, Any]]:
        yield "", self
        yield from paths.items()

    attributes = {
        "linears": linears,
        "get_submodule": lambda self, path: paths[path],
        "named_modules": named_modules,
        "modules": lambda self: (module for _, module in named_modules(self)),
        "state_dict": lambda self: {f"{path}.weight": linear.weight for path, linear in linears.items()},
        "_optionally_disable_offloading": lambda self, _pipeline: (False, False, False),
        "_prepare_lora_hotswap_kwargs": None,
        "_hf_peft_config_loaded": False,
    }
    return type("FluxTransformer2DModel", (mixin,), attributes)()


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


def _run_code(code: Sequence[Any], warnings: list[str]) -> dict[str, Any]:
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
    files = StandIn(
        "safetensors",
        SafetensorError=safetensors.SafetensorError,
        torch=StandIn("safetensors.torch", load_file=_load_file, safe_open=_OpenFile),
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


def _load_file(file: str, device: str = "cpu") -> dict[str, Tensor]:
    """As `safetensors.torch.load_file`: in the order of the file."""
    with safetensors.safe_open(file, framework="numpy") as opened:
        order = opened.offset_keys()
    tensors = load_bits(Path(file))
    return {name: tensor_of(bits, dtype) for name in order for dtype, bits in [tensors[name]]}


class _OpenFile:
    """`safetensors.torch.safe_open`, for the metadata alone."""

    def __init__(self, file: str, framework: str, device: str) -> None:
        self._file = Path(file)

    def __enter__(self) -> "_OpenFile":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def metadata(self) -> dict[str, str]:
        """The file's metadata."""
        return metadata_of(self._file)
