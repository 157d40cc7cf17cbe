"""GELU for training on a CPU, where MLX evaluates `tanh` and `erf` one element at a time.

Measured on 1.3 M float32 elements, forward and backward: MLX's 85 ms, these 20 ms; with them a training
step takes less than half the time. Both stay within 2e-4 of the true function (relative to |x|: 4e-5),
finer than bfloat16 resolves. On a GPU, and for rendering, MLX's own are used.
"""

import mlx.core as mx
from mlx import nn

_TANH_LIMIT = 4.97  # where the Padé form below leaves tanh by less than 1e-4

# u(x) with gelu(x) = x/2 · (1 + tanh(u)): the tanh form's own polynomial (Hendrycks & Gimpel 2016), and one
# fitted to the exact, erf form over |x| ≤ 6 (largest error 1.6e-4).
_TANH_FORM = (0.7978845608028654, 0.7978845608028654 * 0.044715, 0.0)
_ERF_FORM = (0.796436482, 0.0380939647, -0.000542305819)
_ERF_SQUARE_LIMIT = 30.0  # beyond it the fitted polynomial turns back; gelu is x or 0 there anyway


def _gelu_and_slope(x: mx.array, form: tuple[float, float, float]) -> tuple[mx.array, mx.array]:
    first, third, fifth = form
    square = mx.minimum(x * x, _ERF_SQUARE_LIMIT) if fifth else x * x
    inner = first + square * (third + square * fifth) if fifth else first + square * third
    unbounded = x * inner
    u = mx.clip(unbounded, -_TANH_LIMIT, _TANH_LIMIT)
    s = u * u
    # Padé [7/6] of tanh
    tanh = u * (135135 + s * (17325 + s * (378 + s))) / (135135 + s * (62370 + s * (3150 + 28 * s)))
    half = 0.5 + 0.5 * tanh
    u_slope = first + square * (3 * third + square * (5 * fifth)) if fifth else first + square * (3 * third)
    bend = mx.where(mx.abs(unbounded) < _TANH_LIMIT, x * (0.5 - 0.5 * tanh * tanh) * u_slope, 0.0)
    return x * half, half + bend


@mx.custom_function
def _fast_gelu(x: mx.array) -> tuple[mx.array, mx.array]:
    return _gelu_and_slope(x, _ERF_FORM)


@_fast_gelu.vjp
def _fast_gelu_vjp(_primal: mx.array, cotangents: tuple[mx.array, ...], outputs: tuple[mx.array, ...]) -> mx.array:
    return cotangents[0] * outputs[1]


@mx.custom_function
def _fast_gelu_approx(x: mx.array) -> tuple[mx.array, mx.array]:
    return _gelu_and_slope(x, _TANH_FORM)


@_fast_gelu_approx.vjp
def _fast_gelu_approx_vjp(
    _primal: mx.array, cotangents: tuple[mx.array, ...], outputs: tuple[mx.array, ...]
) -> mx.array:
    return cotangents[0] * outputs[1]


def gelu(x: mx.array, *, is_fast: bool) -> mx.array:
    """The exact GELU, x·Φ(x)."""
    return _fast_gelu(x)[0] if is_fast else nn.gelu(x)


def gelu_approx(x: mx.array, *, is_fast: bool) -> mx.array:
    """The tanh form of GELU."""
    return _fast_gelu_approx(x)[0] if is_fast else nn.gelu_approx(x)
