"""What a reading cannot take, one line a kind: three keys are named, three hundred counted. And hints for elsewhere.

Not here: finding them (`adapters.reading`).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sq_pipeline.adapters.dialects import is_of_text_encoder, module_name, name_other_kind
from sq_pipeline.adapters.form import ALPHA_DTYPES, FLOATS
from sq_pipeline.adapters.keymap import FamilyKeymap, Keymap
from sq_pipeline.adapters.outside import name_extra
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.base_models import FAMILY_NAMES
from sq_pipeline.common.errors import AdapterError, Fault
from sq_pipeline.common.hints import command, pass_option, remap_instead

_NAMED = 3  # a line for each, up to so many
_AGAIN = "export the adapter again"
# dtypes of numbers that a float holds, and how
_CONVERT = {
    "F64": "convert them to F32, as nearly all programs read",
    "F8_E4M3": "convert them to BF16, which holds each of their numbers",
    "F8_E5M2": "convert them to BF16, which holds each of their numbers",
}


@dataclass(frozen=True)
class Kind:
    """One way not to be taken: what is said of one key, and of `n` of them together."""

    one: str
    many: str
    hint: str  # `{inspect}` in it is the command
    counts_modules: bool = False


@dataclass
class Untaken:
    """The keys that were not taken so far, by what is said of many."""

    kinds: dict[str, list[tuple[str, Kind]]] = field(default_factory=dict[str, list[tuple[str, Kind]]])

    def add(self, kind: Kind, key: str) -> None:
        """One more key."""
        self.kinds.setdefault(kind.many, []).append((key, kind))

    def faults(self, file: str) -> Iterator[Fault]:
        """A fault for each key, or one for a kind of which there are more than three."""
        inspect = command("adapter inspect", Path(file or "FILE"))
        few = [one for found in self.kinds.values() if len(found) <= _NAMED for one in found]
        yield from (
            Fault(file, key, kind.one, kind.hint.format(inspect=inspect))
            for key, kind in sorted(few, key=lambda one: one[0])
        )
        for many, found in self.kinds.items():
            if len(found) > _NAMED:
                keys, kind = [key for key, _ in found], found[0][1]
                counted = list(dict.fromkeys(map(module_name, keys))) if kind.counts_modules else keys
                yield Fault(
                    file, "", f"{many.format(n=len(counted))} ({some(counted)})", kind.hint.format(inspect=inspect)
                )


def some(names: Sequence[str]) -> str:
    """The first, and how many more."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def unknown_kind(key: str, keymap: Keymap) -> Kind:
    """Why no rule of a keymap knows a key."""
    other = name_other_kind(key)
    if isinstance(keymap, FamilyKeymap) and not other:
        return Kind(
            f"is no layer's of a {FAMILY_NAMES[keymap.family]} LoRA",
            f"{{n}} keys are no layers' of a {FAMILY_NAMES[keymap.family]} LoRA",
            "was it trained for another base model?",
        )
    if is_of_text_encoder(key):
        return Kind(
            "is of a text encoder, which no target here holds",
            "{n} modules are of a text encoder, which no target here holds",
            f"{pass_option('--without-text-encoder')} to leave it out",
            counts_modules=True,
        )
    if (extra := name_extra(key)) and not isinstance(keymap, FamilyKeymap):
        way = f"{pass_option('--without', 'unapplied')} to leave them out"
        return Kind(extra, f"{{n}} tensors are no LoRA's: each {extra}", way)
    if other:
        return Kind(other, f"{{n}} keys are not a LoRA's; each {other}", "make a LoRA of it with its own tool")
    return Kind(
        f"unknown key: no rule of {keymap.name} matches it",
        f"{{n}} unknown keys: no rule of {keymap.name} matches them",
        "see {inspect}",
    )


def shape_kind(info: TensorInfo, ending: str) -> Kind | None:
    """What is wrong with a tensor's dtype or shape; None where nothing is."""
    if ending == "alpha":
        if info.dtype in ALPHA_DTYPES and math.prod(info.shape) == 1:
            return None
        text = f"is {info.dtype} {list(info.shape)}, not one number"
        return Kind(text, "{n} alphas are not one number", _AGAIN)
    if info.dtype in FLOATS and len(info.shape) == 2 and 0 not in info.shape:
        return None
    text = f"is {info.dtype} {list(info.shape)}, not a filled matrix of floating-point numbers"
    if info.dtype in FLOATS:
        return Kind(text, "{n} tensors are not filled matrices", _AGAIN)
    many = f"{{n}} tensors are {info.dtype}, which no target here holds"
    return Kind(text, many, f"{_CONVERT.get(info.dtype, _AGAIN)}; see {{inspect}}")


@contextmanager
def with_whole_commands() -> Iterator[None]:
    """An AdapterError that is raised inside is one for other commands than `adapter remap`."""
    try:
        yield
    except AdapterError as error:
        raise AdapterError(map(for_other_commands, error.faults)) from None


def for_other_commands(fault: Fault) -> Fault:
    """A fault whose hint is an option of `adapter remap`, with the command that has it."""
    return replace(fault, hint=remap_instead(fault.hint, fault.file or "FILE"))
