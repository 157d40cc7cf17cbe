"""Keymaps: rules that rename an MLX adapter's keys for a loader. Here: the model, its checks, its hash.

Not here: reading YAML (`storage.keymaps`), applying a keymap to a file (`core.remap_plan`, `stages.remap`).
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sq_pipeline.core.errors import Fault, KeymapError
from sq_pipeline.core.fingerprints import fingerprint
from sq_pipeline.core.flux_modules import sample_keys

_BLOCKS = (0, 7, 18)  # sample blocks: one digit, another, two digits


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class KeymapRule(BaseModel):
    """`pattern` must match a whole source key; `target` is the new name, with `\\1` for a captured part.

    Several targets, for a fused module that the loader knows in parts: each gets the whole of a `lora_a`, and its
    share of a `lora_b`, whose outputs `split` cuts in the given proportions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: str = Field(min_length=1)
    target: Annotated[
        tuple[Annotated[str, Field(pattern=r"^\S+$")], ...], BeforeValidator(_as_tuple), Field(min_length=1)
    ]
    transpose: bool
    split: tuple[Annotated[int, Field(ge=1)], ...] = ()

    @property
    def outcome(self) -> str:
        """What becomes of a key, such as `to_q + to_k (transposed, split 1:1)`: different for different rules."""
        shape = "transposed" if self.transpose else "not transposed"
        parts = f", split {':'.join(map(str, self.split))}" if self.split else ""
        return f"{' + '.join(self.target)} ({shape}{parts})"  # a target holds no space


@dataclass(frozen=True)
class Renamed:
    """One new name of a key. `share`: (first, end, of how many) equal parts of the rows; None for all of them."""

    target: str
    is_transposed: bool
    share: tuple[int, int, int] | None


class Keymap(BaseModel):
    """A versioned set of rules from one dialect to what one range of a loader's versions reads.

    `alpha: rank` adds `<module>.alpha` with the rank as value, for loaders that divide by it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    version: int = Field(ge=1)
    description: str = ""
    source: Literal["mlx"]
    target: Literal["mflux", "kohya", "diffusers"]
    loader: str = ""
    loader_versions: str = ""
    alpha: Literal["none", "rank"] = "none"
    rules: tuple[KeymapRule, ...] = Field(min_length=1)

    def meaning(self) -> dict[str, Any]:
        """What decides the output: dialects, alpha, and each rule's outcome by its pattern; not names or comments."""
        rules = {rule.pattern: rule.outcome for rule in reversed(self.rules)}  # the first of two is the one that counts
        return {"source": self.source, "target": self.target, "alpha": self.alpha, "rules": rules}

    @property
    def rules_hash(self) -> str:
        """`sha256:…` of the keymap's meaning."""
        return fingerprint(self.meaning())

    def rename(self, key: str) -> tuple[Renamed, ...]:
        """Everything that `key` becomes; nothing when no rule matches."""
        for rule in self.rules:
            if match := _match(rule, key):
                ends = list(itertools.accumulate(rule.split, initial=0))
                cuts = [(start, end, ends[-1]) for start, end in itertools.pairwise(ends)]
                shares = cuts or [None] * len(rule.target)
                return tuple(
                    Renamed(match.expand(target), rule.transpose, share)
                    for target, share in zip(rule.target, shares, strict=True)
                )
        return ()


def _match(rule: KeymapRule, key: str) -> re.Match[str] | None:
    return re.fullmatch(rule.pattern, key, re.ASCII)  # ASCII: `\d` must not take other scripts' digits


def check_keymap(keymap: Keymap, file: str) -> None:
    """Raise KeymapError with every fault.

    That is: a bad pattern, target or split; a key without a rule or with two; two keys with one target; a module
    whose two matrices go to different modules.
    """
    faults = list(_bad_patterns(keymap, file))
    if not faults:
        faults.extend(_uncovered(keymap, file))
    if faults:
        raise KeymapError(faults)


def _bad_patterns(keymap: Keymap, file: str) -> Iterator[Fault]:
    for index, rule in enumerate(keymap.rules):
        if rule.split and len(rule.split) != len(rule.target):
            problem = f"has {len(rule.split)} parts for {len(rule.target)} targets"
            yield Fault(file, f"rules[{index}].split", problem, "give each target its part")
        try:
            re.compile(rule.pattern, re.ASCII)
            # the same, but matching nothing as well: a match with empty groups, to try the targets on
            probe = re.compile(f"{rule.pattern}|", re.ASCII).fullmatch("")
        except (re.error, ValueError, OverflowError, RecursionError) as error:
            yield Fault(
                file, f"rules[{index}].pattern", f"{rule.pattern!r} is no regular expression ({error})", "mend it"
            )
            continue
        for target in rule.target:
            try:
                if probe is not None:
                    probe.expand(target)
            except (re.error, IndexError) as error:
                problem = f"{target!r} cannot be filled in from the pattern ({error})"
                yield Fault(file, f"rules[{index}].target", problem, "capture the block number in the pattern")


def _uncovered(keymap: Keymap, file: str) -> Iterator[Fault]:
    targets: dict[str, str] = {}
    homes: dict[str, frozenset[str]] = {}
    told: set[tuple[str, str]] = set()
    for block in _BLOCKS:
        for key in sample_keys(block):
            kind = key.replace(f".{block}.", ".N.", 1)
            for problem, mend in _faults_of(keymap, key, kind, targets, homes):
                if (kind, mend) not in told:  # not once more for each block
                    told.add((kind, mend))
                    yield Fault(file, "rules", problem, mend)


def _faults_of(
    keymap: Keymap, key: str, kind: str, targets: dict[str, str], homes: dict[str, frozenset[str]]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the rules for one key: problem and mend. `targets` and `homes` hold what went before."""
    hits = [index for index, rule in enumerate(keymap.rules) if _match(rule, key)]
    if len(hits) != 1:
        named = ", ".join(f"rules[{index}]" for index in hits)
        problem = f"{named} all match {kind}" if hits else f"no rule matches {kind}"
        yield problem, "leave one of them" if hits else "add a rule for it"
        return
    rule = keymap.rules[hits[0]]
    module, _, matrix = key.rpartition(".")
    if matrix == "lora_a" and rule.split:
        yield f"rules[{hits[0]}] splits {kind}, and with it the rank", "take `split` away: the parts share it whole"
    if matrix == "lora_b" and len(rule.target) > 1 and not rule.split:
        yield f"rules[{hits[0]}] gives all of {kind} to each of its targets", "cut it with `split`"
    for renamed in keymap.rename(key):
        if renamed.target in targets:
            yield f"{kind} and {targets[renamed.target]} both become {renamed.target}", "give each its own target"
        targets.setdefault(renamed.target, kind)
    home = frozenset(renamed.target.rpartition(".lora_")[0] for renamed in keymap.rename(key))
    if homes.setdefault(module, home) != home:
        yield (
            f"{kind} goes to {', '.join(sorted(home))}, its partner to {', '.join(sorted(homes[module]))}",
            "send both matrices to one module",
        )
