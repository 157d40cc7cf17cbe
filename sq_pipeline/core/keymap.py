"""Keymaps: rules that rename an MLX adapter's keys for a loader. Here: the model, its checks, its hash.

Not here: reading YAML (`storage.keymaps`), applying a keymap to a file (`core.remap_plan`, `stages.remap`).
"""

import re
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sq_pipeline.core.errors import Fault, KeymapError
from sq_pipeline.core.fingerprints import fingerprint
from sq_pipeline.core.flux_modules import sample_keys

_BLOCKS = (0, 7, 18)  # sample blocks: one digit, another, two digits


class KeymapRule(BaseModel):
    """`pattern` must match a whole source key; `target` is the new name, with `\\1` for a captured part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: str = Field(min_length=1)
    target: str = Field(min_length=1)
    transpose: bool


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

    @property
    def rules_hash(self) -> str:
        """`sha256:…` of what decides the output: dialects, alpha and the rules in any order; not names or comments."""
        rules = sorted((rule.model_dump() for rule in self.rules), key=lambda rule: str(rule["pattern"]))
        return fingerprint({"source": self.source, "target": self.target, "alpha": self.alpha, "rules": rules})

    def rename(self, key: str) -> tuple[str, bool] | None:
        """The new name of `key` and whether its tensor is transposed; None when no rule matches."""
        for rule in self.rules:
            if match := re.fullmatch(rule.pattern, key):
                return match.expand(rule.target), rule.transpose
        return None


def check_keymap(keymap: Keymap, file: str) -> None:
    """Raise KeymapError with every fault: a bad pattern, a key without a rule or with two, two keys with one target."""
    faults = list(_bad_patterns(keymap, file))
    if not faults:
        faults.extend(_uncovered(keymap, file))
    if faults:
        raise KeymapError(faults)


def _bad_patterns(keymap: Keymap, file: str) -> Iterable[Fault]:
    for index, rule in enumerate(keymap.rules):
        try:
            compiled = re.compile(rule.pattern)
        except re.error as error:
            yield Fault(
                file, f"rules[{index}].pattern", f"{rule.pattern!r} is no regular expression ({error})", "mend it"
            )
            continue
        used = [int(group) for group in re.findall(r"\\(\d+)", rule.target)]
        if any(group > compiled.groups for group in used):
            problem = f"refers to group {max(used)}, the pattern has {compiled.groups}"
            yield Fault(file, f"rules[{index}].target", problem, "capture the block number in the pattern")


def _uncovered(keymap: Keymap, file: str) -> Iterable[Fault]:
    targets: dict[str, str] = {}
    told: set[tuple[str, ...]] = set()
    for block in _BLOCKS:
        for key in sample_keys(block):
            kind = key.replace(f".{block}.", ".N.", 1)
            hits = [index for index, rule in enumerate(keymap.rules) if re.fullmatch(rule.pattern, key)]
            if len(hits) != 1:
                named = ", ".join(f"rules[{index}]" for index in hits)
                problem = f"{named} all match {kind}" if hits else f"no rule matches {kind}"
                mend = "leave one of them" if hits else "add a rule for it"
            else:
                rule = keymap.rules[hits[0]]
                matched = re.fullmatch(rule.pattern, key)
                assert matched is not None
                target = matched.expand(rule.target)
                if target not in targets:
                    targets[target] = kind
                    continue
                problem = f"{kind} and {targets[target]} both become {target}"
                mend = "give each its own target"
            if (signature := (kind, mend)) not in told:
                told.add(signature)
                yield Fault(file, "rules", problem, mend)
