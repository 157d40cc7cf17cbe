"""What mlx-examples' `flux/dreambooth.py` prints, and the names of its files. Not here: acting on it.

Read in its source, in both of its forms: with the training in the script, which saves only every so many iterations,
and with `flux/trainer.py`, which saves `final_adapters.safetensors` too.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FINAL = "final_adapters.safetensors"
REPORT_INTERVAL = 10  # iterations between two lines with a loss, the mean of their losses

_ITERATION = re.compile(
    r"Iter: (?P<iteration>\d+) Loss: (?P<loss>\S+) It/s: (?P<pace>\S+) Peak mem: (?P<memory>\S+) GB"
)
_GENERATING = re.compile(r"Generating (?P<path>.*?(?P<iteration>\d{7,})_progress\.png)$")
_SAVING = re.compile(r"Saving (?P<path>.*?(?P<iteration>\d{7,})_adapters\.safetensors)$")
_TRACEBACK = "Traceback (most recent call last):"
_BAR = re.compile(r"\d+%\|")


@dataclass(frozen=True)
class IterationLine:
    """`loss`: the mean of the last ten iterations. `pace`: iterations a second of these, sampling not counted."""

    iteration: int
    loss: float
    pace: float
    memory_bytes: int


@dataclass(frozen=True)
class SampleLine:
    """Pictures are about to be drawn after `iteration`; they are there when the next line comes."""

    iteration: int


@dataclass(frozen=True)
class SaveLine:
    """The adapter after `iteration` is about to be written; it is there when the next line comes."""

    iteration: int


def read_line(line: str) -> IterationLine | SampleLine | SaveLine | None:
    """What a line tells; None for any other. A number that is none is NaN."""
    if found := _ITERATION.search(line):
        memory = _number(found["memory"]) * 1024**3
        is_known = 0 <= memory < float("inf")
        return IterationLine(
            int(found["iteration"]), _number(found["loss"]), _number(found["pace"]), int(memory) if is_known else 0
        )
    if found := _GENERATING.search(line):
        return SampleLine(int(found["iteration"]))
    if found := _SAVING.search(line):
        return SaveLine(int(found["iteration"]))
    return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def adapter_path(folder: Path, iteration: int) -> Path:
    """Where the adapter after `iteration` is saved."""
    return folder / f"{iteration:07d}_adapters.safetensors"


def sample_path(folder: Path, iteration: int) -> Path:
    """Where the pictures drawn after `iteration` are: four of one prompt, in a square."""
    return folder / f"{iteration:07d}_progress.png"


def remove_outputs(folder: Path) -> None:
    """Remove what an earlier training left; nothing else in the folder is touched."""
    for pattern in ("*_adapters.safetensors", "*_progress.png", "adapter_config.json"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def last_error(log: str) -> str:
    """The line of a log that says why it ended: the traceback's own last one, else the last that is no progress bar."""
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", log)]
    if _TRACEBACK in lines:
        start = len(lines) - lines[::-1].index(_TRACEBACK)
        for line in lines[start:]:
            if line and not line.startswith(" "):
                return line
    told = [line.strip() for line in lines if line.strip() and not _BAR.search(line)]
    return told[-1] if told else "it said nothing"
