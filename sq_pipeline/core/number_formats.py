"""Which numbers a dtype of safetensors holds without rounding. Not here: bits (`storage.safetensors_file`)."""

import numpy as np

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
