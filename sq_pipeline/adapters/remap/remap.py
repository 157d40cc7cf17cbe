"""Remap: an adapter of any dialect to the file that a loader reads. Total or nothing; streamed; equal bytes for equal
input.
"""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.dialects import DIALECT_NAMES
from sq_pipeline.adapters.inspect.findings import Doubt
from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.part_spans import METADATA_KEY, format_spans
from sq_pipeline.adapters.reading import ALPHAS_KEY, AS_THE_FILE_SAYS, ReadOptions
from sq_pipeline.adapters.remap.doubts import find_doubts, remarks_on
from sq_pipeline.adapters.remap.join import Piece
from sq_pipeline.adapters.remap.plan import Output, RemapPlan, plan_remap
from sq_pipeline.adapters.remap.unapplied import Unapplied, leave_out_unapplied
from sq_pipeline.adapters.safetensors_file import SafetensorsFile, open_safetensors, write_safetensors
from sq_pipeline.adapters.source import AdapterSource, read_adapter, reading_keymap_for
from sq_pipeline.adapters.strip_names import strip_names
from sq_pipeline.adapters.tensor_bits import to_bits
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.adapters.tensor_scan import TensorScan, scan_tensors, tensors_data_version
from sq_pipeline.base_models.base_models import FLUX1_MODELS, BaseModel, as_flux1
from sq_pipeline.common.errors import AdapterError, Fault

_NO_VERSION = f"sha256:{'0' * 64}"


@dataclass(frozen=True)
class RemapResult:
    """What was written. `source_version` is the data version of the input's tensors.

    `notes`: what the target could not hold as it was; `left_out`: keys that a person let go, or that change nothing;
    `unapplied`: modules that a person let go.
    """

    tensors: int
    modules: int
    ranks: tuple[int, ...]
    dialect: str
    read_by: str
    keymap: str
    keymap_version: int
    rules_hash: str
    source_version: str
    notes: tuple[str, ...]
    left_out: int
    unapplied: Unapplied | None = None

    def as_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return {**asdict(self), "ranks": list(self.ranks), "notes": list(self.notes)}


def remap_adapter(
    source: Path,
    target: Path,
    keymap: Keymap,
    base_model: BaseModel | None = None,
    *,
    reading: Keymap | None = None,
    options: ReadOptions = AS_THE_FILE_SAYS,
    allowed: Collection[Doubt] | None = None,
    strip: str = "",
) -> RemapResult:
    """Write `target` by `keymap` from the adapter `source`, read by `reading`, or by the shipped one of its dialect.

    Raises one AdapterError naming every unknown, missing, duplicate, misshapen or non-finite tensor, before anything is
    written; StorageError when the disk refuses; BaseModelError for a `base_model` that is no FLUX.1. With one all its
    modules must be covered. `allowed`: doubts that are no reason to stop (`remap.doubts`); without it nothing is
    doubted. `strip`: a part that is taken off every name first (`strip_names`).
    """
    if target.is_dir():
        raise AdapterError(Fault(str(target), "", "is a folder, not a file", "name the file to write"))
    file = open_safetensors(source)
    file = strip_names(file, strip) if strip else file
    adapter, form = read_adapter(file, reading or reading_keymap_for(file), options)
    with ThreadPoolExecutor(1, thread_name_prefix="hash") as beside:
        # hashing what is read takes as long as all the rest, and runs beside it
        version = beside.submit(tensors_data_version, source)
        scan = scan_tensors(file)
        adapter, unapplied = _checked(adapter, [*form.faults, *_not_finite(file, scan)], keymap, options)
        plan, remarks = _plan(adapter, scan.zeros, keymap, base_model, allowed)
        write_safetensors(
            target,
            _tensors(adapter, plan),
            [output.info for output in plan.outputs],
            _metadata(plan, adapter, keymap, _NO_VERSION),
            lambda: _metadata(plan, adapter, keymap, version.result()),
        )
    return RemapResult(
        tensors=len(plan.outputs),
        modules=plan.modules,
        ranks=plan.ranks,
        dialect=DIALECT_NAMES[adapter.dialect],
        read_by=adapter.keymap.name,
        keymap=keymap.name,
        keymap_version=keymap.version,
        rules_hash=keymap.rules_hash,
        source_version=version.result(),
        notes=(*remarks, *plan.notes),
        left_out=len(adapter.left_out),
        unapplied=unapplied,
    )


def _checked(
    adapter: AdapterSource, faults: Sequence[Fault], keymap: Keymap, options: ReadOptions
) -> tuple[AdapterSource, Unapplied | None]:
    """The adapter as far as the target holds it; raises AdapterError with all that is wrong with the file."""
    if faults:
        raise AdapterError(faults)
    return leave_out_unapplied(adapter, keymap.target, is_allowed=options.leaves_out_unapplied)


def _not_finite(file: SafetensorsFile, scan: TensorScan) -> list[Fault]:
    return [
        Fault(str(file.path), name, "holds NaN or infinity", "train it again, at a lower learning rate")
        for name in scan.not_finite
        if not name.endswith(".alpha")
    ]


def _plan(
    adapter: AdapterSource,
    zeros: Collection[str],
    keymap: Keymap,
    base_model: BaseModel | None,
    allowed: Collection[Doubt] | None,
) -> tuple[RemapPlan, tuple[str, ...]]:
    """The plan of a sound adapter, and remarks on it; raises AdapterError with all that is doubtful."""
    path = str(adapter.file.path)
    if allowed is not None:
        doubts = list(find_doubts(adapter, zeros, tuple(FLUX1_MODELS.values()), allowed))
        if doubts:
            raise AdapterError(doubts)
    flux1 = None if base_model is None else as_flux1(base_model, "the remap")
    plan = plan_remap(adapter.patches, keymap, adapter, path, flux1)
    if plan.faults:
        raise AdapterError(plan.faults)
    return plan, remarks_on(adapter, zeros)


def _metadata(plan: RemapPlan, adapter: AdapterSource, keymap: Keymap, source_version: str) -> dict[str, str]:
    metadata = {
        "format": keymap.target,
        "lora_rank": ",".join(map(str, plan.ranks)),
        "sq.keymap": keymap.name,
        "sq.keymap_version": str(keymap.version),
        "sq.keymap_rules": keymap.rules_hash,
        "sq.source": source_version,
        "sq.source_dialect": DIALECT_NAMES[adapter.dialect],
    }
    if keymap.target == "mlx":
        # mlx-examples' loader reads one rank and the number of blocks from here (flux/flux/utils.py, load_adapter)
        metadata |= {"lora_rank": str(plan.ranks[-1]), "lora_blocks": "-1"}
    if plan.adds_alphas:
        metadata[ALPHAS_KEY] = "added"
    if plan.parts:
        metadata[METADATA_KEY] = format_spans(plan.parts)
    return metadata


def _tensors(adapter: AdapterSource, plan: RemapPlan) -> Iterator[tuple[TensorInfo, npt.NDArray[Any]]]:
    for output in plan.outputs:
        if output.alpha is not None:
            yield output.info, to_bits(output.info.dtype, np.full(output.info.shape, output.alpha))
        else:
            yield output.info, _matrix(adapter, output)


def _matrix(adapter: AdapterSource, output: Output) -> npt.NDArray[Any]:
    """The bits of one output matrix, in the shape it is written in."""
    shape = output.info.shape[::-1] if output.is_transposed else output.info.shape
    first = output.pieces[0]
    if len(output.pieces) == 1 and (first.matrix.rows, first.matrix.columns) == shape:
        bits = _piece(adapter, first, output.info.dtype)
    else:
        bits = np.zeros(shape, dtype=np.uint32 if output.info.dtype == "F32" else np.uint16)
        for piece in output.pieces:
            rows, columns = piece.matrix.rows, piece.matrix.columns
            bits[piece.row : piece.row + rows, piece.column : piece.column + columns] = _piece(
                adapter, piece, output.info.dtype
            )
    return bits.T if output.is_transposed else bits


def _piece(adapter: AdapterSource, piece: Piece, dtype: str) -> npt.NDArray[Any]:
    if piece.factor == 1.0 and piece.matrix.dtype == dtype:
        return adapter.bits(piece.matrix)
    return to_bits(dtype, adapter.numbers(piece.matrix).astype(np.float64) * piece.factor)
