"""Which FLUX.1 an adapter fits, by its widths and blocks, and which of the model's modules it covers.

Not here: pairing tensors (`pairs`), the models themselves (`base_models`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sq_pipeline.adapters.form import parts_of
from sq_pipeline.adapters.inspect.findings import Finding
from sq_pipeline.adapters.inspect.pairs import Pair
from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline.base_models.flux_modules import DOUBLE_MODULES, SINGLE_MODULES, modules_of

_WIDTHS = {**DOUBLE_MODULES, **SINGLE_MODULES}
_PART_WIDTHS = {"q": 1, "k": 1, "v": 1, "mlp": 4, "qkv": 3}
_STEMS = {"double_blocks": (DOUBLE_MODULES, "double"), "single_blocks": (SINGLE_MODULES, "single")}


@dataclass(frozen=True)
class FluxFit:
    """`hidden_size` that most modules speak for (None without any), and the base models that have it.

    `covered` of the base model's `modules` are there whole, `missing` names the rest in groups; all empty without a
    base model, and `misfit` says why there is none. `findings`: modules that do not fit the others, or the model.
    """

    hidden_size: int | None
    base_models: tuple[str, ...]
    covered: int
    modules: int
    missing: tuple[str, ...]
    findings: tuple[Finding, ...]
    misfit: str


def fit(pairs: Iterable[Pair], base_models: Sequence[Flux1Model]) -> FluxFit:
    """Compare the modules of FLUX.1's blocks in a file with the base models. Raises nothing: misfits are findings."""
    known = [pair for pair in pairs if pair.module]
    votes = Counter(width for pair in known if pair.is_whole for width in _hidden_sizes(pair))
    if not votes:
        return FluxFit(None, (), 0, 0, (), (), "")
    hidden_size = votes.most_common(1)[0][0]
    findings = [finding for pair in known if pair.is_whole for finding in _check_widths(pair, hidden_size)]
    fitting = [model for model in base_models if model.hidden_size == hidden_size]
    if not fitting:
        sizes = ", ".join(f"{model.name} has {model.hidden_size}" for model in base_models)
        misfit = f"fits no FLUX.1 known here: its modules are of hidden size {_number(hidden_size)} ({sizes})"
        return FluxFit(hidden_size, (), 0, 0, (), tuple(findings), misfit)
    model = fitting[0]
    wanted = {name for name, _, _ in modules_of(model)}
    for pair in known:
        if pair.module not in wanted:
            blocks = f"{model.double_blocks} double and {model.single_blocks} single blocks"
            findings.append(Finding("block", pair.name, f"{model.name} has {blocks}"))
    missing = list(_missing(known, model))
    names = tuple(model.name for model in fitting)
    covered = model.adapter_modules - len({module for module, _ in missing})
    return FluxFit(hidden_size, names, covered, len(wanted), tuple(_grouped(missing, model)), tuple(findings), "")


def _number(size: int | float) -> str:
    return f"{size:g}"


def widths(pair: Pair) -> tuple[int, int]:
    """Inputs and outputs of a known module or part, in hidden sizes."""
    inputs, outputs = _WIDTHS[pair.kind]
    return inputs, _PART_WIDTHS.get(pair.part, outputs)


def _hidden_sizes(pair: Pair) -> Iterator[int]:
    """The hidden size that its inputs speak for, and the one that its outputs do."""
    assert pair.shapes is not None
    for size, width in zip((pair.shapes[1], pair.shapes[2]), widths(pair), strict=True):
        if size % width == 0:
            yield size // width


def _check_widths(pair: Pair, hidden_size: int) -> Iterator[Finding]:
    assert pair.shapes is not None
    is_, (inputs, outputs) = (pair.shapes[1], pair.shapes[2]), widths(pair)
    wanted = (inputs * hidden_size, outputs * hidden_size)
    if is_ != wanted:
        detail = (
            f"has {is_[0]} inputs and {is_[1]} outputs; at hidden size {hidden_size}, "
            f"which most of the file has, it needs {wanted[0]} and {wanted[1]}"
        )
        yield Finding("width", pair.name, detail)


def _missing(known: Iterable[Pair], model: Flux1Model) -> Iterator[tuple[str, str]]:
    """Modules without update, and parts of those that have some: (module, part or '')."""
    have: dict[str, set[str]] = {}
    for pair in known:
        if pair.down is not None and pair.up is not None:
            have.setdefault(pair.module, set()).update({"q", "k", "v"} if pair.part == "qkv" else {pair.part})
    for module, _, _ in modules_of(model):
        parts = have.get(module, set())
        if "" in parts:
            continue
        if not parts:
            yield module, ""
        else:
            yield from ((module, part) for part, _ in parts_of(module) if part not in parts)


def _grouped(missing: Iterable[tuple[str, str]], model: Flux1Model) -> Iterator[str]:
    """`img_mod.lin of all 19 double blocks`; kinds that miss in the same blocks are told together."""
    blocks: dict[tuple[str, str], list[int]] = {}
    for module, part in missing:
        stem, index, kind = module.split(".", 2)
        blocks.setdefault((stem, f"{kind}.{part}" if part else kind), []).append(int(index))
    together: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for (stem, kind), indexes in blocks.items():
        together.setdefault((stem, tuple(indexes)), []).append(kind)
    for (stem, indexes), kinds in together.items():
        all_kinds, word = _STEMS[stem]
        total = model.double_blocks if word == "double" else model.single_blocks
        what = "everything" if {*kinds} == {*all_kinds} else ", ".join(kinds)
        where = f"all {total} {word} blocks" if len(indexes) == total else f"{word} blocks {_ranges(indexes)}"
        yield f"{what} of {where}"


def _ranges(numbers: Sequence[int]) -> str:
    """`0–3, 7` of 0, 1, 2, 3, 7."""
    starts = [numbers[0], *(after for before, after in pairwise(numbers) if after != before + 1)]
    ends = [*(before for before, after in pairwise(numbers) if after != before + 1), numbers[-1]]
    return ", ".join(str(start) if start == end else f"{start}–{end}" for start, end in zip(starts, ends, strict=True))
