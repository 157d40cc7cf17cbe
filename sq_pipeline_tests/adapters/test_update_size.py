"""Tests of an update's norm and effective rank: numpy's SVD of the dense update is the judge.

What the report makes of them is in test_inspect.
"""

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.adapters.inspect import inspect, update_size
from sq_pipeline.adapters.inspect.inspect import report_adapter
from sq_pipeline.adapters.inspect.update_size import TensorReader, effective_rank, update_norm
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.common.errors import AdapterError
from sq_pipeline_tests.adapters.files import Tensors, save, to_bits

Matrix = npt.NDArray[np.float64]

KOHYA = "lora_unet_double_blocks_0_img_attn_qkv"
MLX = "double_blocks.0.img_attn.qkv"


def matrices(draw: st.DrawFn) -> tuple[Matrix, Matrix]:
    """Down (rank, inputs) and up (outputs, rank), exact in float16, some with rows alike or of zeros."""
    rank, inputs, outputs = (draw(st.integers(1, most)) for most in (6, 12, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    down = random.integers(-8, 9, (rank, inputs)).astype(np.float64)
    up = random.integers(-8, 9, (outputs, rank)).astype(np.float64)
    if draw(st.booleans()):
        down[rank // 2] = down[0]
    if draw(st.booleans()):
        up[:, rank - 1] = 0
    return down, up


def entropy_rank(dense: Matrix) -> float:
    """The effective rank by its definition, from all singular values of the dense update."""
    singular = np.linalg.svd(dense, compute_uv=False)
    if not singular.any():
        return 0.0
    shares = singular[singular > singular[0] * 1e-12] / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


@given(st.composite(matrices)(), st.sampled_from([1.0, 0.125, -3.0, 1e-12]))
@settings(deadline=None, max_examples=150)
def test_norm_and_effective_rank_are_those_of_the_dense_update(pair: tuple[Matrix, Matrix], scale: float):
    down, up = pair
    products = down @ down.T, up.T @ up
    dense = scale * up @ down
    assert update_norm(*products, scale) == pytest.approx(np.linalg.norm(dense), rel=1e-9)
    assert effective_rank(*products) == pytest.approx(entropy_rank(dense), rel=1e-5)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_the_effective_rank_counts_directions_that_are_alike(rank: int):
    """Orthogonal directions of one strength count in full; one direction said often counts once."""
    spread = np.eye(8)[:rank]
    assert effective_rank(spread @ spread.T, spread @ spread.T) == pytest.approx(rank)
    same = np.ones((rank, 8))
    assert effective_rank(same @ same.T, np.ones((rank, rank))) == pytest.approx(1)


def test_the_effective_rank_of_nothing_is_zero():
    assert effective_rank(np.zeros((4, 4)), np.eye(4)) == 0
    cancelling = np.array([[4.0, -4.0, 0.0]]).T @ np.array([[4.0, -4.0, 0.0]])
    down = np.array([[0.0, -3.0, 1.0], [0.0, -3.0, 1.0], [-4.0, -5.0, 5.0]])
    assert effective_rank(down @ down.T, cancelling) == 0


@given(
    pair=st.composite(matrices)(),
    dtype=st.sampled_from(["F32", "F16", "BF16"]),
    is_mlx=st.booleans(),
    chunk=st.sampled_from([1, 5, 16, 1 << 17]),
)
@settings(deadline=None, max_examples=80)
def test_a_file_is_read_the_same_in_pieces_of_any_size(
    pair: tuple[Matrix, Matrix], dtype: str, is_mlx: bool, chunk: int
):
    down, up = pair
    down_name, up_name = (
        (f"{MLX}.lora_a", f"{MLX}.lora_b") if is_mlx else (f"{KOHYA}.lora_down.weight", f"{KOHYA}.lora_up.weight")
    )
    tensors: Tensors = {
        "first": ("F32", to_bits(np.ones(3))),
        down_name: (dtype, to_bits(down.T if is_mlx else down, dtype)),
        up_name: (dtype, to_bits(up.T if is_mlx else up, dtype)),
    }
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = save(Path(folder) / "a.safetensors", tensors)
        patch.setattr(update_size, "_CHUNK", chunk)
        file = open_safetensors(path)
        with TensorReader(file) as reader:
            of_down = reader.gram(file.tensors[down_name], of_rows=not is_mlx)
            of_up = reader.gram(file.tensors[up_name], of_rows=is_mlx)
        (row,) = report_adapter(path, with_spectrum=True).rows
    np.testing.assert_array_equal(of_down, down @ down.T)
    np.testing.assert_array_equal(of_up, up.T @ up)
    assert row.update_norm == pytest.approx(np.linalg.norm(up @ down), rel=1e-9)
    assert row.effective_rank == pytest.approx(entropy_rank(up @ down), rel=1e-5)


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1e-12, 1e12, 1e30])
def test_numbers_at_the_ends_of_float32_neither_vanish_nor_overflow(tmp_path: Path, size: float):
    random = np.random.default_rng(1)
    down, up = (random.uniform(1, 2, shape).astype(np.float32) * np.float32(size) for shape in ((2, 8), (24, 2)))
    tensors: Tensors = {
        f"{KOHYA}.lora_down.weight": ("F32", to_bits(down)),
        f"{KOHYA}.lora_up.weight": ("F32", to_bits(up)),
    }
    report = report_adapter(save(tmp_path / "a.safetensors", tensors), with_spectrum=True)
    dense = up.astype(np.float64) @ down.astype(np.float64)
    assert report.rows[0].update_norm == pytest.approx(np.linalg.norm(dense), rel=1e-9)
    assert report.rows[0].effective_rank == pytest.approx(entropy_rank(dense), rel=1e-5)
    assert not [fault for fault in report.faults if "zero" in fault or "NaN" in fault]


def test_doubles_whose_squares_are_beyond_a_number_are_not_called_nan(tmp_path: Path):
    big = ("F64", np.full((2, 8), 1e200).view(np.uint64))
    tensors: Tensors = {f"{KOHYA}.lora_down.weight": big, f"{KOHYA}.lora_up.weight": ("F32", to_bits(np.ones((24, 2))))}
    report = report_adapter(save(tmp_path / "a.safetensors", tensors))
    assert not [fault for fault in report.faults if "NaN" in fault]
    assert report.rows[0].update_norm is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 70, 95])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_a_number_that_is_none_is_found_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, place: int, dtype: str
):
    monkeypatch.setattr(update_size, "_CHUNK", 7)
    numbers = np.zeros((8, 12))
    numbers.flat[place] = value
    path = save(tmp_path / "a.safetensors", {"t": (dtype, to_bits(numbers, dtype))})
    file = open_safetensors(path)
    with TensorReader(file) as reader:
        assert not reader.is_finite(file.tensors["t"])
        for of_rows in (True, False):
            assert not np.isfinite(reader.gram(file.tensors["t"], of_rows=of_rows).diagonal()).all()


def test_a_tiled_down_matrix_counts_once(tmp_path: Path):
    random = np.random.default_rng(2)
    down, up = random.standard_normal((2, 8)).astype(np.float32), random.standard_normal((24, 2)).astype(np.float32)
    tensors: Tensors = {
        f"{KOHYA}.lora_down.weight": ("F32", to_bits(np.tile(down, (3, 1)))),
        f"{KOHYA}.lora_up.weight": ("F32", to_bits(up)),
    }
    (row,) = report_adapter(save(tmp_path / "a.safetensors", tensors)).rows
    assert row.rank == 2
    assert row.update_norm == pytest.approx(np.linalg.norm(up @ down), rel=1e-6)
    tensors[f"{KOHYA}.lora_down.weight"] = ("F32", to_bits(random.standard_normal((6, 8))))
    (row,) = report_adapter(save(tmp_path / "b.safetensors", tensors)).rows
    assert row.update_norm is None


def test_a_rank_beyond_all_use_is_not_measured_and_still_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inspect, "_MAX_RANK", 1)
    tensors: Tensors = {
        f"{KOHYA}.lora_down.weight": ("F32", to_bits([[1.0] * 8, [np.nan] * 8])),
        f"{KOHYA}.lora_up.weight": ("F32", to_bits(np.ones((24, 2)))),
    }
    report = report_adapter(save(tmp_path / "a.safetensors", tensors))
    assert [row.update_norm for row in report.rows] == [None]
    assert f"{KOHYA}.lora_down.weight: holds NaN or infinity" in report.faults


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path):
    path = save(tmp_path / "a.safetensors", {"t": ("F32", to_bits(np.ones((8, 12))))})
    file = open_safetensors(path)
    path.write_bytes(path.read_bytes()[:-4])
    with TensorReader(file) as reader, pytest.raises(AdapterError, match="became shorter while it was read"):
        reader.gram(file.tensors["t"], of_rows=True)
