"""A folder that stands for the adapter in it, as PEFT, diffusers and trainers leave one; and one in several files."""

import re
from pathlib import Path

from sq_pipeline.adapters.strength.stated_scales import MODEL_FILE
from sq_pipeline.common.errors import AdapterError, Fault

_NAMES = (MODEL_FILE, "pytorch_lora_weights.safetensors")  # PEFT's, diffusers'
_SUFFIXES = (".safetensors", ".sft")


def adapter_file_of(path: Path) -> Path:
    """The adapter's file: `path` itself, or the one in that folder. Raises AdapterError where that is open."""
    if not path.is_dir():
        return path
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())
    named = [file for file in files if file.name in _NAMES]
    for found in (named, files):
        if len(found) == 1:
            return found[0]
    if files and shard_fault(files[0]) is not None:
        return files[0]  # and whoever reads it names the others
    if not files:
        problem = "is a folder without a .safetensors file"
        raise AdapterError(Fault(str(path), "", problem, "name the adapter's file, or its folder"))
    told = ", ".join(file.name for file in files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    raise AdapterError(
        Fault(str(path), "", f"is a folder of {len(files)} files ({told})", "name the one that is meant")
    )


def shard_fault(path: Path) -> Fault | None:
    """What is wrong with one file of several that an adapter was stored in; None for a whole one."""
    found = re.fullmatch(r"(.*?)(\d{3,})-of-(\d{3,})", path.stem)
    if found is None or int(found[3]) < 2:
        return None
    index, count = int(found[2]), int(found[3])
    names = [f"{found[1]}{part:0{len(found[2])}}-of-{found[3]}{path.suffix}" for part in range(1, count + 1)]
    others = [name for name in names if name != path.name]
    told = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    problem = f"is part {index} of {count} of an adapter; the rest is in {told}"
    return Fault(str(path), "", problem, "save it as one file, with the program that it is from")
