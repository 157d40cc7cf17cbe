"""The autoencoder as mflux calls it: shapes, the order of its tokens, what it begins with, how sharp it can be."""

import random

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn
from mlx.utils import tree_flatten

from sq_pipeline.engines.tiny_flux.large.autoencoder import PATCH_PX, TinyAutoencoder, fold, unfold
from sq_pipeline.engines.tiny_flux.vae import pack
from sq_pipeline.painter.large.landscapes import paint_landscape, random_landscape


@pytest.fixture(scope="module")
def painted() -> np.ndarray:
    """Pictures of the painter, (40, 96, 128, 3) uint8."""
    rng = random.Random(3)
    return np.stack([np.asarray(paint_landscape(random_landscape(rng), (128, 96))) for _ in range(40)])


@pytest.fixture(scope="module")
def pictures(painted: np.ndarray) -> np.ndarray:
    """Two of them."""
    return painted[:2]


@pytest.fixture(scope="module")
def codec(painted: np.ndarray) -> TinyAutoencoder:
    mx.random.seed(3)
    codec = TinyAutoencoder()
    codec.begin_with(painted)
    return codec


def _as_seen(pictures: np.ndarray) -> mx.array:
    return mx.array(pictures.astype(np.float32) / 127.5 - 1)


@pytest.mark.parametrize("size", [2, 4, 16])
def test_a_fold_is_undone(size: int) -> None:
    x = mx.random.normal((2, 32, 48, 3))
    assert mx.array_equal(unfold(fold(x, size), size), x).item()


def test_latents_have_the_layout_of_flux(codec: TinyAutoencoder, pictures: np.ndarray) -> None:
    x = _as_seen(pictures)
    latents = codec.encode(x.transpose(0, 3, 1, 2))
    assert latents.shape == (2, 16, 96 // 8, 128 // 8)
    tokens = codec.encode_tokens(x)
    assert mx.array_equal(pack(latents), tokens.reshape(2, -1, 64)).item()
    assert mx.array_equal(codec.encode(x.transpose(0, 3, 1, 2)[:, :, None]), latents).item()
    decoded = codec.decode(latents)
    assert decoded.shape == (2, 3, 96, 128)
    assert mx.allclose(decoded.transpose(0, 2, 3, 1), codec.decode_tokens(tokens), atol=1e-5).item()


def test_it_begins_with_the_principal_components(codec: TinyAutoencoder, pictures: np.ndarray) -> None:
    x = _as_seen(pictures)
    error = float(((codec.turn_back(codec.project(x)) - x) ** 2).mean())
    assert 10 * np.log10(4 / error) > 24  # dB
    assert float(mx.abs(codec.neighbourhood(x)).mean()) < 0.1 * float(mx.abs(codec.project(x)).mean())


def test_nothing_in_it_is_what_mflux_would_quantize(codec: TinyAutoencoder) -> None:
    assert not [name for name, module in codec.named_modules() if isinstance(module, (nn.Linear, nn.Embedding))]
    assert sum(array.size for _, array in tree_flatten(codec.parameters())) < 400_000  # of ten million that fit


def test_a_patch_that_is_off_has_no_border(codec: TinyAutoencoder, pictures: np.ndarray) -> None:
    """Each token's brightness is off by itself, as a transformer's are: patches side by side would show their grid."""
    tokens = codec.project(_as_seen(np.full_like(pictures, 128)))
    noise = np.random.default_rng(4).standard_normal(tokens.shape).astype(np.float32)
    noise[..., 3:] = 0  # brightness and colour, not detail
    off = tokens + mx.array(noise)
    side_by_side = unfold((off / codec.scale) @ codec.basis + codec.mean, PATCH_PX)
    assert _border_ratio(side_by_side) > 5
    assert _border_ratio(codec.turn_back(off)) < 2  # a slope over half of both patches


def _border_ratio(pictures: mx.array) -> float:
    """The mean step across borders of patches over that inside them."""
    steps = np.abs(np.diff(np.array(pictures), axis=2)).mean(axis=(0, 1, 3))
    at_border = (np.arange(len(steps)) + 1) % PATCH_PX == 0
    return float(steps[at_border].mean() / steps[~at_border].mean())


def test_a_single_row_of_patches_is_taken_as_it_is(codec: TinyAutoencoder) -> None:
    x = mx.random.normal((1, 16, 16, 3))
    assert codec.decode_tokens(codec.encode_tokens(x)).shape == x.shape
