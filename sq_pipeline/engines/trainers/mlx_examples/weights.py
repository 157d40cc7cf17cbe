"""Whether the base model that mlx-examples loads is on this machine. It reads the Hugging Face hub's cache, and there
BFL's own file of the transformer, not the sharded one that mflux renders with. Downloads nothing.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.errors import Fault
from sq_pipeline.training.environment import child_environment, may_download

# files for which mlx-examples takes a path from the environment instead
_ELSEWHERE = {
    "flux1-dev.safetensors": "FLUX_DEV",
    "flux1-schnell.safetensors": "FLUX_SCHNELL",
    "ae.safetensors": "AE",
}
_T5_INDEX = "text_encoder_2/model.safetensors.index.json"
_FILES = (
    "ae.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder_2/config.json",
    _T5_INDEX,
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer_2/spiece.model",
)
_T5_PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def check_weights(base_model: BaseModel) -> list[Fault]:
    """The files that are missing in the hub's cache, as one fault with the commands that get them.

    Empty where a person set HF_HUB_OFFLINE to 0, and with that allowed the download.
    """
    if may_download(child_environment()):
        return []
    missing = list(_missing(base_model))
    if not missing:
        return []
    repository = base_model.hub_name
    commands = [f"`hf download {repository} {' '.join(missing)}`"]
    if base_model.is_gated:
        commands = [f"accept the licence of {repository}", "run `hf auth login`", *commands]
    problem = f"mlx-examples needs {base_model.name} in the Hugging Face cache ({', '.join(missing)} missing)"
    return [Fault("lora.yaml", "base_model", problem, ", then ".join(commands))]


def _missing(base_model: BaseModel) -> Iterator[str]:
    from huggingface_hub import try_to_load_from_cache

    def cached(name: str) -> Path | None:
        found = try_to_load_from_cache(base_model.hub_name, name)
        return Path(found) if isinstance(found, str) and Path(found).is_file() else None

    index = cached(_T5_INDEX)
    for name in (base_model.single_file, *_FILES, *(f"text_encoder_2/{part}" for part in _t5_parts(index))):
        written = os.environ.get(_ELSEWHERE.get(name, ""))
        if not (Path(written).is_file() if written else cached(name)):
            yield name


def _t5_parts(index: Path | None) -> list[str]:
    """The files of T5's weights by its index; by their usual names where that cannot be read."""
    try:
        return sorted(set(json.loads(index.read_text())["weight_map"].values())) if index else list(_T5_PARTS)
    except (ValueError, KeyError, AttributeError):
        return list(_T5_PARTS)
