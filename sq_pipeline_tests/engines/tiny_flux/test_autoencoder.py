"""The autoencoder as mflux calls it: shapes, the order of its tokens, what it begins with, how sharp it can be."""

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn
from mlx.utils import tree_flatten

from sq_pipeline.engines.tiny_flux.large.autoencoder import PATCH_PX, TinyAutoencoder, fold, unfold
from sq_pipeline.engines.tiny_flux.vae import pack


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Two soft pictures, (2, 64, 96, 3) uint8."""
    y, x = np.mgrid[0:1:64j, 0:1:96j]
    planes = np.stack([x, y, 0.5 * (x + y)], axis=-1)
    return (255 * np.stack([planes, 1 - planes])).astype(np.uint8)


@pytest.fixture(scope="module")
def codec(pictures: np.ndarray) -> TinyAutoencoder:
    mx.random.seed(3)
    codec = TinyAutoencoder()
    codec.begin_with(pictures)
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
    assert latents.shape == (2, 16, 64 // 8, 96 // 8)
    tokens = codec.encode_tokens(x)
    assert mx.array_equal(pack(latents), tokens.reshape(2, -1, 64)).item()
    assert mx.array_equal(codec.encode(x.transpose(0, 3, 1, 2)[:, :, None]), latents).item()
    decoded = codec.decode(latents)
    assert decoded.shape == (2, 3, 64, 96)
    assert mx.allclose(decoded.transpose(0, 2, 3, 1), codec.decode_tokens(tokens), atol=1e-5).item()


def test_it_begins_with_the_principal_components(codec: TinyAutoencoder, pictures: np.ndarray) -> None:
    x = _as_seen(pictures)
    turned_back = unfold((codec.project(x) / codec.scale) @ codec.basis + codec.mean, PATCH_PX)
    assert float(mx.abs(turned_back - x).max()) < 0.02
    assert float(mx.abs(codec.added_tokens(x)).mean()) < 0.1 * float(mx.abs(codec.project(x)).mean())


def test_nothing_in_it_is_what_mflux_would_quantize(codec: TinyAutoencoder) -> None:
    assert not [name for name, module in codec.named_modules() if isinstance(module, (nn.Linear, nn.Embedding))]
    assert sum(array.size for _, array in tree_flatten(codec.parameters())) < 400_000  # of ten million that fit
