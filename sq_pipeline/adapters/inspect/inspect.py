"""What an adapter file is: dialect, modules, ranks, strength, who loads it. Reads any file, loads no model.

Here: reading a file's header and numbers for the report. Its judgements are in core, its numerics in `update_size`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import isfinite
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.adapter_folder import shard_fault
from sq_pipeline.adapters.base_named import other_base
from sq_pipeline.adapters.dialects import (
    DIALECT_NAMES,
    dialect_counts,
    is_of_text_encoder,
    method_of,
    name_dialect,
    name_other_kind,
)
from sq_pipeline.adapters.inspect import scale_findings
from sq_pipeline.adapters.inspect.family_fit import other_model
from sq_pipeline.adapters.inspect.findings import Finding, lines_of, set_aside, told_apart
from sq_pipeline.adapters.inspect.flux_fit import FluxFit, fit
from sq_pipeline.adapters.inspect.loader_verdicts import LoaderAnswer, LoaderFacts, judge_loader, loader_verdicts
from sq_pipeline.adapters.inspect.metadata_text import path_fault
from sq_pipeline.adapters.inspect.pairs import READABLE_FLOATS, Pair, pair_up
from sq_pipeline.adapters.inspect.report import AdapterReport, ModuleRow
from sq_pipeline.adapters.inspect.strength import Measured, settle_strength, strength_of
from sq_pipeline.adapters.inspect.update_size import TensorReader, effective_rank, update_norm
from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.keymap_files import select_reading_keymap
from sq_pipeline.adapters.outside import is_outside, name_extra
from sq_pipeline.adapters.safetensors_file import SafetensorsFile, open_safetensors
from sq_pipeline.adapters.strength.scales import Scale, StatedScale, scale_of
from sq_pipeline.adapters.strip_names import find_strip
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.base_models import FLUX1_MODELS, Flux1Model
from sq_pipeline.common.hints import remap_instead
from sq_pipeline.common.layout import shipped_data_root

AskLoader = Callable[[Path, Sequence[str]], Sequence[LoaderAnswer]]

# what a FLUX.1 file has not; another family's may be why
_OF_ANOTHER = {"outside", "block", "width"}
# above it the rank × rank products would cost more than the file: finiteness alone is looked at
_MAX_RANK = 1024
# what no loader can apply, whatever its names
_BREAKS = {
    *("no down", "no up", "no matrix", "dtype", "misshapen", "width", "block"),
    *("repeated", "not finite", "model", "other method"),
}


def report_adapter(
    path: Path,
    *,
    with_spectrum: bool = False,
    loader: str | None = None,
    base_models: Sequence[Flux1Model] = tuple(FLUX1_MODELS.values()),
    ask: AskLoader | None = None,
) -> AdapterReport:
    """The report on a file; its faults are lines of the report. `with_spectrum` adds effective ranks.

    `ask`: puts the file on with the installed mflux, where it is for another family than FLUX.1.
    `loader` (`mflux 0.18.1`): one more fault when that loader does not apply the file rightly. Raises AdapterError
    when the file cannot be read, SelectionError for a loader that is not known.
    """
    file = open_safetensors(path)
    names = [name for name in file.tensors if not (is_of_text_encoder(name) or is_outside(name) or name_extra(name))]
    method = method_of(names)
    dialect = name_dialect(names if dialect_counts(names) else file.tensors, file.metadata)
    keymaps = _keymaps_for(file)
    pairs = pair_up(file.tensors, keymaps)
    strength = strength_of(file, keymaps)
    findings, measured = [one for one in pairs.findings if not _is_named(one, method)], list[Measured]()
    with TensorReader(file) as reader:
        for pair in pairs.pairs:
            found, row = _inspect_pair(reader, pair, strength.chosen, with_spectrum=with_spectrum)
            findings.extend(found)
            if row is not None:
                measured.append((pair, *row))
    fitted = fit(pairs.pairs, base_models)
    model = other_model(file, pairs.pairs)
    foreign = {finding.kind for finding in (*findings, *fitted.findings)} & _OF_ANOTHER
    is_flux1 = bool(fitted.base_models) and not foreign and not model
    answer = None if ask is None or is_flux1 else next(iter(ask(path, list(file.tensors))), None)
    if answer is not None and not answer.problem and answer.family != "FLUX.1":
        model = model or answer.model
    if model:
        fitted = FluxFit(fitted.hidden_size, (model,), 0, 0, (), (), "")
        findings = [one for one in findings if one.kind != "outside"]
    findings.extend(fitted.findings)
    if any(pair.tiles > 1 for pair in pairs.pairs):
        dialect = DIALECT_NAMES["mflux-before-0.19"]  # told by its shapes; its names are Kohya's
    measured, strength_faults, notes = settle_strength(file, strength, measured)
    scales = [(pair, scale) for pair, _, scale in measured]
    findings.extend(_judge_alphas(dialect, scales))
    modules = len(pairs.pairs)
    named = list(_named(file, method, model))
    broken = _broken(path, findings, modules or len(named), fitted.misfit)
    if strength_faults and not broken:
        broken = f"its strength is in doubt: {strength_faults[0]}"
    dtypes = Counter(info.dtype for info in file.tensors.values())
    facts = LoaderFacts(
        names=list(file.tensors),
        pairs=scales,
        metadata=file.metadata,
        hidden_size=fitted.hidden_size,
        broken=broken,
        method=method,
        dtypes={*dtypes},
        model=model,
        suffix=path.suffix,
        answer=answer,
    )
    loads_in = loader_verdicts(facts)
    beside: list[str] = []
    has_more = bool(model) or any(pair.module for pair in pairs.pairs)
    if has_more and any(verdict.answer in ("yes", "part") for verdict in loads_in):
        findings, beside = set_aside(findings, {row.name: row.update_norm for _, row, _ in measured}, modules)
    faults, remarks = told_apart(findings, modules)
    faults = [*faults, *_whole_file_faults(file, modules or len(named), fitted.misfit), *strength_faults]
    if modules and not fitted.misfit and not model and (said := other_base(file)):
        faults.append(f"{said}; its names and shapes are FLUX.1's")
    if loader is not None:
        verdict = judge_loader(loader, facts)
        if not verdict.is_right:
            faults.append(f"{verdict.loader} does not load it rightly: {verdict.reason}")
    return AdapterReport(
        file=path.name,
        file_bytes=path.stat().st_size,
        dialect=dialect,
        tensors=len(file.tensors),
        modules=modules,
        fit=fitted,
        dtypes=dtypes,
        metadata=file.metadata,
        rows=tuple(row for _, row, _ in measured),
        loads_in=loads_in,
        faults=tuple(faults),
        remarks=(*named, *beside, *notes, *remarks),
        method=method or "LoRA",
    )


def name_base_model(path: Path) -> str | None:
    """The base model that a report on the file would name first; None where it names none. Reads its header alone."""
    file = open_safetensors(path)
    pairs = pair_up(file.tensors, _keymaps_for(file)).pairs
    fitting = fit(pairs, tuple(FLUX1_MODELS.values())).base_models
    return other_model(file, pairs) or next(iter(fitting), None)


def _is_named(finding: Finding, method: str) -> bool:
    """True for what is no fault of a file, since `_named` says what it is."""
    if finding.kind == "dtype":
        return "is F8_" in finding.detail
    return finding.kind == "other method" or (method in ("LoKr", "LoHa") and finding.kind in ("no matrix", "outside"))


def _named(file: SafetensorsFile, method: str, model: str) -> Iterator[str]:
    """What a file holds beside the matrices of a LoRA, or in place of them."""
    if method:
        count = sum(bool(name_other_kind(name)) for name in file.tensors)
        yield f"a {method} ({count} tensors are its own): `adapter remap` cannot hold it"
    small = Counter(info.dtype for info in file.tensors.values() if info.dtype.startswith("F8"))
    for dtype, count in small.items():
        yield f"{count} tensors are {dtype}, numbers of eight bits: no target of `adapter remap` holds them"
    if not model and not dialect_counts(file.tensors).keys() - {None} and (found := find_strip(file.tensors)):
        yield f"{found[0]}; {remap_instead(found[1], file.path)}"
    if extras := [name for name in file.tensors if name_extra(name)]:
        yield f"{len(extras)} tensors are no LoRA's, such as {extras[0]}: each {name_extra(extras[0])}"


def _keymaps_for(file: SafetensorsFile) -> list[Keymap]:
    """The shipped keymap that reads the file's dialect; all of them where its names are of none, or of two."""
    names = [name for name in file.tensors if not (is_of_text_encoder(name) or is_outside(name) or name_extra(name))]
    found = dialect_counts(names)
    dialects = [dialect for dialect in found if dialect is not None]
    wanted = dialects if len(dialects) == 1 and None not in found else list(DIALECT_NAMES)
    root = shipped_data_root() / "keymaps"
    return [select_reading_keymap(root, dialect) for dialect in wanted]


def _inspect_pair(
    reader: TensorReader, pair: Pair, stated: StatedScale | None, *, with_spectrum: bool
) -> tuple[list[Finding], tuple[ModuleRow, Scale] | None]:
    """What its numbers say is wrong, and its row and scale where its matrices fit."""
    products = _products(reader, pair) if pair.is_whole and pair.rank <= _MAX_RANK else {}
    findings = [
        Finding("not finite", info.name)
        for info in pair.tensors
        if info.dtype in READABLE_FLOATS and not _is_finite(reader, info, products.get(info.name))
    ]
    if not pair.is_whole:
        return findings, None
    assert pair.down is not None
    assert pair.up is not None
    alpha = reader.number(pair.alpha) if pair.alpha is not None else None
    scale = scale_of(pair.name, pair.rank, alpha, stated)
    norm = spectrum = None
    down = _untiled(products[pair.down.name], pair) if products and not findings else None
    if down is not None:
        up = products[pair.up.name]
        norm = update_norm(down, up, scale.value)
        if norm == 0:
            findings.append(Finding("zero", pair.name))
        if not isfinite(norm):  # of F64 alone, whose squares are beyond a number
            norm = None
        elif with_spectrum:
            spectrum = effective_rank(down, up)
    row = ModuleRow(pair.name, pair.slot, pair.rank, scale.alpha, scale.source, scale.value, pair.dtype, norm, spectrum)
    return findings, (row, scale)


def _products(reader: TensorReader, pair: Pair) -> dict[str, npt.NDArray[np.float64]]:
    """By tensor: products of down's rows and of up's columns with each other, (rank, rank)."""
    assert pair.down is not None
    assert pair.up is not None
    return {
        pair.down.name: reader.gram(pair.down, of_rows=not pair.is_transposed),
        pair.up.name: reader.gram(pair.up, of_rows=pair.is_transposed),
    }


def _is_finite(reader: TensorReader, info: TensorInfo, products: npt.NDArray[np.float64] | None) -> bool:
    """True when no number is NaN or infinite; looked at again only where the products do not say so."""
    return (products is not None and bool(np.isfinite(products.diagonal()).all())) or reader.is_finite(info)


def _untiled(products: npt.NDArray[np.float64], pair: Pair) -> npt.NDArray[np.float64] | None:
    """The products of one tile of down, (rank, rank); None when the tiles are not alike."""
    tiles, rank = pair.tiles, pair.rank
    if tiles == 1:
        return products
    first = products[:rank, :rank]
    blocks = products.reshape(tiles, rank, tiles, rank).swapaxes(1, 2)
    return first if np.allclose(blocks, first, rtol=1e-9, atol=0) else None


def _judge_alphas(dialect: str, scales: Iterable[tuple[Pair, Scale]]) -> Iterator[Finding]:
    scales = list(scales)
    needs_alpha = dialect == "Kohya" or any(scale.source == "tensor" for _, scale in scales)
    for pair, scale in scales:
        if scale.alpha is None and needs_alpha:
            yield Finding("no alpha", pair.name)
        elif finding := scale_findings.judge_scale(pair.name, pair.rank, scale):
            yield finding


def _broken(path: Path, findings: Sequence[Finding], modules: int, misfit: str) -> str:
    """Why no loader can apply the file rightly, whatever its names; empty when nothing is in the way."""
    if not modules:
        return "it holds no module of a LoRA"
    if shard := shard_fault(path):
        return f"it {shard.problem}"
    breaking = [finding for finding in findings if finding.kind in _BREAKS]
    if breaking:
        return f"the file is faulty: {lines_of(breaking, modules)[0]}"
    return misfit


def _whole_file_faults(file: SafetensorsFile, modules: int, misfit: str) -> Iterator[str]:
    if not modules:
        yield "holds no module of a LoRA"
    if misfit:
        yield misfit
    if shard := shard_fault(file.path):
        yield shard.problem
    if fault := path_fault(file.metadata):
        yield fault
