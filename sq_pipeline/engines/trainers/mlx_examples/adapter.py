"""An adapter that mlx-examples saved: whether it is whole and of the base model. Not here: where it goes."""

from collections.abc import Iterator
from pathlib import Path

from sq_pipeline.adapters.safetensors_file import SafetensorsFile, open_safetensors
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.adapters.tensor_scan import scan_tensors
from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.common.errors import AdapterError, Fault, TrainingError

_DTYPES = ("F32", "F16", "BF16")
_TOLD = 3  # names in one fault
_HINT = "train again; if it stays so, look at the checkout's flux/dreambooth.py"


def check_adapter(path: Path, base_model: BaseModel, rank: int) -> int:
    """How many tensors the file holds: `lora_a` (inputs, rank) and `lora_b` (rank, outputs) of every module.

    Raises TrainingError with every fault: an unreadable file, tensors that are missing, unknown, of another shape or
    dtype or not finite, and an adapter that adds nothing at all.
    """
    try:
        file = open_safetensors(path)
    except AdapterError as error:
        raise TrainingError([Fault(path.name, f.field, f.problem, _HINT) for f in error.faults]) from None
    faults = [Fault(path.name, "", problem, _HINT) for problem in _problems(file, _layout(base_model, rank))]
    if faults:
        raise TrainingError(faults)
    return len(file.tensors)


def _layout(base_model: BaseModel, rank: int) -> dict[str, tuple[int, int]]:
    return {
        f"{name}.{matrix}": shape
        for name, inputs, outputs in modules_of(base_model)
        for matrix, shape in (("lora_a", (inputs, rank)), ("lora_b", (rank, outputs)))
    }


def _problems(file: SafetensorsFile, wanted: dict[str, tuple[int, int]]) -> Iterator[str]:
    if missing := [name for name in wanted if name not in file.tensors]:
        yield f"has no {_some(missing)}"
    if unknown := [name for name in file.tensors if name not in wanted]:
        yield f"holds {_some(unknown)}, which is not in this base model"
    known = [info for name, info in file.tensors.items() if name in wanted]
    if wrong := [_shown(info) for info in known if info.shape != wanted[info.name]]:
        yield f"has other shapes than this base model and rank: {_some(wrong)}"
    if strange := [_shown(info) for info in known if info.dtype not in _DTYPES]:
        yield f"has dtypes that no adapter has: {_some(strange)}"
    scan = scan_tensors(file)
    if scan.not_finite:
        yield f"holds NaN or infinity in {_some(scan.not_finite)}"
    ups = [name for name in file.tensors if name.endswith(".lora_b")]
    if ups and set(ups) <= set(scan.zeros):
        yield "adds nothing: every lora_b is zero"


def _shown(info: TensorInfo) -> str:
    return f"{info.name} {info.dtype} {list(info.shape)}"


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return f"{', '.join(names[:_TOLD])}{more}"
