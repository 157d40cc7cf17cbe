"""tiny-flux's parts and its files: what is saved in its folder, and how it is read back.

Here: the folder's format. Not here: how mflux is made to run it (`mflux_build`), how it was trained (`pretraining`).

The folder holds `model.safetensors` (float16; `transformer.` in BFL names, `vae.`, `t5.`, `clip.`),
`tokenizer.json` and `config.json` (sizes, and the command and recipe that train it again).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlx import nn

from sq_pipeline.engines.flux.network import Flux, FluxDims
from sq_pipeline.engines.tiny_flux.large.autoencoder import TinyAutoencoder
from sq_pipeline.engines.tiny_flux.large.text import POOLED_SIZE, TEXT_SIZE, TinyCLIP, TinyT5
from sq_pipeline.engines.tiny_flux.weights_file import read_weights, write_weights

WEIGHTS_FILE, TOKENIZER_FILE, CONFIG_FILE = "model.safetensors", "tokenizer.json", "config.json"
# Times of training are sigmoid(N(shift, spread)), as in Esser et al. 2024, section 3.1; pictures are rendered with
# the same shift. It is above 0 because the leading components of the code are strong: most of a picture's layout
# is settled while it is almost noise.
TIME_SHIFT, TIME_SPREAD = 1.7, 1.1
DIMS = FluxDims(hidden_size=256, double_blocks=2, single_blocks=4, text_size=TEXT_SIZE, pooled_size=POOLED_SIZE)


@dataclass(frozen=True)
class TinyFluxParts:
    """The four networks. `transformer` is in the BFL layout."""

    transformer: Flux
    vae: TinyAutoencoder
    t5: TinyT5
    clip: TinyCLIP

    def modules(self) -> Mapping[str, nn.Module]:
        """The networks by the prefix that their weights have in the file."""
        return {"transformer": self.transformer, "vae": self.vae, "t5": self.t5, "clip": self.clip}


def new_parts(*, fast_activations: bool = False) -> TinyFluxParts:
    """The networks with random weights, not evaluated."""
    t5 = TinyT5()
    transformer = Flux(replace(DIMS, fast_activations=fast_activations))
    return TinyFluxParts(transformer, TinyAutoencoder(), t5, TinyCLIP(t5))


def save_parts(folder: Path, parts: TinyFluxParts, recipe: Mapping[str, Any]) -> None:
    """Write the weights (float16) and the configuration; the tokenizer is saved by who trained it."""
    write_weights(folder / WEIGHTS_FILE, parts.modules(), 2)
    config = {"format": "tiny-flux", "version": 2, "dims": asdict(DIMS), "trained_with": dict(recipe)}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")


def load_parts(folder: Path, *, fast_activations: bool = False) -> TinyFluxParts:
    """The networks of a folder, in float32. Raises BaseModelError when a file is missing or a name or shape is off."""
    parts = new_parts(fast_activations=fast_activations)
    read_weights(folder / WEIGHTS_FILE, parts.modules())
    return parts
