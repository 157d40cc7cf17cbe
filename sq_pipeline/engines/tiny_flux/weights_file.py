"""The weights of tiny-flux's networks in one file, each name behind its network's prefix. Not here: the networks."""

from collections.abc import Mapping
from pathlib import Path

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten

from sq_pipeline.common.errors import BaseModelError, Fault

_MEND = "restore the file"


def write_weights(path: Path, modules: Mapping[str, nn.Module], version: int) -> None:
    """Write them as float16."""
    weights = {
        f"{prefix}.{name}": array.astype(mx.float16)
        for prefix, module in modules.items()
        for name, array in tree_flatten(module.parameters())
    }
    mx.save_safetensors(str(path), weights, metadata={"format": "tiny-flux", "version": str(version)})


def read_weights(path: Path, modules: Mapping[str, nn.Module]) -> None:
    """Put them into the networks as float32, frozen. Raises BaseModelError: a file, a name or a shape is off."""
    if not path.is_file():
        mend = "restore data/models/tiny-flux from the repository"
        raise BaseModelError(Fault(str(path), "", "tiny-flux is not on this machine", mend))
    try:
        loaded: dict[str, mx.array] = mx.load(str(path))  # type: ignore[assignment]
    except (RuntimeError, ValueError) as error:
        raise BaseModelError(Fault(str(path), "", f"cannot be read ({error})", _MEND)) from error
    faults: list[Fault] = []
    for prefix, module in modules.items():
        wanted = {f"{prefix}.{name}": array.shape for name, array in tree_flatten(module.parameters())}
        found = {name: array for name, array in loaded.items() if name.startswith(f"{prefix}.")}
        for name in sorted(wanted.keys() ^ found.keys()):
            faults.append(Fault(str(path), name, "missing" if name in wanted else "unexpected", _MEND))
        for name in sorted(wanted.keys() & found.keys()):
            if wanted[name] != found[name].shape:
                problem = f"has shape {found[name].shape}, not {wanted[name]}"
                faults.append(Fault(str(path), name, problem, _MEND))
        if not faults:
            module.load_weights([(name.removeprefix(f"{prefix}."), a.astype(mx.float32)) for name, a in found.items()])
    if faults:
        raise BaseModelError(faults)
    for module in modules.values():
        module.freeze()
        module.eval()
