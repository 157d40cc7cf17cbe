"""The places that say an adapter's strength beside its alphas: PEFT's configuration, in the file or by it, metadata.

Here: reading them, and what to say where they disagree. Not here: what a place means (`scales`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sq_pipeline.adapters.safetensors_file import SafetensorsFile
from sq_pipeline.adapters.strength.scales import (
    CONFIG_FILE,
    METADATA_KEY,
    TENSOR,
    Scale,
    StatedScale,
    read_peft_config,
    read_plain_alphas,
)
from sq_pipeline.common.errors import Fault
from sq_pipeline.common.hints import pass_option

MODEL_FILE = "adapter_model.safetensors"  # PEFT's name of the file that its configuration is for
_MOST_CONFIG_BYTES = 1 << 20
_PASS_ALPHA = f"{pass_option('--missing-alpha', 'ALPHA')}, the alpha it was trained with"

# what a person makes of alphas that are no tensors: `refuse` where that leaves the strength open; the rank (scale 1);
# what is stated; that, or the rank where nothing is; or a number
MissingAlpha = Literal["refuse", "rank", "stated", "stated or rank"] | float


@dataclass(frozen=True)
class Stated:
    """What was found, the first place first, and what is wrong with the places."""

    scales: tuple[StatedScale, ...] = ()
    faults: tuple[Fault, ...] = ()

    def chosen(self, missing: MissingAlpha, *, needs_tensors: bool) -> StatedScale | None:
        """What counts where a module has no alpha of its own.

        `needs_tensors`: in files of this dialect every module has one, so that only a person can say what counts.
        """
        if isinstance(missing, float):
            return StatedScale("--missing-alpha", missing)
        first = self.scales[0] if self.scales else None
        if first is None or first.is_loaders or missing in ("stated", "stated or rank"):
            return first
        return None if missing == "rank" or needs_tensors else first


@dataclass(frozen=True)
class Sized:
    """A module, by the file's name, with its rank and its scale."""

    name: str
    rank: int
    scale: Scale


NOTHING_STATED = Stated()


def find_stated(file: SafetensorsFile) -> Stated:
    """All places of a file."""
    scales: list[StatedScale] = []
    faults: list[Fault] = []
    own = (str(file.path), f"metadata {METADATA_KEY}", file.metadata.get(METADATA_KEY), True)
    beside = (str(file.path.parent / CONFIG_FILE), CONFIG_FILE, config_text(file), False)
    for where, place, text, is_loaders in (own, beside):
        found = None if text is None else read_peft_config(text, place, is_loaders=is_loaders)
        if isinstance(found, str):
            faults.append(Fault(where, place if is_loaders else "", found, "export the adapter again"))
        elif found is not None:
            scales.append(found)
    return Stated((*scales, *read_plain_alphas(file.metadata)), tuple(faults))


def config_text(file: SafetensorsFile) -> str | None:
    """The configuration in a file's folder, which is its own unless the folder holds PEFT's file besides.

    None without one; what cannot be one is empty, and no JSON.
    """
    folder = file.path.parent
    config = folder / CONFIG_FILE
    if not config.is_file() or (file.path.name != MODEL_FILE and (folder / MODEL_FILE).exists()):
        return None
    try:
        is_small = config.stat().st_size <= _MOST_CONFIG_BYTES
        return config.read_text(encoding="utf-8") if is_small else ""
    except (OSError, UnicodeDecodeError):
        return ""


def stated_faults(modules: Sequence[Sized], stated: Stated, chosen: StatedScale | None, file: str) -> Iterator[Fault]:
    """Places that contradict the file, or each other, where an update's strength hangs on them."""
    hanging = [module for module in modules if module.scale.source not in (TENSOR, "")]
    if chosen is None or not hanging or chosen not in stated.scales:
        return
    wrong = [module for module in hanging if (rank := chosen.rank_of(module.name)) is not None and rank != module.rank]
    # a rank in plain metadata is the trainer's default, from which modules may differ
    if wrong and (chosen.place == CONFIG_FILE or len(wrong) == len(hanging)):
        first = wrong[0]
        problem = f"{chosen.place} says rank {chosen.rank_of(first.name):g} (r), the file has rank {first.rank}"
        hint = f"{_PASS_ALPHA}, or put its own configuration beside it"
        yield Fault(file, "", f"{problem} ({first.name} and {len(wrong) - 1} more)", hint)
    for other in stated.scales[stated.scales.index(chosen) + 1 :]:
        differing = [one for one in hanging if not _agree(other.scale_of(one.name, one.rank), one.scale.value)]
        if differing:
            first = differing[0]
            said = f"{other.place} says {other.scale_of(first.name, first.rank):g}"
            problem = f"{chosen.place} says scale {first.scale.value:g}, {said}, in {first.name} first"
            yield Fault(file, "", problem, _PASS_ALPHA)


def stated_notes(modules: Sequence[Sized], stated: Stated, chosen: StatedScale | None) -> Iterator[str]:
    """A line for a place that counts and that loaders do not read, and for each that says otherwise than counts."""
    hanging = [module for module in modules if module.scale.source not in (TENSOR, "")]
    if hanging and chosen is not None and not chosen.is_loaders:
        first = hanging[0]
        yield (
            f"scale {_all_scales(hanging)} in {len(hanging)} modules is from {chosen.place}: alpha "
            f"{chosen.alpha_of(first.name):g} at rank {first.rank}{', rsLoRA' if chosen.uses_rslora else ''}"
        )
    for place in stated.scales:
        others = [one for one in modules if one not in hanging and _says_otherwise(place, one)]
        if others:
            first = others[0]
            yield (
                f"{place.place} says alpha {place.alpha_of(first.name):g} (scale "
                f"{place.scale_of(first.name, first.rank):g}); what counts in {len(others)} modules is "
                + ("their own alpha" if first.scale.source == TENSOR else "alpha = rank")
                + f" (scale {_all_scales(others)})"
            )


def offer_of(stated: Stated, name: str, rank: int) -> str:
    """What a person may choose for alphas that are missing, as part of a hint."""
    if not stated.scales:
        return ""
    first = stated.scales[0]
    alpha, scale = first.alpha_of(name), first.scale_of(name, rank)
    way = pass_option("--missing-alpha", "stated")
    return f"{way} for alpha {alpha:g} (scale {scale:g}), as {first.place} says, or "


def _says_otherwise(place: StatedScale, module: Sized) -> bool:
    return not _agree(place.scale_of(module.name, module.rank), module.scale.loaded)


def _agree(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-3)  # an alpha may be held in bfloat16


def _all_scales(modules: Sequence[Sized]) -> str:
    return ", ".join(f"{value:g}" for value in sorted({module.scale.value for module in modules})[:4])
