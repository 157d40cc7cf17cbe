"""Tests of the stand-in for torch: rounding and comparing as torch does, and a loud stop where it has nothing."""

import numpy as np
import pytest

from sq_pipeline_tests.loaders import numpy_torch  # TORCH answers no question of pytest's collector
from sq_pipeline_tests.loaders.numpy_torch import DTYPES, MissingStandInError, Tensor


@pytest.mark.parametrize(
    ("dtype", "number", "rounded"),
    [
        ("BF16", 1 + 2**-8, 1.0),  # halfway: to the even neighbour, down here
        ("BF16", 1 + 3 * 2**-8, 1 + 2**-6),  # and up here
        ("BF16", 1 + 2**-8 + 2**-15, 1 + 2**-7),
        ("BF16", -0.2, -0.2001953125),
        ("F16", 1 + 2**-11, 1.0),
        ("F16", 0.1, 0.0999755859375),
        ("F32", 0.1, float(np.float32(0.1))),
        ("F64", 0.1, 0.1),
    ],
)
def test_results_are_rounded_to_the_dtype(dtype: str, number: float, rounded: float) -> None:
    one = Tensor([1.0], DTYPES[dtype])
    assert (one * number).values.tolist() == [rounded]
    assert numpy_torch.TORCH.tensor(number, dtype=DTYPES[dtype]).item() == rounded


def test_a_tensor_of_no_dimensions_does_not_change_the_dtype() -> None:
    product = Tensor([3.0], DTYPES["BF16"]) * numpy_torch.TORCH.tensor(0.1)
    assert product.dtype == DTYPES["BF16"]
    assert product.values.tolist() == [0.30078125]


def test_equal_tensors_are_two_entries_of_a_set() -> None:
    """What diffusers' counting of alphas runs into."""
    alphas = [numpy_torch.TORCH.tensor(2.0), numpy_torch.TORCH.tensor(2.0)]
    assert len(set(alphas)) == 2
    assert bool(alphas[0] == alphas[1])
    assert not bool(alphas[0] != alphas[1])


def test_parts_are_cut_as_torch_cuts_them() -> None:
    tensor = Tensor(np.arange(7.0))
    assert [part.values.tolist() for part in numpy_torch.TORCH.chunk(tensor, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [part.values.tolist() for part in numpy_torch.TORCH.split(tensor, [1, 2, 4])] == [[0], [1, 2], [3, 4, 5, 6]]
    with pytest.raises(RuntimeError, match="sum exactly"):
        numpy_torch.TORCH.split(tensor, [1, 2])


@pytest.mark.parametrize("ask", [lambda t: t + t, lambda t: t.norm(), lambda t: numpy_torch.TORCH.einsum, lambda t: -t])
def test_what_is_not_stood_in_for_is_no_refusal(ask) -> None:
    with pytest.raises(MissingStandInError):
        ask(Tensor([1.0]))
    assert not issubclass(MissingStandInError, Exception)
