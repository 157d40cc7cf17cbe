"""An adapter of any dialect or family, opened in the internal form: what it adds to what, with its numbers at hand."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.adapter_folder import shard_fault
from sq_pipeline.adapters.dialects import DIALECT_NAMES, Dialect, dialect_counts, find_dialect, method_of
from sq_pipeline.adapters.form import ALPHA_DTYPES, Matrix, Patch, parts_of
from sq_pipeline.adapters.keymap import FamilyKeymap, Keymap
from sq_pipeline.adapters.keymap_files import family_keymap, select_reading_keymap
from sq_pipeline.adapters.outside import changes_nothing_as_zero
from sq_pipeline.adapters.part_spans import METADATA_KEY, outside_of, split_by_spans
from sq_pipeline.adapters.reading import AS_LOADERS_MEAN, AS_THE_FILE_SAYS, Reading, ReadOptions, read_form
from sq_pipeline.adapters.reading_faults import some
from sq_pipeline.adapters.safetensors_file import SafetensorsFile, open_safetensors
from sq_pipeline.adapters.strength.stated_scales import find_stated
from sq_pipeline.adapters.strength.trained_apart import FusedUpdate, judge_apart
from sq_pipeline.adapters.strip_names import find_strip
from sq_pipeline.adapters.tensor_bits import has_magnitude, to_bits, to_float32, to_number
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.base_models import Family
from sq_pipeline.common.errors import AdapterError, Fault
from sq_pipeline.common.hints import command, pass_option
from sq_pipeline.common.layout import shipped_data_root


@dataclass(frozen=True)
class AdapterSource:
    """An opened adapter. `patches` by slot; `dialect` is what it was read as, `keymap` the rules it was read by.

    `notes`: what was made of its strength, where that is to be told; `loaded`: by slot, the scale that loaders take.
    """

    file: SafetensorsFile
    dialect: Dialect
    patches: Mapping[str, Patch]
    keymap: Keymap
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    loaded: Mapping[str, float] = field(default_factory=dict[str, float])

    def bits(self, matrix: Matrix) -> npt.NDArray[Any]:
        """A matrix's raw bits, (rows, columns)."""
        return bits_of(self.file, matrix)

    def numbers(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        """A matrix's numbers, (rows, columns); exact for F32, F16 and BF16."""
        return to_float32(self.file.tensors[matrix.key], self.bits(matrix))

    def digest(self, matrix: Matrix) -> str:
        """Equal for matrices of equal dtype, shape and bits."""
        bits = np.ascontiguousarray(self.bits(matrix))
        return f"{matrix.dtype}{bits.shape}{hashlib.sha256(bits.data).hexdigest()}"

    def stays_exact(self, matrix: Matrix, factor: float) -> bool:
        """True when the matrix times `factor` can be kept in its own dtype without any rounding."""
        info, bits = self.file.tensors[matrix.key], self.bits(matrix)
        numbers = to_float32(info, bits).astype(np.float64)
        kept = to_float32(info, to_bits(info.dtype, numbers * factor)).astype(np.float64)
        return bool((kept == numbers * factor).all())


def bits_of(file: SafetensorsFile, matrix: Matrix) -> npt.NDArray[Any]:
    """A matrix's raw bits, (rows, columns)."""
    values = file.read(matrix.key)
    values = values.T if matrix.is_transposed else values
    if matrix.swaps_halves:
        values = np.roll(values, len(values) // 2, axis=0)
    rows, columns = matrix.row_span or (0, None), matrix.column_span or (0, None)
    return values[slice(*rows), slice(*columns)]


def open_adapter(
    path: Path,
    keymaps_root: Path | None = None,
    dialect: Dialect | None = None,
    options: ReadOptions = AS_THE_FILE_SAYS,
) -> AdapterSource:
    """Read a file's header into the internal form, by the keymap of its dialect (told from its names, or given).

    Raises AdapterError with every fault: unknown, repeated or misshapen keys, halves without partner, an alpha that is
    missing where loaders differ on what that means. Looks at no number but the alphas, and zeros of parts put together.
    """
    file = open_safetensors(path)
    source, reading = read_adapter(file, reading_keymap_for(file, keymaps_root, dialect), options)
    if reading.faults:
        raise AdapterError(reading.faults)
    return source


def open_family_adapter(path: Path, family: Family) -> AdapterSource:
    """Read a file's header by the names of another family than FLUX.1. Raises AdapterError with every fault.

    An alpha that the file does not give counts as its rank: so mflux-train, ai-toolkit and diffusers mean it.
    """
    source, reading = read_adapter(open_safetensors(path), family_keymap(family), AS_LOADERS_MEAN)
    if reading.faults:
        raise AdapterError(reading.faults)
    return source


def reading_keymap_for(
    file: SafetensorsFile, keymaps_root: Path | None = None, dialect: Dialect | None = None
) -> Keymap:
    """The keymap for the dialect of a file, of `keymaps_root` or the shipped ones. Raises AdapterError, KeymapError."""
    return select_reading_keymap(keymaps_root or shipped_data_root() / "keymaps", dialect or dialect_of(file))


def read_adapter(
    file: SafetensorsFile, keymap: Keymap, options: ReadOptions = AS_THE_FILE_SAYS
) -> tuple[AdapterSource, Reading]:
    """What `open_adapter` does with an opened file, with the faults beside it."""
    alphas = {
        name: to_number(info, file.read_bytes(name)) for name, info in file.tensors.items() if is_alpha(name, info)
    }
    if shard := shard_fault(file.path):
        raise AdapterError(shard)
    zeros = _zero_extras(file, keymap)
    tensors = {name: info for name, info in file.tensors.items() if name not in zeros}
    reading = read_form(tensors, file.metadata, alphas, keymap, str(file.path), options, find_stated(file))
    dropped = (f"{len(zeros)} tensors are zero, change nothing and are left out ({some(zeros)})",) if zeros else ()
    read = (reading.patches, keymap, (*zeros, *reading.left_out), (*dropped, *reading.notes), reading.loaded)
    source = AdapterSource(file, keymap.source, *read)
    if reading.faults:
        return source, reading
    if METADATA_KEY in file.metadata:
        return _with_parts(source), reading
    fused, others = _by_parts(reading.patches)
    apart = judge_apart(fused, others, file.metadata, options.split_qkv, source.bits, str(file.path))
    patches = {
        slot: replace(patch, alpha=patch.alpha * factor, scale=patch.scale * factor)
        if patch.alpha is not None and (factor := apart.factors.get(slot, 1)) > 1
        else patch
        for slot, patch in reading.patches.items()
    }
    return replace(source, patches=patches, notes=(*source.notes, *apart.notes)), replace(reading, faults=apart.faults)


def _zero_extras(file: SafetensorsFile, keymap: Keymap) -> list[str]:
    """Tensors beside the updates (norms, biases) that hold nothing but zeros."""
    if isinstance(keymap, FamilyKeymap):
        return []
    extras = [name for name in file.tensors if changes_nothing_as_zero(name)]
    return [name for name in extras if not has_magnitude(file.tensors[name], file.read(name))]


def _by_parts(patches: Mapping[str, Patch]) -> tuple[list[FusedUpdate], set[float]]:
    """The whole updates of modules that have parts, and the scales of modules that have none."""
    fused = [
        FusedUpdate(slot, parts, patch.rank, patch.alpha, patch.up)
        for slot, patch in patches.items()
        if (parts := parts_of(patch.module)) and not patch.part and patch.alpha is not None
    ]
    return fused, {patch.scale for patch in patches.values() if not parts_of(patch.module)}


def dialect_of(file: SafetensorsFile) -> Dialect:
    """The dialect that a file's names tell; raises AdapterError for none, and for two."""
    dialect = find_dialect(file.tensors, file.metadata)
    if dialect is not None:
        return dialect
    path, inspect = str(file.path), command("adapter inspect", file.path)
    if not file.tensors:
        raise AdapterError(Fault(path, "", "holds no tensors", "export the adapter again"))
    found = [DIALECT_NAMES[name] for name in dialect_counts(file.tensors) if name is not None]
    if found:
        problem = f"mixes the names of {' and '.join(sorted(found))}"
        way = (
            f"{pass_option('--from', 'mflux')} to read it as mflux does, where no module is in both, or export it again"
        )
        raise AdapterError(Fault(path, "", problem, way))
    if method := method_of(file.tensors):
        problem = f"is a {method}, which `adapter remap` cannot hold: it writes a LoRA's down and up matrices"
        raise AdapterError(Fault(path, "", problem, f"use it as it is where {inspect} says that it is read"))
    if found := find_strip(file.tensors):
        raise AdapterError(Fault(path, "", *found))
    first = next(iter(file.tensors))
    problem = f"none of its {len(file.tensors)} keys is one of a FLUX.1 LoRA ({first}, for example)"
    raise AdapterError(Fault(path, "", problem, f"see {inspect}; is it for another model?"))


def is_alpha(name: str, info: TensorInfo) -> bool:
    """True for a tensor that is the alpha of a module: one number."""
    return name.endswith(".alpha") and math.prod(info.shape) == 1 and info.dtype in ALPHA_DTYPES


def _with_parts(source: AdapterSource) -> AdapterSource:
    """Modules that were put together from parts, in these parts again, where the metadata's word holds."""
    patches = dict(source.patches)
    for module, parts in split_by_spans(source.patches, source.file.metadata):
        whole = patches[module]
        if not any(source.bits(matrix).any() for matrix in outside_of(parts, whole)):
            del patches[module]
            patches |= {part.slot: part for part in parts}
    return replace(source, patches=dict(sorted(patches.items())))
