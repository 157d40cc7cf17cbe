"""The embeddings of the prompts that were encoded last, in place of the dictionary that mflux lets grow without end.

mflux asks `prompt in cache`, reads `cache[prompt]` and writes `cache[prompt] = (embeddings, pooled)`.
"""

from typing import Any

import mlx.core as mx
from mflux.models.flux.variants.txt2img.flux import Flux1

# 64 prompts of FLUX.1 (512 tokens of 4,096 numbers in bfloat16) take 256 MiB
_PROMPTS = 64


class PromptCache(dict[str, Any]):
    """A dictionary of at most `size` prompts; the one that was used least recently makes room."""

    def __init__(self, size: int = _PROMPTS) -> None:
        super().__init__()
        self._size = size

    def __getitem__(self, prompt: str) -> Any:
        value = super().pop(prompt)
        super().__setitem__(prompt, value)
        return value

    def __setitem__(self, prompt: str, value: Any) -> None:
        super().pop(prompt, None)
        super().__setitem__(prompt, value)
        while len(self) > self._size:
            del self[next(iter(self))]


def encode_apart(flux: Flux1, prompt: str, clip_prompt: str) -> str:
    """Encode `prompt` for T5 and `clip_prompt` for CLIP; returns the name by which `generate_image` finds both.

    mflux gives both encoders one prompt, and looks for it in its cache first.
    """
    name = f"{prompt}\0{clip_prompt}"
    if name not in flux.prompt_cache:
        embeddings = flux.t5_text_encoder(flux.tokenizers["t5"].tokenize(prompt).input_ids)
        pooled = flux.clip_text_encoder(flux.tokenizers["clip"].tokenize(clip_prompt).input_ids)
        mx.eval(embeddings, pooled)
        flux.prompt_cache[name] = (embeddings, pooled)
    return name
