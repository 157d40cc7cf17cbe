"""What is wrong with an adapter, one line a kind: three modules with the same fault are named, three hundred counted.

Not here: finding it (`pairs`, `flux_fit`, `scale_findings`, `metadata_text`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_NAMED = 3  # a line for each, up to so many

# kind: what is said of one, and of `n` together out of all modules
_KINDS: dict[str, tuple[str, str]] = {
    "unmatched": ("not the name of an adapter's tensor", "{n} names are not those of an adapter's tensors"),
    "model": (
        "a weight, not an update of one",
        "{n} tensors are weights, not updates of them: this is a model, or part of one, not an adapter",
    ),
    "other method": (
        "of another kind than LoRA",
        "{n} tensors are of another kind than LoRA, which nothing here applies",
    ),
    "text encoder": (
        "of a text encoder; mflux does not load it",
        "{n} modules are of a text encoder; mflux does not load them",
    ),
    "outside": (
        "not a module of FLUX.1's blocks; mflux does not load it",
        "{n} modules are not of FLUX.1's blocks; mflux does not load them",
    ),
    "repeated": ("says the same as another name", "{n} names say the same as others"),
    "no down": ("its down matrix is missing", "half the keys are missing: {n} of {of} modules have no down matrix"),
    "no up": ("its up matrix is missing", "half the keys are missing: {n} of {of} modules have no up matrix"),
    "no matrix": ("its down and up matrix is missing", "{n} modules have an alpha, and no matrices"),
    "dtype": (
        "not of floating-point numbers",
        "{n} of {of} modules are not of 16, 32 or 64 bit floating-point numbers",
    ),
    "misshapen": ("misshapen", "{n} of {of} modules are misshapen"),
    "tiled": (
        "its down matrix is tiled",
        "{n} modules have a tiled down matrix, a recipe for mflux before 0.19: from 0.19 on it is a shape error",
    ),
    "width": ("does not fit the other modules", "{n} of {of} modules do not fit the widths of the others"),
    "block": ("no such block", "{n} modules are of blocks that the base model does not have"),
    "not finite": ("holds NaN or infinity", "{n} tensors hold NaN or infinity"),
    "zero": (
        "its update is zero; it changes nothing",
        "the update of {n} of {of} modules is zero; they change nothing",
    ),
    "no alpha": (
        "its alpha is missing",
        "alpha is missing in {n} of {of} modules: mflux and ComfyUI then take scale 1, sd-scripts refuses the file",
    ),
    "strong": ("much stronger than its matrices", "{n} of {of} modules are much stronger than their matrices"),
    "weak": ("much weaker than its matrices", "{n} of {of} modules are much weaker than their matrices"),
    "extreme": ("far stronger than anybody trains", "{n} of {of} modules are far stronger than anybody trains"),
    "negative": ("its alpha is negative: it does the opposite", "{n} of {of} modules have a negative alpha"),
}
# the same, where it is so of every module
_ALL = {
    "zero": "the whole adapter's update is zero; it changes nothing",
    "no down": "half the keys are missing: no module has a down matrix",
    "no up": "half the keys are missing: no module has an up matrix",
    "no alpha": "alpha is missing: mflux and ComfyUI take scale 1, sd-scripts refuses the file",
}


_STRENGTHS = {"strong", "weak", "negative", "extreme"}
_REMARKS = {"strong", "weak", "zero"}
# what a file may hold beside what mflux loads: what is said of `n` modules in one line
_BESIDE = {"text encoder": "are of a text encoder", "outside": "are not of FLUX.1's blocks"}


class Doubt(StrEnum):
    """What a remap for a person stops at, unless they allow it."""

    ZERO = "zero"
    STRENGTH = "strength"
    BASE = "base"
    METADATA = "metadata"


@dataclass(frozen=True)
class Finding:
    """One thing wrong with one module or tensor, `name` as the file spells it; `detail` replaces the kind's words."""

    kind: str
    name: str
    detail: str = ""

    @property
    def is_remark(self) -> bool:
        """True for what a trainer may have meant: it is told, and is no fault."""
        return self.kind in _REMARKS

    @property
    def line(self) -> str:
        """The finding alone, `name: what is wrong`."""
        return f"{self.name}: {self.detail or _KINDS[self.kind][0]}"


def lines_of(findings: Iterable[Finding], modules: int) -> list[str]:
    """A line for each finding, or one for all of a kind (and of one detail) when there are more than three.

    `modules`: how many the file has.
    """
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.kind, _shared_detail(finding)), []).append(finding)
    lines: list[str] = []
    for (kind, detail), group in groups.items():
        if len(group) <= _NAMED:
            lines.extend(finding.line for finding in group)
        elif kind in _ALL and len(group) == modules:
            lines.append(_ALL[kind])
        else:
            lines.append(_told_together(kind, detail, group, modules))
    return lines


def changes_nothing(findings: Iterable[Finding], modules: int) -> bool:
    """True where every update is zero."""
    return modules > 0 and sum(finding.kind == "zero" for finding in findings) == modules


def told_apart(findings: Iterable[Finding], modules: int) -> tuple[list[str], list[str]]:
    """The lines of faults, and those of remarks. An update that is zero in every module is a fault."""
    findings = list(findings)
    is_nothing = changes_nothing(findings, modules)
    remarks = [one for one in findings if one.is_remark and not (is_nothing and one.kind == "zero")]
    faults = [one for one in findings if one not in remarks]
    return lines_of(faults, modules), lines_of(remarks, modules)


def set_aside(
    findings: Iterable[Finding], norms: Mapping[str, float | None], modules: int
) -> tuple[list[Finding], list[str]]:
    """The findings but for what a file holds beside what mflux loads, and a line for each kind of that, with its share.

    `norms`: of each module's update, by its name; None, or not there, where nobody knows. The share is of the squares.
    """
    found = list(findings)
    total = sum(norm**2 for norm in norms.values() if norm is not None)
    lines: list[str] = []
    for kind, words in _BESIDE.items():
        if names := [finding.name for finding in found if finding.kind == kind]:
            known = [norm for name in names if (norm := norms.get(name)) is not None]
            is_known = total > 0 and len(known) == len(names)
            share = f", {sum(norm**2 for norm in known) / total:.1%} of the update" if is_known else ""
            told = _some(names, 2) if len(names) > _NAMED else ", ".join(names)
            lines.append(f"{len(names)} of {modules} modules {words}{share}: mflux leaves them out ({told})")
    return [finding for finding in found if finding.kind not in _BESIDE], lines


def _told_together(kind: str, detail: str, group: Sequence[Finding], modules: int) -> str:
    if detail:
        return f"{len(group)} of {modules} modules: {detail} ({_some([finding.name for finding in group], 2)})"
    text = _KINDS[kind][1].format(n=len(group), of=modules)
    if group[0].detail and kind != "tiled":
        # shapes differ from module to module: one of them whole says more than two names
        return f"{text} (first {group[0].line})"
    return f"{text} ({_some([finding.name for finding in group], 2)})"


def _some(names: Sequence[str], count: int) -> str:
    return f"{', '.join(names[:count])} and {len(names) - count} more"


def _shared_detail(finding: Finding) -> str:
    # strengths differ by alpha and rank, and each is worth its own line; shapes differ by kind of module, and are not
    return finding.detail if finding.kind in _STRENGTHS else ""
