"""`visual_style.yaml`, of a genre or a world, read strictly; every fault with field and mend.

Real packs carry many keys that are not ours: they are ignored, but a near miss of ours is warned about.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sq_pipeline.base_models.base_models import resolve_base_model
from sq_pipeline.common.errors import BaseModelError, ContentError, Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.strict_yaml import load_mapping, near_miss, type_name, warn_of_slips
from sq_pipeline.common.tiers import TIER_NAMES, TIERS
from sq_pipeline.content.records import LoraEntry

_TIER_KEYS = {tier: names.style_key for tier, names in TIER_NAMES.items()}
_TEXT_KEYS = ("positive_suffix", "negative_prompt", "preferred_model")
_LEGACY_KEYS = ("lora", "lora_scale", "lora_trigger")
STYLE_KEYS = (*_TEXT_KEYS, "base_seed", *_TIER_KEYS.values(), "visual_tag_overrides", "loras", *_LEGACY_KEYS)
ENTRY_KEYS = ("name", "file", "scale", "applies_to", "trigger")
OVERLAY_KEYS = ("exclude", "add")  # of a world's `loras`


@dataclass
class StyleFile:
    """What one `visual_style.yaml` says. `fields` holds only what is given, so that overlaying is an update."""

    file: str
    fields: dict[str, Any] = field(default_factory=dict)
    tier_suffixes: dict[str, str] = field(default_factory=dict)
    tag_overrides: dict[str, str] = field(default_factory=dict)
    entries: list[LoraEntry] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    legacy: dict[str, Any] = field(default_factory=dict)
    has_loras: bool = False
    # where each name of an entry or an `exclude` stands in the file, of faulty entries too
    named_entries: dict[str, str] = field(default_factory=dict)
    named_excludes: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def fault(self, where: str, problem: str, mend: str) -> None:
        """Note a fault of this file."""
        self.faults.append(Fault(self.file, where, problem, mend))

    def text(self, value: Any, where: str) -> str | None:
        """`value` as a text, or None after noting what it is instead."""
        if isinstance(value, str):
            return value
        self.fault(where, f"is {type_name(value)}, not a text", "put it in quotes")
        return None


def read_style(data: DataDir, path: Path, genre: StyleFile | None = None) -> StyleFile:
    """One style file; a missing one says nothing. A world's is read with its `genre`'s at hand."""
    style = StyleFile(data.relative(path))
    if not os.path.lexists(path):
        return style
    try:
        values = load_mapping(path, style.file)
    except ContentError as error:
        style.faults += error.faults
        return style
    style.warnings += warn_of_slips(values, STYLE_KEYS, style.file, "")
    for key in _TEXT_KEYS:
        if values.get(key) is not None and (text := style.text(values[key], key)) is not None:
            style.fields[key] = text
    for tier, key in _TIER_KEYS.items():
        if values.get(key) is not None and (text := style.text(values[key], key)) is not None:
            style.tier_suffixes[tier] = text
    _read_seed(style, values.get("base_seed"))
    _read_tags(style, values.get("visual_tag_overrides"))
    if "preferred_model" in style.fields:
        try:
            resolve_base_model(style.fields["preferred_model"])
        except BaseModelError as error:
            style.faults += [Fault(style.file, fault.field, fault.problem, fault.mend) for fault in error.faults]
    legacy = {key: values[key] for key in _LEGACY_KEYS if values.get(key) is not None}
    style.has_loras = values.get("loras") is not None
    if style.has_loras:
        for key in legacy:
            style.fault(key, "stands beside `loras`, which replaced it", "remove it")
        _read_loras(data, style, values["loras"], is_world=genre is not None)
    elif legacy and genre is not None and genre.has_loras:
        for key in legacy:
            style.fault(key, "stands beside the genre's `loras`", "write `loras:` with `exclude` and `add`")
    elif legacy:
        _read_legacy(data, style, legacy, genre)
    return style


def _read_seed(style: StyleFile, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        style.fault("base_seed", f"is {type_name(value)}: {value!r}, not a whole number", "write e.g. 42")
    else:
        style.fields["base_seed"] = value


def _read_tags(style: StyleFile, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        style.fault("visual_tag_overrides", f"is {type_name(value)}, not a mapping", "write `type: tags`")
        return
    for kind, tags in value.items():
        joined = ", ".join(tags) if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) else tags
        if (text := style.text(joined, f"visual_tag_overrides.{kind}")) is not None:
            style.tag_overrides[kind] = text


def _read_loras(data: DataDir, style: StyleFile, value: Any, *, is_world: bool) -> None:
    if not is_world:
        if not isinstance(value, list):
            style.fault("loras", f"is {type_name(value)}; a genre's is a list", "write `- name: …` entries")
            return
        _read_entries(data, style, value, "loras")
        return
    if not isinstance(value, dict):
        style.fault("loras", f"is {type_name(value)}; a world's is a mapping", "write `exclude:` and `add:`")
        return
    for key in value.keys() - set(OVERLAY_KEYS):
        style.fault(f"loras.{key}", "unknown key", "only `exclude` and `add` belong here")
    for key in OVERLAY_KEYS:
        if value.get(key) is not None and not isinstance(value[key], list):
            style.fault(f"loras.{key}", f"is {type_name(value[key])}, not a list", "write `- …` entries")
    exclude, add = value.get("exclude"), value.get("add")
    for index, name in enumerate(exclude if isinstance(exclude, list) else []):
        if (text := style.text(name, f"loras.exclude[{index}]")) is not None:
            style.exclude.append(text)
            style.named_excludes.setdefault(text, f"loras.exclude[{index}]")
    _read_entries(data, style, add if isinstance(add, list) else [], "loras.add")


def _read_entries(data: DataDir, style: StyleFile, values: list[Any], where: str) -> None:
    for index, value in enumerate(values):
        entry = _read_entry(data, style, value, f"{where}[{index}]")
        if entry is not None:
            style.entries.append(entry)
        name = value.get("name") if isinstance(value, dict) else None
        if not isinstance(name, str):
            continue
        name, place = name.strip(), f"{where}[{index}].name"
        first = style.named_entries.setdefault(name, place)
        if first != place:
            problem = f"{name!r} is the name of {first.removesuffix('.name')} too"
            style.fault(place, problem, "give each its own name")


def _read_entry(data: DataDir, style: StyleFile, value: Any, where: str) -> LoraEntry | None:
    if not isinstance(value, dict):
        style.fault(where, f"is {type_name(value)}, not a mapping", "write name, file, scale and applies_to")
        return None
    before = len(style.faults)
    style.warnings += warn_of_slips(value, ENTRY_KEYS, style.file, where)
    for key in ("name", "file", "scale", "applies_to"):
        if value.get(key) is None:
            style.fault(f"{where}.{key}", "is missing", "add it")
    texts: dict[str, str] = {}
    for key in ("name", "file", "trigger"):
        if value.get(key) is not None:
            texts[key] = _read_filled_text(style, value[key], f"{where}.{key}")
    if "name" in texts and texts["name"] and not re.fullmatch(r"[A-Za-z0-9_]+", texts["name"]):
        style.fault(f"{where}.name", f"{texts['name']!r} has other signs than letters, digits and _", "rename it")
    if texts.get("file"):
        _check_file(data, style, texts["file"], f"{where}.file")
    lora_scale = _read_scale(style, value.get("scale"), f"{where}.scale")
    applies_to = _read_tiers(style, value.get("applies_to"), f"{where}.applies_to")
    if len(style.faults) > before or lora_scale is None:
        return None
    file = PurePosixPath(texts["file"]).as_posix()
    return LoraEntry(texts["name"], file, lora_scale, applies_to, texts.get("trigger") or None)


def _read_filled_text(style: StyleFile, value: Any, where: str) -> str:
    """`value` as a text without the space around it; empty after noting what is wrong."""
    text = style.text(value, where)
    if text is not None and not text.strip():
        style.fault(where, "is empty", "write it, or leave the key out")
    return (text or "").strip()


def _read_scale(style: StyleFile, value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        style.fault(where, f"is {type_name(value)}: {value!r}, not a finite number", "write e.g. 0.8")
        return None
    return float(value)


def _read_tiers(style: StyleFile, value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        style.fault(where, f"is {type_name(value)}, not a list of tiers", "write e.g. [landscape]")
        return ()
    if other := [tier for tier in value if not isinstance(tier, str)]:
        style.fault(where, f"holds {type_name(other[0])}: {other[0]!r}, not a tier", "write e.g. [landscape]")
        return ()
    if not value:
        style.fault(where, "is empty: the adapter would never apply", "name a tier, such as landscape")
    for tier in value:
        if tier not in TIERS:
            guess = near_miss(tier, TIERS)
            mend = f"did you mean {guess}?" if guess else f"known are {', '.join(TIERS)}"
            style.warnings.append(Fault(style.file, where, f"{tier!r} is no tier that is rendered", mend))
    return tuple(value)


def _check_file(data: DataDir, style: StyleFile, file: str, where: str) -> None:
    path = PurePosixPath(file)
    if "\0" in file:
        style.fault(where, f"{file!r} holds a NUL character", "remove it")
    elif path.is_absolute() or ".." in path.parts or "\\" in file or re.match(r"^[A-Za-z]:", file):
        style.fault(
            where, f"{file!r} leaves content/lora", "write a path below it, such as genre/landscape.safetensors"
        )
    elif path.suffix != ".safetensors":
        style.fault(where, f"{file!r} is no .safetensors file; others are never loaded", "export it as .safetensors")
    elif not Path(os.path.realpath(data.lora_root / path)).is_relative_to(os.path.realpath(data.lora_root)):
        style.fault(where, f"{file!r} leads out of content/lora through a link", "put the file itself there")


def _read_legacy(data: DataDir, style: StyleFile, values: Mapping[str, Any], genre: StyleFile | None) -> None:
    """`lora`, `lora_scale`, `lora_trigger` alone: an entry for every tier, named after its file, scale 1 by default.

    A world's overlay its genre's one by one, as other keys do, and make one entry with them, in place of the genre's.
    """
    before = len(style.faults)
    own: dict[str, Any] = {}
    if "lora" in values and (file := _read_filled_text(style, values["lora"], "lora")):
        _check_file(data, style, file, "lora")
        own["lora"] = PurePosixPath(file).as_posix()
    if "lora_scale" in values:
        own["lora_scale"] = _read_scale(style, values["lora_scale"], "lora_scale")
    if "lora_trigger" in values:
        own["lora_trigger"] = _read_filled_text(style, values["lora_trigger"], "lora_trigger")
    style.legacy = {**(genre.legacy if genre is not None else {}), **own}
    if "lora" not in values and "lora" not in style.legacy:
        for key in values:
            style.fault(key, "says something of a `lora` that is not there", "add `lora`, or write `loras`")
    if len(style.faults) > before or (genre is not None and genre.faults):
        return
    file = style.legacy["lora"]
    name = re.sub(r"[^A-Za-z0-9]+", "_", file.removesuffix(".safetensors")).strip("_")
    lora_scale = style.legacy.get("lora_scale", 1.0)
    style.entries.append(LoraEntry(name, file, lora_scale, TIERS, style.legacy.get("lora_trigger")))
    style.exclude += [entry.name for entry in genre.entries] if genre is not None else []
