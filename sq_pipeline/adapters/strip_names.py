"""Names that would be known without a part of them: a prefix that was put on twice, an adapter's own name in PEFT's."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from sq_pipeline.adapters.dialects import find_dialect
from sq_pipeline.adapters.safetensors_file import SafetensorsFile
from sq_pipeline.common.errors import AdapterError, Fault
from sq_pipeline.common.hints import command, pass_option

_PREFIX = re.compile(r"(?:(?:transformer|base_model|model|diffusion_model|unet|module|_orig_mod)\.)+")
_INFIX = re.compile(r".*\.lora_[AB](\.[^.]+)\.weight")


def find_strip(names: Iterable[str]) -> tuple[str, str] | None:
    """The problem and the way on, where names of no dialect would be of one without a part of each; else None."""
    names = list(names)
    prefixes = Counter(match[0] for name in names if (match := _PREFIX.match(name)))
    infixes = Counter(match[1] for name in names if (match := _INFIX.fullmatch(name)))
    for found, word in ((prefixes, "the prefix"), (infixes, "the adapter's name")):
        for text, count in found.most_common(3):
            if find_dialect([_without(name, text) for name in names], {}) is not None:
                problem = f"{count} of its {len(names)} names have {word} {text!r}, and are of no dialect with it"
                return problem, f"{pass_option('--strip', text)} to read it without"
    return None


def strip_names(file: SafetensorsFile, text: str) -> SafetensorsFile:
    """The file with its names without a part. Raises AdapterError where no name has it, or two become one."""
    tensors = {_without(name, text): info for name, info in file.tensors.items()}
    if tensors.keys() == file.tensors.keys() or len(tensors) < len(file.tensors):
        problem = "two names become one without it" if len(tensors) < len(file.tensors) else "is in none of its names"
        way = f"see {command('adapter inspect', file.path)}"
        raise AdapterError(Fault(str(file.path), f"--strip {text}", problem, way))
    return replace(file, tensors={name: replace(info, name=name) for name, info in tensors.items()})


def _without(name: str, text: str) -> str:
    return name.removeprefix(text) if name.startswith(text) else name.replace(f"{text}.", ".", 1)
