"""tiny-flux's parts and its files: what is saved in `data/models/tiny-flux`, and how it is read back.

Here: the folder's format. Not here: how mflux is made to run it (`mflux_build`), how it was trained (`pretrain`).

The folder holds `model.safetensors` (float16; `transformer.` in BFL names, `vae.`, `t5.`, `clip.`),
`tokenizer.json` and `config.json` (sizes, and the command and recipe that train it again).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten

from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.engines.flux.network import Flux, FluxDims
from sq_pipeline.engines.tiny_flux.text import POOLED_SIZE, TEXT_SIZE, TinyCLIP, TinyT5
from sq_pipeline.engines.tiny_flux.vae import TinyVAE

WEIGHTS_FILE, TOKENIZER_FILE, CONFIG_FILE = (
    "model.safetensors",
    "tokenizer.json",
    "config.json",
)
# Times of training are sigmoid(N(shift, spread)), as in Esser et al. 2024, section 3.1; pictures are rendered with
# the same shift. It is above 0 because the leading components of the code are strong: most of a picture's layout
# is settled while it is almost noise.
TIME_SHIFT, TIME_SPREAD = 1.3, 1.1
DIMS = FluxDims(
    hidden_size=256,
    double_blocks=2,
    single_blocks=4,
    text_size=TEXT_SIZE,
    pooled_size=POOLED_SIZE,
)


@dataclass(frozen=True)
class TinyFluxParts:
    """The four networks. `transformer` is in the BFL layout."""

    transformer: Flux
    vae: TinyVAE
    t5: TinyT5
    clip: TinyCLIP

    def modules(self) -> Mapping[str, nn.Module]:
        """The networks by the prefix that their weights have in the file."""
        return {
            "transformer": self.transformer,
            "vae": self.vae,
            "t5": self.t5,
            "clip": self.clip,
        }


def new_parts(*, fast_activations: bool = False) -> TinyFluxParts:
    """The networks with random weights, not evaluated."""
    t5 = TinyT5()
    transformer = Flux(replace(DIMS, fast_activations=fast_activations))
    return TinyFluxParts(transformer, TinyVAE(), t5, TinyCLIP(t5))


def save_parts(folder: Path, parts: TinyFluxParts, recipe: Mapping[str, Any]) -> None:
    """Write the weights (float16) and the configuration; the tokenizer is saved by who trained it."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        f"{prefix}.{name}": array.astype(mx.float16)
        for prefix, module in parts.modules().items()
        for name, array in tree_flatten(module.parameters())
    }
    mx.save_safetensors(
        str(folder / WEIGHTS_FILE),
        weights,
        metadata={"format": "tiny-flux", "version": "1"},
    )
    config = {
        "format": "tiny-flux",
        "version": 1,
        "dims": asdict(DIMS),
        "trained_with": dict(recipe),
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")


def load_parts(folder: Path, *, fast_activations: bool = False) -> TinyFluxParts:
    """The shipped networks, in float32. Raises BaseModelError when a file is missing or a name or shape is off."""
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise BaseModelError(
            Fault(
                str(path),
                "",
                "tiny-flux is not on this machine",
                "restore data/models/tiny-flux from the repository",
            )
        )
    try:
        loaded: dict[str, mx.array] = mx.load(str(path))  # type: ignore[assignment]
    except (RuntimeError, ValueError) as error:
        raise BaseModelError(Fault(str(path), "", f"cannot be read ({error})", "restore the file")) from error
    parts = new_parts(fast_activations=fast_activations)
    faults: list[Fault] = []
    for prefix, module in parts.modules().items():
        wanted = {f"{prefix}.{name}": array.shape for name, array in tree_flatten(module.parameters())}
        found = {name: array for name, array in loaded.items() if name.startswith(f"{prefix}.")}
        for name in sorted(wanted.keys() ^ found.keys()):
            faults.append(
                Fault(
                    str(path),
                    name,
                    "missing" if name in wanted else "unexpected",
                    "restore the file",
                )
            )
        for name in sorted(wanted.keys() & found.keys()):
            if wanted[name] != found[name].shape:
                faults.append(
                    Fault(
                        str(path),
                        name,
                        f"has shape {found[name].shape}, not {wanted[name]}",
                        "restore the file",
                    )
                )
        if not faults:
            module.load_weights([(name.removeprefix(f"{prefix}."), a.astype(mx.float32)) for name, a in found.items()])
    if faults:
        raise BaseModelError(faults)
    for module in parts.modules().values():
        module.freeze()
        module.eval()
    return parts
