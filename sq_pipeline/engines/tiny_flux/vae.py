"""tiny-flux's picture codec: each 16×16 patch as 64 numbers (one FLUX.1 token); a small network hides the seams.

The code is linear: the patch's 64 leading principal components, scaled. The decoder turns them back and
lets a few convolutions over the whole picture repair the borders and what the components lost.
Called as mflux calls its VAE: `decode(latents)` and `encode(image)`, channels first, pictures in −1…1,
latents (batch, 16, height/8, width/8), which FLUX.1 packs 2×2 into its tokens.
"""

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mlx import nn

PATCH_PX = 16
TOKEN_SIZE = 64
_PATCH_SIZE = PATCH_PX * PATCH_PX * 3
# Components are scaled to deviation² ∝ variance**_FLATNESS. 0 would weigh a hairline like the sky's colour, and most
# of what is learned would be noise; 1 is a patch's own metric, in which details drown in what is left of the noise.
_FLATNESS = 0.5
_SEAM = 0.16  # steps at a patch border up to about this (of −1…1) are seams


class Conv3x3(nn.Module):
    """A 3×3 convolution, edges repeated; (batch, height, width, inputs) → (…, outputs).

    Nine shifted matrix products: MLX's own CPU convolution does not go through BLAS (2 GFLOP/s measured,
    against 100 and more).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = (9 * inputs) ** -0.5
        self.weight = mx.random.uniform(-bound, bound, (9, inputs, outputs))
        self.bias = mx.zeros((outputs,))

    def __call__(self, x: mx.array) -> mx.array:
        height, width = x.shape[1:3]
        padded = mx.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        out = self.bias
        for index in range(9):
            row, column = divmod(index, 3)
            out = out + padded[:, row : row + height, column : column + width] @ self.weight[index]
        return out


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv3x3(channels, channels)
        self.second = Conv3x3(channels, channels)

    def __call__(self, x: mx.array) -> mx.array:
        return x + self.second(nn.relu(self.first(nn.relu(x))))


def _fold(x: mx.array, size: int) -> mx.array:
    """(batch, height, width, channels) → (batch, height/size, width/size, size²·channels)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // size, size, width // size, size, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height // size, width // size, size * size * channels)


def _unfold(x: mx.array, size: int) -> mx.array:
    """The inverse of `_fold`."""
    batch, rows, columns, folded = x.shape
    channels = folded // (size * size)
    x = x.reshape(batch, rows, columns, size, size, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, rows * size, columns * size, channels)


class Refiner(nn.Module):
    """What to add to a decoded picture (batch, height, width, 3) so that its patches join; works at half size."""

    def __init__(self, channels: int = 48, blocks: int = 3) -> None:
        super().__init__()
        self.conv_in = Conv3x3(12, channels)
        self.blocks = [_Residual(channels) for _ in range(blocks)]
        self.conv_out = Conv3x3(channels, 12)
        self.conv_out.weight = self.conv_out.weight * 0.1

    def __call__(self, picture: mx.array) -> mx.array:
        x = self.conv_in(_fold(picture, 2))
        for block in self.blocks:
            x = block(x)
        return _unfold(self.conv_out(nn.relu(x)), 2)


def _join_columns(picture: mx.array) -> mx.array:
    """The picture (batch, height, width, 3) with small steps between neighbouring patches spread over half a patch.

    The step at a border is what two patches' brightness disagrees by where the picture itself is smooth, as in a sky;
    a larger one is an edge of the picture and stays. So do video decoders smooth their blocks.
    """
    batch, height, width, channels = picture.shape
    patches = picture.reshape(batch, height, width // PATCH_PX, PATCH_PX, channels)
    step = patches[:, :, 1:, :1] - patches[:, :, :-1, -1:]
    half = 0.5 * step * mx.exp(-((step / _SEAM) ** 2))
    rise = mx.maximum(mx.arange(PATCH_PX) - (PATCH_PX // 2 - 1), 0)[:, None] / (PATCH_PX // 2)
    none = mx.zeros_like(half[:, :, :1])
    to_the_right = mx.concatenate([half, none], axis=2) * rise
    to_the_left = mx.concatenate([none, half], axis=2) * rise[::-1]
    return (patches + to_the_right - to_the_left).reshape(picture.shape)


class TinyVAE(nn.Module):
    """The codec behind mflux's VAE calls. `basis` (64, 768) has orthonormal rows, `mean` (768,), `scale` (64,)."""

    spatial_scale = 8
    latent_channels = 16

    def __init__(self) -> None:
        super().__init__()
        self.mean = mx.zeros((_PATCH_SIZE,))
        self.basis = mx.zeros((TOKEN_SIZE, _PATCH_SIZE))
        self.scale = mx.ones((TOKEN_SIZE,))
        self.refiner = Refiner()

    def fit(self, pictures: npt.NDArray[np.uint8]) -> None:
        """Set the principal components from `pictures` (count, height, width, 3), uint8."""
        patches = np.array(_fold(mx.array(pictures.astype(np.float32) / 127.5 - 1), PATCH_PX)).reshape(-1, _PATCH_SIZE)
        mean = patches.mean(0)
        variances, vectors = np.linalg.eigh(np.cov((patches - mean).T))
        leading = np.argsort(variances)[::-1][:TOKEN_SIZE]
        wanted = variances[leading] ** (_FLATNESS / 2)
        wanted /= np.sqrt((wanted**2).mean())
        self.mean = mx.array(mean)
        self.basis = mx.array(vectors[:, leading].T.astype(np.float32))
        self.scale = mx.array((wanted / np.sqrt(variances[leading])).astype(np.float32))

    def encode_tokens(self, pictures: mx.array) -> mx.array:
        """Pictures (batch, height, width, 3) in −1…1 → tokens (batch, height/16, width/16, 64)."""
        return ((_fold(pictures, PATCH_PX) - self.mean) @ self.basis.T) * self.scale

    def decode_tokens(self, tokens: mx.array) -> mx.array:
        """Tokens (batch, height/16, width/16, 64) → pictures (batch, height, width, 3), about −1…1."""
        picture = self.decode_linear(tokens)
        picture = picture + self.refiner(picture)
        return _join_columns(_join_columns(picture).swapaxes(1, 2)).swapaxes(1, 2)

    def decode_linear(self, tokens: mx.array) -> mx.array:
        """The linear part of `decode_tokens`: patches side by side, seams and all."""
        return _unfold((tokens / self.scale) @ self.basis + self.mean, PATCH_PX)

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


def pack(latents: mx.array) -> mx.array:
    """(batch, 16, height/8, width/8) → FLUX.1's tokens (batch, height/16 · width/16, 64)."""
    batch, channels, height, width = latents.shape
    latents = latents.reshape(batch, channels, height // 2, 2, width // 2, 2).transpose(0, 2, 4, 1, 3, 5)
    return latents.reshape(batch, (height // 2) * (width // 2), channels * 4)
