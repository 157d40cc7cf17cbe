"""Check *file*: does it add anything, and to all of what its training covered?"""

from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase

from sq_pipeline.base_models.base_models import BaseModel, Flux1Model
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.verification.look import Look
from sq_pipeline.verification.verdicts import Verdict

NAME = "adapter file"
_WANTED = "adds to all modules that were trained"
_MOST_NAMES = 3


def judge(look: Look) -> Verdict:
    """The share of the base model's modules that it covers.

    Fewer than its recipe trains, or kinds of modules that one block has and another lacks: a part of the file is lost.
    Whole blocks may have been left out on purpose: where no recipe says so, that is a warning.
    """
    layers = look.fidelity.wanted
    if not any(layer.norm_wanted > 0 for layer in layers):
        return Verdict(NAME, "failed", 0.0, _WANTED, "every number that it adds is zero: it changes nothing", null=0.0)
    every = _modules(look.request.base_model)
    covered = {_module_of(layer.slot, every) for layer in layers}
    if not every:
        return Verdict(NAME, "passed", None, _WANTED, f"adds to {len(covered)} modules")
    told, share = f"adds to {len(covered & every)} of {len(every)} modules", len(covered & every) / len(every)
    patterns = look.request.reference.modules if look.request.reference is not None else None
    if patterns is not None:
        expected = {name for name in every if any(fnmatchcase(name, pattern) for pattern in patterns)}
        lost = _some(sorted(expected - covered))
    else:
        lost = _ragged(covered & every)
    if lost:
        return Verdict(NAME, "failed", share, _WANTED, f"{told}; a part of the file is missing: {lost}", null=0.0)
    if patterns is None and share < 1:
        return Verdict(NAME, "warned", share, _WANTED, f"{told}; if all were trained, a part is missing", null=0.0)
    return Verdict(NAME, "passed", share, _WANTED, told, null=0.0)


def _modules(model: BaseModel) -> set[str]:
    return {name for name, _, _ in modules_of(model)} if isinstance(model, Flux1Model) else set()


def _module_of(slot: str, every: set[str]) -> str:
    """The module of a slot, which may name a part of it (`….linear1.mlp`)."""
    return slot if slot in every else slot.rpartition(".")[0]


def _ragged(covered: set[str]) -> str:
    """Which blocks lack modules that other blocks of their stem have, in words; empty for none."""
    kinds: dict[str, set[str]] = defaultdict(set)
    blocks: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name in covered:
        stem, index, kind = name.split(".", 2)
        kinds[stem].add(kind)
        blocks[stem, index].add(kind)
    return _some([f"{s}.{i}.{kind}" for (s, i), there in sorted(blocks.items()) for kind in sorted(kinds[s] - there)])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (
        f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    )
