"""tiny-flux's picture autoencoder: each 16×16 patch as 64 numbers (one FLUX.1 token).

A lapped transform mixes the pixels at both sides of every border between patches; of what a patch then holds, a
projection keeps the principal components. Turned back, a patch's components fade out into its neighbours, so that no
border is seen, whatever a token says. Convolutions beside it, in the encoder and the decoder, are trained together:
they add what the neighbourhood tells, and give back what the components lost.
Called as mflux calls its VAE: `decode(latents)` and `encode(image)`, channels first, pictures in −1…1,
latents (batch, 16, height/8, width/8), which FLUX.1 packs 2×2 into its tokens.
"""

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mlx import nn

from sq_pipeline.engines.tiny_flux.vae import Conv3x3, pack

PATCH_PX = 16
TOKEN_SIZE = 64
_PATCH_SIZE = PATCH_PX * PATCH_PX * 3
_DC_GAIN = 1.3  # of `_lapping`; from 0.6 to 1.6 the one that kept most with 64 components
# Components are scaled to deviation² ∝ variance**_FLATNESS. 0 would weigh a hairline like the sky's colour, and most
# of what is learned would be noise; 1 is a patch's own metric, in which details drown in what is left of the noise.
_FLATNESS = 0.5
_GAIN = 3**0.5 * 2**0.5  # of `Conv3x3`'s first weights: against what its range and the rectifier take away
_ENCODED, _WIDE, _MIDDLE = 48, 64, 56  # channels of the encoder, and of the decoder at an eighth and at a quarter


class Pointwise(nn.Module):
    """The same product at every point: (…, inputs) → (…, outputs). No `nn.Linear`, which mflux would quantize."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = (3 / inputs) ** 0.5  # what comes out is as strong as what goes in
        self.weight = mx.random.uniform(-bound, bound, (inputs, outputs))
        self.bias = mx.zeros((outputs,))

    def __call__(self, x: mx.array) -> mx.array:
        return x @ self.weight + self.bias


class _Residual(nn.Module):
    """What a point's neighbours tell of it, added to it; little at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv3x3(channels, channels)
        self.second = Conv3x3(channels, channels)
        self.first.weight = self.first.weight * _GAIN
        self.second.weight = self.second.weight * 0.3

    def __call__(self, x: mx.array) -> mx.array:
        return x + self.second(_bend(self.first(_even(x))))


def _even(x: mx.array) -> mx.array:
    """Each point at a root mean square of 1."""
    return mx.fast.rms_norm(x, None, 1e-5)


def _bend(x: mx.array) -> mx.array:
    """A leaky rectifier: one that is never dead."""
    return mx.maximum(x, 0.1 * x)


def fold(x: mx.array, size: int) -> mx.array:
    """(batch, height, width, channels) → (batch, height/size, width/size, size²·channels)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // size, size, width // size, size, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height // size, width // size, size * size * channels)


def unfold(x: mx.array, size: int) -> mx.array:
    """The inverse of `fold`."""
    batch, rows, columns, folded = x.shape
    channels = folded // (size * size)
    x = x.reshape(batch, rows, columns, size, size, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, rows * size, columns * size, channels)


def _cosines(size: int, *, is_fourth: bool) -> npt.NDArray[np.float64]:
    """The orthonormal DCT of type II or IV, (size, size): rows are frequencies."""
    shift = 0.5 if is_fourth else 0.0
    rows, columns = np.arange(size)[:, None] + shift, np.arange(size)[None] + 0.5
    table = np.sqrt(2 / size) * np.cos(np.pi / size * rows * columns)
    if not is_fourth:
        table[0] /= np.sqrt(2)
    return table


def _lapping() -> tuple[mx.array, mx.array]:
    """What mixes the 16 pixels around a border, and what undoes it, each (16, 16).

    Tran, Liang and Tu 2003, "Lapped transform via time-domain pre- and post-filtering", section III: butterflies
    around V = J C2ᵀ S C4 J, which is all but orthogonal.
    """
    half = PATCH_PX // 2
    same, turned, none = np.eye(half), np.eye(half)[::-1], np.zeros((half, half))
    butterfly = np.block([[same, turned], [turned, -same]]) / np.sqrt(2)
    gains = np.diag([_DC_GAIN, *np.ones(half - 1)])
    inner = turned @ _cosines(half, is_fourth=False).T @ gains @ _cosines(half, is_fourth=True) @ turned
    there = butterfly @ np.block([[same, none], [none, inner]]) @ butterfly
    return mx.array(there.astype(np.float32)), mx.array(np.linalg.inv(there).astype(np.float32))


_MIX, _PART = _lapping()


def _across_rows(x: mx.array, matrix: mx.array) -> mx.array:
    """Apply a matrix to the 16 pixels above and below each border of patches; (batch, height, width, channels)."""
    batch, height, width, channels = x.shape
    half = PATCH_PX // 2
    if height == PATCH_PX:
        return x
    around = x[:, half:-half].reshape(batch, height // PATCH_PX - 1, PATCH_PX, width * channels)
    mixed = (matrix @ around).reshape(batch, height - PATCH_PX, width, channels)
    return mx.concatenate([x[:, :half], mixed, x[:, -half:]], axis=1)


def _across_all(x: mx.array, matrix: mx.array) -> mx.array:
    across = _across_rows(x, matrix).swapaxes(1, 2)
    return _across_rows(across, matrix).swapaxes(1, 2)


class _Neighbourhood(nn.Module):
    """What the encoder adds to a patch's components: pictures → (batch, height/16, width/16, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.into = Pointwise(8 * 8 * 3, _ENCODED)
        self.block = _Residual(_ENCODED)
        self.out = Pointwise(4 * _ENCODED, TOKEN_SIZE)
        self.out.weight = self.out.weight * 0.02

    def __call__(self, pictures: mx.array) -> mx.array:
        return self.out(fold(_bend(_even(self.block(self.into(fold(pictures, 8))))), 2))


class _Painter(nn.Module):
    """What the decoder adds to the projection turned back: its tokens and its picture → (batch, height, width, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.into = Pointwise(TOKEN_SIZE, 4 * _WIDE)
        self.wide = _Residual(_WIDE)
        self.to_middle = Pointwise(_WIDE, 4 * _MIDDLE)
        self.picture_in = Conv3x3(4 * 4 * 3, _MIDDLE)
        self.middle = [_Residual(_MIDDLE) for _ in range(2)]
        self.out = Conv3x3(_MIDDLE, 4 * 4 * 3)
        self.out.weight = self.out.weight * 0.02

    def __call__(self, tokens: mx.array, picture: mx.array) -> mx.array:
        x = self.wide(unfold(self.into(tokens), 2))
        x = unfold(self.to_middle(_bend(_even(x))), 2) + self.picture_in(fold(picture, 4))
        for block in self.middle:
            x = block(x)
        return unfold(self.out(_bend(_even(x))), 4)


class TinyAutoencoder(nn.Module):
    """The autoencoder behind mflux's VAE calls. `basis` (64, 768), `mean` (768,), `scale` (64,) are a projection."""

    spatial_scale = 8
    latent_channels = 16

    def __init__(self) -> None:
        super().__init__()
        self.mean = mx.zeros((_PATCH_SIZE,))
        self.basis = mx.zeros((TOKEN_SIZE, _PATCH_SIZE))
        self.scale = mx.ones((TOKEN_SIZE,))
        self.neighbourhood = _Neighbourhood()
        self.painter = _Painter()

    def begin_with(self, pictures: npt.NDArray[np.uint8]) -> None:
        """Set the projection to the principal components of `pictures` (count, height, width, 3)."""
        mixed = _across_all(mx.array(pictures.astype(np.float32) / 127.5 - 1), _MIX)
        patches = np.array(fold(mixed, PATCH_PX)).reshape(-1, _PATCH_SIZE)
        mean = patches.mean(0)
        variances, vectors = np.linalg.eigh(np.cov((patches - mean).T))
        leading = np.argsort(variances)[::-1][:TOKEN_SIZE]
        wanted = variances[leading] ** (_FLATNESS / 2)
        wanted /= np.sqrt((wanted**2).mean())
        self.mean = mx.array(mean)
        self.basis = mx.array(vectors[:, leading].T.astype(np.float32))
        self.scale = mx.array((wanted / np.sqrt(variances[leading])).astype(np.float32))

    def project(self, pictures: mx.array) -> mx.array:
        """The projection alone: pictures (batch, height, width, 3) → tokens (batch, height/16, width/16, 64)."""
        return ((fold(_across_all(pictures, _MIX), PATCH_PX) - self.mean) @ self.basis.T) * self.scale

    def turn_back(self, tokens: mx.array) -> mx.array:
        """The inverse of `project`, as far as the components go."""
        return _across_all(unfold((tokens / self.scale) @ self.basis + self.mean, PATCH_PX), _PART)

    def encode_tokens(self, pictures: mx.array) -> mx.array:
        """Pictures (batch, height, width, 3) in −1…1 → tokens (batch, height/16, width/16, 64)."""
        return self.project(pictures) + self.neighbourhood(pictures)

    def decode_tokens(self, tokens: mx.array) -> mx.array:
        """Tokens (batch, height/16, width/16, 64) → pictures (batch, height, width, 3), about −1…1."""
        picture = self.turn_back(tokens)
        return picture + self.painter(tokens, picture)

    def encode(self, image: mx.array) -> mx.array:
        """Pictures (batch, 3, height, width) in −1…1 → latents (batch, 16, height/8, width/8)."""
        if image.ndim == 5:
            image = image[:, :, 0]
        tokens = self.encode_tokens(image.transpose(0, 2, 3, 1))
        batch, rows, columns, _ = tokens.shape
        spread = tokens.reshape(batch, rows, columns, 16, 2, 2).transpose(0, 3, 1, 4, 2, 5)
        return spread.reshape(batch, 16, rows * 2, columns * 2)

    def decode(self, latents: mx.array) -> mx.array:
        """Latents (batch, 16, height/8, width/8) → pictures (batch, 3, height, width), about −1…1."""
        if latents.ndim == 5:
            latents = latents[:, :, 0]
        batch, _, height, width = latents.shape
        tokens = pack(latents).reshape(batch, height // 2, width // 2, TOKEN_SIZE)
        return self.decode_tokens(tokens).transpose(0, 3, 1, 2)
