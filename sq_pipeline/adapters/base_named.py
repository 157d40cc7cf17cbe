"""The base model that an adapter's metadata or configuration names, where that is none of FLUX.1.

Here: names that trainers write. Not here: what the shapes say (`inspect.flux_fit`). A name that is not known here says
nothing.
"""

import json
import re
from typing import Any

from sq_pipeline.adapters.safetensors_file import SafetensorsFile
from sq_pipeline.adapters.strength.scales import CONFIG_FILE
from sq_pipeline.adapters.strength.stated_scales import config_text

_KEYS = ("modelspec.architecture", "ss_base_model_version", "base_model", "base_model_name_or_path")
# of sd-scripts, ai-toolkit, OneTrainer, PEFT; the first that fits counts. FLUX.1 is nothing to tell
_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"flux[-_. ]?2.*klein.*9b|klein[-_. ]?9b", "flux2-klein-9b"),
    (r"flux[-_. ]?2.*klein.*4b|klein[-_. ]?4b", "flux2-klein-4b"),
    (r"flux[-_. ]?2|klein", "flux2"),
    (r"chroma", "chroma"),
    (r"flux", ""),
    (r"sdxl|stable[-_ ]diffusion[-_ ]xl|pony|illustrious", "sdxl"),
    (r"sd[-_ ]?3|stable[-_ ]diffusion[-_ ](v)?3", "sd3"),
    (r"(?<![a-z])sd[-_ ]?v?[12]|stable[-_ ]diffusion[-_ ]v?[12]", "sd1 or sd2"),
    (r"z[-_ ]?image", "z-image"),
    *(
        (rf"(?<![a-z]){name}", name)
        for name in ("qwen", "wan", "hunyuan", "lumina", "hidream", "cosmos", "kolors", "pixart", "ltx")
    ),
)


def other_family(file: SafetensorsFile) -> str:
    """The family or model that the metadata names, where that is no FLUX.1; else empty."""
    return next((family for _, text in _places(file) if text and (family := family_named(text))), "")


def other_base(file: SafetensorsFile) -> str:
    """`metadata modelspec.architecture says …`, where a place names another base model than a FLUX.1; else empty."""
    for place, text in _places(file):
        if text and (family := family_named(text)):
            return f"{place} says {family} ({text[:80]!r})"
    return ""


def _places(file: SafetensorsFile) -> list[tuple[str, str | None]]:
    places = [(f"metadata {key}", file.metadata.get(key)) for key in _KEYS]
    return [*places, (CONFIG_FILE, _base_in(config_text(file)))]


def family_named(text: str) -> str:
    """The family in a name of a model; empty for FLUX.1, and for names that are not known."""
    found = (family for pattern, family in _FAMILIES if re.search(pattern, text, re.IGNORECASE))
    return next(found, "")


def _base_in(config: str | None) -> str:
    try:
        values: Any = json.loads(config or "{}")
    except (ValueError, RecursionError):
        return ""
    return str(values.get("base_model_name_or_path") or "") if isinstance(values, dict) else ""
