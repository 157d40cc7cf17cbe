"""Numbers as a file holds them: raw bits of safetensors' dtypes, and back. numpy has no bfloat16, so bits it is."""

from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.tensor_header import DTYPE_BYTES, TensorInfo

# numpy's word for a dtype of safetensors; bfloat16 travels as its bits
NUMPY_KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "U8": "<u1"}


_WITHOUT_ROUNDING = {"F64", "I64", "I32", "I16", "U8"}


def is_finite(info: TensorInfo, bits: npt.NDArray[Any]) -> bool:
    """True when no number is NaN or infinite; by the exponent bits, for F32, F16, BF16 and F64."""
    exponents = {"F32": 0x7F800000, "F16": 0x7C00, "BF16": 0x7F80, "F64": 0x7FF0000000000000}
    mask = exponents.get(info.dtype)
    if mask is None:
        return True
    exponent = bits.dtype.type(mask)
    return not bool(((bits & exponent) == exponent).any())


def to_float32(info: TensorInfo, bits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The numbers as float32; exact for F32, F16 and BF16."""
    if info.dtype == "BF16":
        return widen_bfloat16(bits)
    if info.dtype not in ("F32", "F16", "F64"):
        raise ValueError(f"{info.name} holds {info.dtype}, which is no floating-point number")
    return bits.view(NUMPY_KINDS[info.dtype]).astype(np.float32)


def to_number(info: TensorInfo, content: bytes) -> float:
    """The first number of a tensor's bytes, exactly; of any dtype in NUMPY_KINDS, and BF16."""
    if info.dtype == "BF16":
        return float(widen_bfloat16(np.frombuffer(content, "<u2", 1))[0])
    return float(np.frombuffer(content, NUMPY_KINDS[info.dtype], 1)[0])


def widen_bfloat16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """bfloat16's bits as float32, exactly: they are its upper half."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def to_bits(dtype: str, numbers: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Numbers as raw bits, rounded to the nearest, ties to even; out of range is infinity. Whole numbers stay whole."""
    if dtype in _WITHOUT_ROUNDING:
        return numbers.astype(NUMPY_KINDS[dtype]).view(f"<u{DTYPE_BYTES[dtype]}")
    with np.errstate(over="ignore", under="ignore"):
        if dtype == "F16":
            return numbers.astype(np.float16).view(np.uint16)
        single = numbers.astype(np.float32)
    bits = single.view(np.uint32)
    if dtype == "F32":
        return bits
    if dtype != "BF16":
        raise ValueError(f"{dtype} is no dtype that an adapter is written in")
    # two roundings, to float32 and on to bfloat16, may end one step beside the nearest: only exact results are kept
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)


def has_magnitude(info: TensorInfo, bits: npt.NDArray[Any]) -> bool:
    """True when some number is not zero, of either sign."""
    sign = bits.dtype.type(1 << (8 * bits.itemsize - 1)) if info.dtype in ("F64", "F32", "F16", "BF16") else 0
    return bool((bits & ~sign).any()) if sign else bool(bits.any())


_INTEGERS = {"I64": 63, "I32": 31, "I16": 15, "U8": 8}  # bits of the largest


def holds_exactly(dtype: str, value: float) -> bool:
    """True when `value` is one of the numbers of the dtype."""
    if dtype in _INTEGERS:
        least = 0 if dtype == "U8" else -(2 ** _INTEGERS[dtype])
        return value.is_integer() and least <= value < 2 ** _INTEGERS[dtype]
    if dtype == "F64":
        return True
    with np.errstate(over="ignore"):
        if dtype == "F16":
            return float(np.float16(value)) == value
        single = np.float32(value)
    # bfloat16 is float32 without its lower half
    return float(single) == value and (dtype == "F32" or not int(single.view(np.uint32)) & 0xFFFF)
