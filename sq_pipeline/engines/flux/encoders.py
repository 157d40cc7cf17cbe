"""FLUX.1's encoders for a training: captions and pictures to what its transformer reads, and back, as mflux has them.

The networks, the mapping of names, the tokenizers and the packing are mflux's own, so that texts and latents equal
those that pictures are rendered with. One network is in memory at a time: T5, CLIP, or one half of the VAE.
Not here: what must be on disk (`encoder_files`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mflux.models.common.config.model_config import ModelConfig
from mflux.models.common.vae.vae_util import VAEUtil
from mflux.models.common.weights.mapping.weight_mapper import WeightMapper
from mflux.models.flux.latent_creator.flux_latent_creator import FluxLatentCreator
from mflux.models.flux.model.flux_text_encoder.clip_encoder.clip_encoder import CLIPEncoder
from mflux.models.flux.model.flux_text_encoder.t5_encoder.t5_encoder import T5Encoder
from mflux.models.flux.model.flux_vae.vae import VAE as VaeNetwork
from mflux.models.flux.weights.flux_weight_definition import FluxWeightDefinition
from mflux.utils.image_util import ImageUtil
from mlx import nn

from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.engines.flux.caption_lengths import check_caption_lengths
from sq_pipeline.engines.flux.encoder_files import EncoderFiles, part_of_names
from sq_pipeline.engines.flux.encoder_tensors import CLIP, T5, VAE, EncoderPart

Pixels = npt.NDArray[np.uint8]

_PATCH_PX = 16


class FluxEncoders:
    """The encoders in checked files. `dtype` is that of their weights, and of what mflux casts to on the way.

    What comes out has the dtype that it has in mflux: float32 for T5's text, whose norms are, even with bfloat16
    weights.
    """

    def __init__(self, files: EncoderFiles, dtype: mx.Dtype) -> None:
        self._files, self._dtype = files, dtype
        self._held: tuple[str, nn.Module] | None = None

    def encode_captions(self, captions: Sequence[str]) -> tuple[mx.array, mx.array]:
        """Text (captions, the base model's T5 budget, 4096) and pooled text (captions, 768), in the captions' order.

        Each distinct caption is encoded once. T5 goes through all of them and is freed, then CLIP. An empty caption is
        the end mark and padding, as any other's end. Raises TrainingError for captions that T5 would cut.
        """
        distinct = list(dict.fromkeys(captions))
        self._check_lengths(distinct)
        text = self._encode_each(distinct, "t5", T5, T5Encoder)
        pooled = self._encode_each(distinct, "clip", CLIP, CLIPEncoder)
        if len(distinct) < len(captions):
            rows = mx.array([distinct.index(caption) for caption in captions])
            text, pooled = text[rows], pooled[rows]
            mx.eval(text, pooled)
        return text, pooled

    def encode_groups(self, groups: Sequence[Sequence[str]]) -> list[tuple[mx.array, mx.array]]:
        """`encode_captions` of each group, with each network loaded once for all of them."""
        text, pooled = self.encode_captions([caption for group in groups for caption in group])
        found: list[tuple[mx.array, mx.array]] = []
        for group in groups:
            found.append((text[: len(group)], pooled[: len(group)]))
            text, pooled = text[len(group) :], pooled[len(group) :]
        mx.eval(found)
        return found

    def encode_pictures(self, pixels: Pixels) -> mx.array:
        """RGB pictures (pictures, height, width, 3) → latent tokens (pictures, height/16 · width/16, 64), float32.

        Of the latents' distribution the mean is taken, as mflux does for a picture to start from and mlx-examples'
        trainer for its dataset. Pictures go through the VAE one by one. Raises ValueError for other shapes.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3 or not pixels.size:
            raise ValueError(f"pictures are (pictures, height, width, 3) uint8, not {pixels.shape} {pixels.dtype}")
        height, width = pixels.shape[1:3]
        if height % _PATCH_PX or width % _PATCH_PX:
            raise ValueError(f"sides are multiples of {_PATCH_PX} px, not {height} × {width}")
        tokens: list[mx.array] = []
        with _computing_in(self._dtype):
            vae = self._hold("encoder")
            for picture in pixels:
                # mflux's `ImageUtil.to_array`, from pixels
                image = 2.0 * mx.array(picture[None].astype(np.float32) / 255.0).transpose(0, 3, 1, 2) - 1.0
                tokens.append(FluxLatentCreator.pack_latents(VAEUtil.encode(vae, image), height, width))
                mx.eval(tokens[-1])
        return _joined(tokens).astype(mx.float32)

    def decode(self, tokens: mx.array, grid: tuple[int, int]) -> Pixels:
        """Latent tokens (pictures, rows · columns, 64) → RGB pictures (pictures, 16 · rows, 16 · columns, 3).

        The VAE's decoding half stays in memory until `free`.
        """
        height, width = (_PATCH_PX * count for count in grid)
        pictures: list[Pixels] = []
        with _computing_in(self._dtype):
            vae = self._hold("decoder")
            for index in range(tokens.shape[0]):
                latents = FluxLatentCreator.unpack_latents(tokens[index : index + 1], height, width)
                pictures.append(np.asarray(ImageUtil.to_pil(VAEUtil.decode(vae, latents)), dtype=np.uint8))
        return np.stack(pictures)

    def free(self) -> None:
        """Give back the memory of the network that is held."""
        if self._held is not None:
            self._held = None
            mx.clear_cache()

    def _encode_each(
        self, captions: list[str], name: str, part: EncoderPart, network_type: Callable[[], nn.Module]
    ) -> mx.array:
        self.free()
        encoded: list[mx.array] = []
        with _computing_in(self._dtype):
            network = load_part(part, self._files, network_type(), self._dtype)
            for caption in captions:
                # one by one: mflux's networks take a batch of one
                ids = self._files.tokenizers[name].tokenize(caption, keep_empty=True).input_ids
                encoded.append(network(ids))
                mx.eval(encoded[-1])
        del network
        mx.clear_cache()
        return _joined(encoded)

    def _hold(self, half: str) -> Any:
        """The VAE with one half, its weights in memory."""
        if self._held is None or self._held[0] != half:
            self.free()
            vae = VaeNetwork()
            del vae["decoder" if half == "encoder" else "encoder"]
            self._held = half, load_part(VAE, self._files, vae, self._dtype, f"{half}.")
        return self._held[1]

    def _check_lengths(self, captions: list[str]) -> None:
        tokenizer = self._files.tokenizers["t5"]
        counts = [len(tokenizer.tokenizer(caption).input_ids) for caption in captions]
        check_caption_lengths(captions, counts, tokenizer.max_length)


def load_part(part: EncoderPart, files: EncoderFiles, network: Any, dtype: mx.Dtype, prefix: str = "") -> Any:
    """Put a part's weights into mflux's `network`, frozen; returns it. With `prefix`, only tensors that begin so.

    One tensor is read at a time. Raises BaseModelError when a file changed since its check.
    """
    opened: dict[Path, dict[str, mx.array]] = {}
    read: dict[str, mx.array] = {}
    path: Path = files.weights[part.part.folder].root
    try:
        for name, path in part_of_names(part, files, prefix):
            if path not in opened:
                opened[path] = mx.load(str(path))  # lazy: reads the header only
            read[name] = opened[path].pop(name).astype(dtype)
            mx.eval(read[name])
    except (RuntimeError, KeyError) as error:
        raise BaseModelError(
            Fault(str(path), "", f"cannot be read ({error})", "if it was just written, run this again")
        ) from error
    component = next(c for c in FluxWeightDefinition.get_components() if c.hf_subdir == part.part.folder)
    assert component.mapping_getter is not None
    mapped = WeightMapper.apply_mapping(read, component.mapping_getter(), num_blocks=component.num_blocks)
    network.update(mapped)
    network.freeze()
    network.eval()
    return network


@contextmanager
def _computing_in(dtype: mx.Dtype) -> Iterator[None]:
    """mflux casts to `ModelConfig.precision` on the way through its networks."""
    before = ModelConfig.precision
    ModelConfig.precision = dtype
    try:
        yield
    finally:
        ModelConfig.precision = before


def _joined(rows: list[mx.array]) -> mx.array:
    joined = mx.concatenate(rows)
    mx.eval(joined)
    return joined
