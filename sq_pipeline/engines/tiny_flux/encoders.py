"""tiny-flux's encoders for a training: captions and pictures to what its transformer reads, and back."""

from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline.engines.flux.caption_lengths import check_caption_lengths
from sq_pipeline.engines.tiny_flux import model
from sq_pipeline.engines.tiny_flux.text import PAD, load_tokenizer
from sq_pipeline.engines.tiny_flux.vae import pack


class TinyEncoders:
    """The encoders of the tiny-flux in `folder`. Raises BaseModelError. Nine megabytes, so nothing is freed."""

    def __init__(self, folder: Path) -> None:
        self._parts = model.load_parts(folder, fast_activations=mx.default_device() == mx.Device(mx.cpu))
        self._tokenizer = load_tokenizer(folder / model.TOKENIZER_FILE)
        self._tokenizer.enable_padding(pad_id=self._tokenizer.token_to_id(PAD), pad_token=PAD)

    def encode_captions(self, captions: Sequence[str]) -> tuple[mx.array, mx.array]:
        """Text (captions, tokens of the longest, 128) and pooled text (captions, 256), float32.

        Raises TrainingError for captions that would be cut.
        """
        encodings = self._tokenizer.encode_batch(list(captions))
        counts = [sum(encoding.attention_mask) for encoding in encodings]  # without padding
        check_caption_lengths(captions, counts, FLUX1_MODELS["tiny-flux"].t5_token_budget)
        ids = mx.array([encoding.ids for encoding in encodings])
        text, pooled = self._parts.t5(ids), self._parts.clip(ids)
        mx.eval(text, pooled)
        return text, pooled

    def encode_groups(self, groups: Sequence[Sequence[str]]) -> list[tuple[mx.array, mx.array]]:
        """`encode_captions` of each group for itself: no group's texts are padded for another's sake."""
        return [self.encode_captions(group) for group in groups]

    def encode_pictures(self, pixels: npt.NDArray[np.uint8]) -> mx.array:
        """RGB pictures (pictures, height, width, 3) → latent tokens (pictures, rows · columns, 64), float32."""
        pictures = mx.array(pixels.astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2)
        return pack(self._parts.vae.encode(pictures))

    def decode(self, tokens: mx.array, grid: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Latent tokens → RGB pictures (pictures, height, width, 3)."""
        pictures = self._parts.vae.decode_tokens(tokens.reshape(tokens.shape[0], *grid, -1))
        return np.array(mx.clip(mx.round((pictures + 1) * 127.5), 0, 255).astype(mx.uint8))

    def free(self) -> None:
        """Nothing to do."""

    def transformer(self) -> model.Flux:
        """The transformer, frozen."""
        return self._parts.transformer
