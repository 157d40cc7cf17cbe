"""Keymaps: rules that rename an adapter's keys, between a dialect's names and the internal form's.

Here: the model, renaming, the hash. Not here: what makes one wrong (`adapters.keymap_checks`), reading YAML
(`adapters.keymap_files`), applying one to a file (`adapters.reading`, `adapters.remap.plan`).
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sq_pipeline.adapters.dialects import Dialect
from sq_pipeline.base_models.base_models import Family
from sq_pipeline.common.fingerprints import fingerprint

# `never`: the dialect has none, so that a scale is multiplied into the up matrix. `where_needed`: an update without
# one is applied at scale 1. `always`: every module has one, and loaders differ on what a missing one means.
Alpha = Literal["never", "where_needed", "always"]


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class KeymapRule(BaseModel):
    """What becomes of the keys that it matches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: str = Field(min_length=1)
    """A regular expression that must match a whole source key; with `endings`, a whole module name."""
    target: Annotated[
        tuple[Annotated[str, Field(pattern=r"^\S+$")], ...], BeforeValidator(_as_tuple), Field(min_length=1)
    ]
    """The new name, with `\\1` for a captured part. A list of names for a fused module that the target knows in
    parts: each gets the whole down matrix and its share of the up matrix."""
    transpose: bool
    """Whether the matrix is transposed."""
    split: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """The proportions in which an up matrix's outputs are cut, one for each target."""
    tile: bool = False
    """Each part has a down matrix of its own, one after the other along the rank, as mflux before 0.19 reads a fused
    one."""

    @property
    def outcome(self) -> str:
        """What becomes of a key, such as `to_q + to_k (transposed, split 1:1)`: different for different rules."""
        shape = "transposed" if self.transpose else "not transposed"
        parts = f", split {':'.join(map(str, self.split))}" if self.split else ""
        tiles = ", tiled" if self.tile else ""
        return f"{' + '.join(self.target)} ({shape}{parts}{tiles})"  # a target holds no space


@dataclass(frozen=True)
class Renamed:
    """One new name of a key. `share`: (first, end, of how many) equal parts of the rows; None for all of them.

    `tile`: (which, of how many) down matrices along the rank, where there are that many; None where there is one.
    `swaps_halves`: the first half of an up matrix's rows comes after the second.
    """

    target: str
    is_transposed: bool
    share: tuple[int, int, int] | None
    tile: tuple[int, int] | None = None
    swaps_halves: bool = False


class Keymap(BaseModel):
    """A versioned set of rules: from a dialect to the internal form (`target: mlx`), or from there to a dialect.

    The internal form has mlx-examples' names: `<module>.lora_a`, `.lora_b`; and beyond them `.alpha`, and parts of
    fused modules, `<module>.q.lora_a`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    """The keymap's name, in reports and errors."""
    version: int = Field(ge=1)
    """A number that you raise with every change."""
    description: str = ""
    """A line for people."""
    source: Dialect
    """The dialect that it reads. `mlx` is the internal form, with mlx-examples' names."""
    target: Dialect
    """The dialect that it writes. One of `source` and `target` is `mlx`."""
    loader: str = ""
    """Whose files it writes."""
    loader_versions: str = ""
    """For which versions of that loader, such as `>=0.19`."""
    otherwise: str = ""
    """What other versions would make of the file; said in the error."""
    alpha: Alpha = "where_needed"
    """Whether files have an alpha. `never`: a scale is multiplied into the up matrix. `where_needed`: an update without
    one is applied at scale 1. `always`: every module has one."""
    endings: dict[str, str] = {}
    """Source ending → target ending, such as `lora_down.weight: lora_a`. The rules then speak of modules, each for all
    of its tensors, and `split` is for the up matrix alone."""
    rules: tuple[KeymapRule, ...] = Field(min_length=1)
    """The rules. Every key must be matched by one, or nothing is written."""

    @property
    def is_reading(self) -> bool:
        """True for a keymap into the internal form; the one from mlx-examples to itself is for both ways."""
        return self.target == "mlx"

    def meaning(self) -> dict[str, Any]:
        """What decides the output: dialects, alpha, and each rule's outcome by its pattern; not names or comments."""
        rules = {rule.pattern: rule.outcome for rule in reversed(self.rules)}  # the first of two is the one that counts
        endings = {"endings": dict(self.endings)} if self.endings else {}
        return {"source": self.source, "target": self.target, "alpha": self.alpha, **endings, "rules": rules}

    @property
    def rules_hash(self) -> str:
        """`sha256:…` of the keymap's meaning."""
        return fingerprint(self.meaning())

    def hits(self, key: str) -> Iterator[tuple[int, KeymapRule, re.Match[str], tuple[str, str]]]:
        """Every rule that matches `key`: its index, itself, the match, and the endings (source, target) it had."""
        if not self.endings:
            stems = [(key, ("", ""))]
        else:
            stems = [(key.removesuffix(f".{e[0]}"), e) for e in self.endings.items() if key.endswith(f".{e[0]}")]
        for stem, endings in stems:
            for index, rule in enumerate(self.rules):
                if match := _compile(self.pattern_for(rule, stem)).fullmatch(stem):
                    yield index, rule, match, endings

    def pattern_for(self, rule: KeymapRule, stem: str) -> str:  # noqa: ARG002
        """What a name such as `stem` must match as a whole."""
        return rule.pattern

    def rename(self, key: str) -> tuple[Renamed, ...]:
        """Everything that `key` becomes; nothing when no rule matches."""
        for _, rule, match, endings in self.hits(key):
            targets = [_fill_in(target, match) + (f".{endings[1]}" if endings[1] else "") for target in rule.target]
            matrix = endings[1] if self.is_reading else endings[0]  # the internal form's word
            cuts: list[tuple[int, int, int] | None] = [None] * len(targets)
            if rule.split and matrix in ("", "lora_b"):
                ends = list(itertools.accumulate(rule.split, initial=0))
                cuts = [(start, end, ends[-1]) for start, end in itertools.pairwise(ends)]
            is_tiled = rule.tile and (matrix or targets[0].rpartition(".")[2]) == "lora_a"
            tiles = [(index, len(targets)) if is_tiled else None for index in range(len(targets))]
            return tuple(
                Renamed(target, rule.transpose, cut, tile)
                for target, cut, tile in zip(targets, cuts, tiles, strict=True)
            )
        return ()


class FamilyKeymap(Keymap):
    """The names of a family other than FLUX.1, whose internal form has the layers' own names.

    One of `prefixes` may stand before a name; a name after `underscored` has underscores where the rules have dots.
    """

    family: Family
    source: Dialect = "mlx"
    target: Dialect = "mlx"
    prefixes: tuple[str, ...]
    underscored: str = Field(min_length=1)

    def pattern_for(self, rule: KeymapRule, stem: str) -> str:
        """The rule's pattern, with what may stand before it."""
        if stem.startswith(self.underscored):
            return re.escape(self.underscored) + rule.pattern.replace(r"\.", "_")
        return f"(?:{'|'.join(map(re.escape, self.prefixes))})?{rule.pattern}"


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)  # ASCII: `\d` must not take other scripts' digits


def _fill_in(target: str, match: re.Match[str]) -> str:
    """`match.expand(target)`, without reading the target anew for each key."""
    literals = _literals(target)
    if literals is None:
        return match.expand(target)
    return "".join(part if index % 2 == 0 else match[int(part)] or "" for index, part in enumerate(literals))


@cache
def _literals(target: str) -> list[str] | None:
    """Text and group numbers in turn; None for a target with other escapes than `\\1` to `\\9`."""
    parts = re.split(r"\\([1-9])(?!\d)", target)
    return None if any("\\" in part for part in parts) else parts
