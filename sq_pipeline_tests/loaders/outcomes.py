"""The loaders, and what comes of giving one a file: updates, a refusal, or no answer at all."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sq_pipeline_tests.loaders.layers import Update


@dataclass(frozen=True)
class Loader:
    """A published loader in one version; `kohya` and `mlx` (mlx-examples) are rules and have none."""

    name: Literal["mflux", "diffusers", "kohya", "mlx"]
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


MFLUX_0_17 = Loader("mflux", "0.17.5")
MFLUX_0_18 = Loader("mflux", "0.18.1")
MFLUX_0_19 = Loader("mflux", "0.19.0")
MFLUX_LOCKED = Loader("mflux", importlib.metadata.version("mflux"))
DIFFUSERS = Loader("diffusers", "0.42.1")
KOHYA = Loader("kohya")
MLX_EXAMPLES = Loader("mlx")  # reads its own dialect and nothing else
LOADERS: Sequence[Loader] = (MFLUX_0_17, MFLUX_0_18, MFLUX_0_19, MFLUX_LOCKED, DIFFUSERS, KOHYA)


class Applied(dict[str, Update]):
    """BFL module: what the loader adds to its weight, (outputs, inputs) float64; zeros where it adds nothing.

    `complaints`: what the loader only said, and went on: it may have left layers or a whole file out.
    """

    def __init__(self, updates: dict[str, Update], complaints: Sequence[str] = ()) -> None:
        super().__init__(updates)
        self.complaints = tuple(complaints)


@dataclass(frozen=True)
class Refused:
    """The loader raised, on loading or at the first use of a layer; `reason` is the first line of its error."""

    reason: str


@dataclass(frozen=True)
class NotRun:
    """The loader cannot be had here."""

    reason: str


Outcome = Applied | Refused | NotRun


def first_line(error: BaseException) -> str:
    """What an error says, in one line; a KeyError says its key alone, so its kind goes before it."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"KeyError: {text}" if isinstance(error, KeyError) else text
