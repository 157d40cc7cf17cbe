"""The little of torch that diffusers' LoRA loading calls, over numpy. Ours; no code of torch is here.

Results are rounded to the dtype of the tensor after every operation, as torch's CPU kernels do: bfloat16 and float16
are computed in float32. What is not stood in for raises MissingStandInError, which nothing takes for a refusal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from sq_pipeline_tests.adapters.files import Bits
from sq_pipeline_tests.loaders.factors import from_bits


class MissingStandInError(BaseException):
    """The wheel asks for something that the harness does not have: a fault of the harness, never an outcome."""


class StandIn:
    """A module or object of which only the given names exist."""

    def __init__(self, name: str, **attributes: Any) -> None:
        self._name = name
        self.__dict__.update(attributes)

    def __getattr__(self, attribute: str) -> Any:
        raise MissingStandInError(f"{self._name}.{attribute}")


@dataclass(frozen=True)
class DType:
    """A dtype by its name in safetensors; `computes_in` is numpy's."""

    name: str
    computes_in: type
    is_floating: bool = True

    def round(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The nearest numbers that this dtype holds, ties to even, in the dtype that computes."""
        values = np.asarray(values).astype(self.computes_in)
        if self.name == "F16":
            return values.astype(np.float16).astype(np.float32)
        if self.name == "BF16":
            bits = values.view(np.uint32)
            up = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
            return (up & np.uint32(0xFFFF0000)).view(np.float32)
        return values


FLOAT32 = DType("F32", np.float32)
DTYPES = {
    dtype.name: dtype
    for dtype in (
        FLOAT32,
        DType("F16", np.float32),
        DType("BF16", np.float32),
        DType("F64", np.float64),
        DType("I64", np.int64, is_floating=False),
        DType("BOOL", np.bool_, is_floating=False),
    )
}
_BOOL = DTYPES["BOOL"]


class Tensor:
    """Numbers with a dtype. Hashed by identity and compared element by element, as torch does."""

    device: ClassVar[str] = "cpu"

    def __init__(self, values: npt.ArrayLike, dtype: DType = FLOAT32) -> None:
        self.values = np.asarray(values, dtype=dtype.computes_in)
        self.dtype = dtype

    def __getattr__(self, attribute: str) -> Any:
        raise MissingStandInError(f"Tensor.{attribute}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each dimension."""
        return self.values.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.values.ndim

    @property
    def data(self) -> "Tensor":
        """The tensor itself: nothing here tracks gradients."""
        return self

    def item(self) -> Any:
        """The only number, as Python's."""
        return self.values.item()

    def contiguous(self) -> "Tensor":
        """The same numbers."""
        return Tensor(self.values.copy(), self.dtype)

    def chunk(self, chunks: int, dim: int = 0) -> tuple["Tensor", ...]:
        """At most that many parts of equal size, the last one smaller where it does not divide."""
        size = -(-self.shape[dim] // chunks)
        return split(self, size, dim)

    def copy_(self, source: "Tensor") -> None:
        """Write `source` here, in place."""
        self.values[...] = self.dtype.round(source.values)

    def __getitem__(self, index: Any) -> "Tensor":
        part = Tensor(0, self.dtype)
        part.values = self.values[index]  # a view, as in torch: copy_ writes through it
        return part

    def __bool__(self) -> bool:
        return bool(self.values.item())

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> Any:
        return Tensor(self.values == _values(other), _BOOL)

    def __ne__(self, other: object) -> Any:
        return Tensor(self.values != _values(other), _BOOL)

    def __lt__(self, other: Any) -> "Tensor":
        return Tensor(self.values < _values(other), _BOOL)

    def __mul__(self, other: Any) -> "Tensor":
        return self._computed(other, np.multiply)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Tensor":
        return self._computed(other, np.true_divide)

    def _computed(self, other: Any, operation: Any) -> "Tensor":
        dtype = self.dtype if self.dtype.is_floating else FLOAT32
        # a Python number, or a tensor of no dimensions, leaves the dtype as it is
        if isinstance(other, Tensor) and other.ndim and other.dtype != dtype:
            raise MissingStandInError(f"{self.dtype.name} with {other.dtype.name}")
        values = operation(self.values.astype(dtype.computes_in), np.asarray(_values(other), dtype.computes_in))
        return Tensor(dtype.round(values), dtype)

    def _missing(self, *_: Any) -> Any:
        raise MissingStandInError("an operator of Tensor")

    __add__ = __sub__ = __matmul__ = __gt__ = __le__ = __ge__ = __neg__ = __pow__ = __iter__ = _missing
    __rtruediv__ = __radd__ = __rsub__ = __len__ = __float__ = __int__ = __setitem__ = _missing


def tensor_of(bits: Bits, dtype: str) -> Tensor:
    """A tensor from a file's bits; raises MissingStandInError for a dtype that no adapter here has."""
    if dtype in ("F32", "F16", "BF16"):
        return Tensor(from_bits(bits, dtype), DTYPES[dtype])
    if dtype in ("F64", "I64"):
        return Tensor(bits.view(DTYPES[dtype].computes_in), DTYPES[dtype])
    raise MissingStandInError(f"dtype {dtype}")


def split(tensor: Tensor, sizes: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of the given size, or sizes, which must add up."""
    length = tensor.shape[dim]
    if isinstance(sizes, int):
        ends = [*range(sizes, length, sizes)]
    else:
        if sum(sizes) != length:
            raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {length}, but got {sizes}")
        ends = list(np.cumsum(sizes)[:-1])
    return tuple(Tensor(part, tensor.dtype) for part in np.split(tensor.values, ends, axis=dim))


def _values(value: Any) -> Any:
    return value.values if isinstance(value, Tensor) else value


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    return Tensor(np.concatenate([one.values for one in tensors], axis=dim), tensors[0].dtype)


def _tensor(value: Any, dtype: DType = FLOAT32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    return Tensor(dtype.round(np.asarray(value)), dtype)


class Linear:
    """A linear layer of zeros: weight (outputs, inputs)."""

    bias = None

    def __init__(self, inputs: int, outputs: int) -> None:
        self.in_features, self.out_features = inputs, outputs
        self.weight = Tensor(np.zeros((outputs, inputs)))


def _no_meta_device(_device: str) -> Any:
    # diffusers asks for it only to widen a layer to its adapter, as control adapters need; nothing else in FLUX.1
    # has that width, so the first forward fails
    raise RuntimeError("diffusers widens a layer to the adapter, and no other layer of the model has that width")


TORCH = StandIn(
    "torch",
    Tensor=Tensor,
    all=lambda tensor: Tensor(tensor.values.all(), _BOOL),
    cat=_cat,
    chunk=lambda tensor, chunks, dim=0: tensor.chunk(chunks, dim),
    device=_no_meta_device,
    is_floating_point=lambda tensor: tensor.dtype.is_floating,
    is_tensor=lambda value: isinstance(value, Tensor),
    nn=StandIn("torch.nn", Linear=Linear),
    split=split,
    tensor=_tensor,
    zeros=lambda shape, device="cpu": Tensor(np.zeros(shape)),
)
