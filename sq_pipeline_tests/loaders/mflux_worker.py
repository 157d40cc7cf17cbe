"""Runs in a process of its own, with one mflux on its path: that mflux's LoRA loader over small transformers.

mflux's own: the loader, its mapping for FLUX.1, its layers. Ours: the transformer, a skeleton of zero linear layers
at mflux's paths, whose answer to the identity is what was applied. A job comes as JSON on stdin, see `mflux_loader`;
each file's deltas go into an .npz (path: (outputs, inputs)), the rest as JSON to stdout.
"""

import contextlib
import functools
import importlib.util
import inspect
import io
import json
import sys
from pathlib import Path
from typing import Any

_MAPPING_FILE = "models/flux/weights/flux_lora_mapping.py"


def main() -> None:
    """Do all jobs of one process."""
    request = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            import mflux
            from mflux.models.common.lora.mapping.lora_transforms import LoraTransforms
        except ImportError as error:
            answer: dict[str, Any] = {"not_run": str(error)}
        else:
            expected = Path(request["folder"])
            assert Path(str(mflux.__file__)).is_relative_to(expected), f"{mflux.__file__} is not in {expected}"
            whole_split = LoraTransforms._split_qkv_mlp_up
            mapping = _load_mapping(Path(str(mflux.__file__)).parent)
            _remember_matches()
            answer = {"files": [_apply(job, mapping, LoraTransforms, whole_split) for job in request["jobs"]]}
    json.dump(answer, sys.stdout)


def _remember_matches() -> None:
    """Keep mflux's answers to whether a name fits a pattern: two texts decide it, and hundreds of files share names."""
    from mflux.models.common.lora.mapping.lora_loader import LoRALoader

    LoRALoader._match_pattern = staticmethod(functools.cache(LoRALoader._match_pattern))


def _load_mapping(package: Path) -> Any:
    """mflux's mapping for FLUX.1, past the package around it: up to 0.18 that imports torch, for its own weights."""
    spec = importlib.util.spec_from_file_location("flux_lora_mapping", package / _MAPPING_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FluxLoRAMapping


def _apply(job: dict[str, Any], mapping: Any, transforms: Any, whole_split: Any) -> dict[str, Any]:
    import mlx.core as mx
    import numpy as np
    from mflux.models.common.lora.mapping.lora_loader import LoRALoader

    # FLUX.1's widths stand in the code as a default that no caller overrides. Only those numbers are replaced; with
    # a hidden size of 3072 the default and this are the same.
    assert list(inspect.signature(whole_split).parameters) == ["tensor", "index", "dims"]
    sizes = [job["hidden_size"]] * 3 + [4 * job["hidden_size"]]
    transforms._split_qkv_mlp_up = staticmethod(lambda tensor, index: whole_split(tensor, index, sizes))

    mx.set_default_device(mx.cpu)  # a GPU's float32 product may keep fewer digits
    layers: dict[str, tuple[int, int]] = job["layers"]
    transformer = _skeleton(layers)
    unbaked: dict[str, Any] = {"bake_lora": False}
    if "bake_lora" not in inspect.signature(LoRALoader.load_and_apply_lora).parameters:
        unbaked = {}  # up to 0.18 nothing else is done
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            LoRALoader.load_and_apply_lora(
                lora_mapping=mapping.get_mapping(),
                transformer=transformer,
                lora_paths=[job["file"]],
                lora_scales=[1.0],
                **unbaked,
            )
    except Exception as error:
        return {"refused": _first_line(error), "complaints": _complaints(said)}
    deltas: dict[str, Any] = {}
    for path, (inputs, _) in layers.items():
        try:
            answer = _at(transformer, path)(mx.eye(inputs))
            mx.eval(answer)
        except Exception as error:
            return {"refused": f"{path} at first use: {_first_line(error)}", "complaints": _complaints(said)}
        deltas[path] = np.array(answer.astype(mx.float32)).T
    np.savez(job["answer"], **deltas)
    return {"complaints": _complaints(said)}


def _skeleton(layers: dict[str, tuple[int, int]]) -> Any:
    import mlx.core as mx
    from mlx import nn

    root = nn.Module()
    for path, (inputs, outputs) in layers.items():
        linear = nn.Linear(inputs, outputs, bias=False)
        linear.weight = mx.zeros((outputs, inputs))
        parent: Any = root
        *way, last = path.split(".")
        for part, following in zip(way, [*way[1:], last], strict=True):
            parent = _child(parent, part, [] if following.isdigit() else nn.Module())
        _child(parent, last, linear)
    return root


def _child(parent: Any, name: str, default: Any) -> Any:
    """The child of that name; `default` takes its place where there is none yet."""
    if isinstance(parent, list):
        if int(name) == len(parent):
            parent.append(default)
        return parent[int(name)]
    if name not in parent:
        setattr(parent, name, default)
    return parent[name]


def _at(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = root[int(part)] if part.isdigit() else root[part]
    return root


def _complaints(said: io.StringIO) -> list[str]:
    return [line.strip() for line in said.getvalue().splitlines() if "❌" in line or "⚠" in line]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    main()
