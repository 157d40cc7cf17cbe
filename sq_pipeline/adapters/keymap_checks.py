"""What makes a keymap wrong: rules that cannot be read, keys left out or sent to two places, halves torn apart."""

import re
from collections.abc import Iterator

from sq_pipeline.adapters.form import PARTS_BY_KIND
from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.base_models.flux_modules import DOUBLE_MODULES, SINGLE_MODULES, sample_keys
from sq_pipeline.common.errors import Fault, KeymapError

_BLOCKS = (0, 7, 18)  # sample blocks: one digit, another, two digits
_INTERNAL = ("lora_a", "lora_b", "alpha")


def check_keymap(keymap: Keymap, file: str) -> None:
    """Raise KeymapError with every fault.

    Of any keymap: a bad pattern, target, split or ending. Of one that writes: a key without a rule or with two; two
    keys with one target; a module whose two matrices go to different modules. Of one that reads: a target that is no
    module of FLUX.1's blocks.
    """
    faults = [*_bad_endings(keymap, file), *_bad_patterns(keymap, file)]
    if not faults and keymap.source != "mlx" and not keymap.is_reading:
        problem = f"from {keymap.source} to {keymap.target}: neither is mlx, the internal form"
        faults.append(Fault(file, "source", problem, "write one keymap for each way"))
    if not faults:
        faults.extend(_uncovered(keymap, file) if keymap.source == "mlx" else _bad_modules(keymap, file))
    if faults:
        raise KeymapError(faults)


def _bad_endings(keymap: Keymap, file: str) -> Iterator[Fault]:
    internal = keymap.endings.values() if keymap.is_reading else keymap.endings.keys()
    for ending in internal:
        if ending not in _INTERNAL:
            yield Fault(file, "endings", f"{ending!r} is none of the internal form's", f"use {', '.join(_INTERNAL)}")


def _bad_patterns(keymap: Keymap, file: str) -> Iterator[Fault]:
    for index, rule in enumerate(keymap.rules):
        if rule.split and len(rule.split) != len(rule.target):
            problem = f"has {len(rule.split)} parts for {len(rule.target)} targets"
            yield Fault(file, f"rules[{index}].split", problem, "give each target its part")
        if rule.tile and not keymap.is_reading:
            problem = "is for reading: no loader of today wants a tiled file"
            yield Fault(file, f"rules[{index}].tile", problem, "take it away")
        try:
            re.compile(rule.pattern, re.ASCII)
            # the same, but matching nothing as well: a match with empty groups, to try the targets on
            probe = re.compile(f"{rule.pattern}|", re.ASCII).fullmatch("")
        except (re.error, ValueError, OverflowError, RecursionError) as error:
            yield Fault(
                file, f"rules[{index}].pattern", f"{rule.pattern!r} is no regular expression ({error})", "correct it"
            )
            continue
        for target in rule.target:
            try:
                if probe is not None:
                    probe.expand(target)
            except (re.error, IndexError) as error:
                problem = f"{target!r} cannot be filled in from the pattern ({error})"
                yield Fault(file, f"rules[{index}].target", problem, "capture the block number in the pattern")


def _bad_modules(keymap: Keymap, file: str) -> Iterator[Fault]:
    """Rules of a reading keymap whose target is no slot of the internal form, whatever the pattern captured."""
    slots = {
        f"{stem}.N.{kind}{part}"
        for stem, kinds in (("double_blocks", DOUBLE_MODULES), ("single_blocks", SINGLE_MODULES))
        for kind in kinds
        for part in ("", *(f".{name}" for name, _ in PARTS_BY_KIND.get(kind, ())))
    }
    endings = [""] if keymap.endings else [f".{ending}" for ending in _INTERNAL]
    known = {slot + ending for slot in slots for ending in endings}
    for index, rule in enumerate(keymap.rules):
        for target in rule.target:
            # what a pattern captured may be anything: the block, or q, k, v
            shape = re.compile("[^.]+".join(map(re.escape, re.split(r"\\\d|\\g<\w+>", target))))
            if not any(shape.fullmatch(name) for name in known):
                problem = f"{target!r} is no module of FLUX.1's blocks, nor a part of one"
                yield Fault(file, f"rules[{index}].target", problem, "name it as mlx-examples does")


def _uncovered(keymap: Keymap, file: str) -> Iterator[Fault]:
    targets: dict[str, list[str]] = {}
    homes: dict[str, frozenset[str]] = {}
    told: set[tuple[str, str]] = set()
    for block in _BLOCKS:
        for key in _keys_to_cover(keymap, block):
            kind = key.replace(f".{block}.", ".N.", 1)
            for problem, hint in _faults_of(keymap, key, kind, targets, homes):
                if (kind, hint) not in told:  # not once more for each block
                    told.add((kind, hint))
                    yield Fault(file, "rules", problem, hint)


def _keys_to_cover(keymap: Keymap, block: int) -> Iterator[str]:
    """Every key of whole modules; those of parts too where the keymap has a rule for any part of the module."""
    yield from sample_keys(block)
    for kind, parts in PARTS_BY_KIND.items():
        stem = f"{'single' if kind in SINGLE_MODULES else 'double'}_blocks.{block}.{kind}"
        keys = [f"{stem}.{part}.{matrix}" for part, _ in parts for matrix in ("lora_a", "lora_b")]
        if any(next(keymap.hits(key), None) for key in keys):
            yield from keys


def _faults_of(
    keymap: Keymap, key: str, kind: str, targets: dict[str, list[str]], homes: dict[str, frozenset[str]]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the rules for one key: problem and hint. `targets` and `homes` hold what went before."""
    hits = list(keymap.hits(key))
    if len(hits) != 1:
        named = ", ".join(f"rules[{index}]" for index, *_ in hits)
        problem = f"{named} all match {kind}" if hits else f"no rule matches {kind}"
        yield problem, "leave one of them" if hits else "add a rule for it"
        return
    index, rule, _, endings = hits[0]
    module, _, matrix = key.rpartition(".")
    if matrix == "lora_a" and rule.split and not endings[0]:
        yield f"rules[{index}] splits {kind}, and with it the rank", "take `split` away: the parts share it whole"
    if matrix == "lora_b" and len(rule.target) > 1 and not rule.split:
        yield f"rules[{index}] gives all of {kind} to each of its targets", "cut it with `split`"
    for renamed in keymap.rename(key):
        others = targets.setdefault(renamed.target, [])
        if rivals := [other for other in others if not _is_part_of(kind, other)]:
            yield f"{kind} and {rivals[0]} both become {renamed.target}", "give each its own target"
        others.append(kind)
    home = frozenset(renamed.target.rpartition(".lora_")[0] for renamed in keymap.rename(key))
    if homes.setdefault(module, home) != home:
        yield (
            f"{kind} goes to {', '.join(sorted(home))}, its partner to {', '.join(sorted(homes[module]))}",
            "send both matrices to one module",
        )


def _is_part_of(kind: str, whole: str) -> bool:
    """True for a key of a part and the same matrix of its module: an adapter has one of them."""
    module, _, matrix = whole.rpartition(".")
    return kind.startswith(f"{module}.") and kind.endswith(f".{matrix}") and kind != whole
