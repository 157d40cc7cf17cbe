"""`visual_style.yaml`, of a genre or a world, read strictly; every fault with field and hint.

Here: its keys, as models, and the rules across keys and entries. Not here: overlaying (`packs`).
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo, create_model

from sq_pipeline.base_models.base_models import resolve_base_model
from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.strict_yaml import is_list, is_mapping, near_miss, type_name, wrong
from sq_pipeline.common.tiers import TIER_NAMES, TIERS, Tier
from sq_pipeline.content.pack_parts import PackFile, PackPart, as_text, of_type
from sq_pipeline.content.records import LoraEntry, Style

_TIER_KEYS = {tier: names.style_key for tier, names in TIER_NAMES.items()}
_TIER_SUFFIX_KEYS: dict[Tier, str] = {tier: f"{names.folder}_positive_suffix" for tier, names in TIER_NAMES.items()}
_OVERLAID = {"positive_suffix", "negative_prompt", "preferred_model", "base_seed", "name_in_prompt"}
_NAME_MAX = 60  # it is a part of names of files
_SCALE_MAX, _SCALE_USUAL = 10.0, 2.0
_LEGACY_KEYS = ("lora", "lora_scale", "lora_trigger")


def _fill(text: str) -> str:
    if not text.strip():
        raise wrong("is empty", "write it, or leave the key out")
    return text.strip()


def _check_signs(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise wrong(f"{name!r} has other signs than letters, digits and _", "rename it")
    if len(name) > _NAME_MAX:
        raise wrong(f"has {len(name)} characters; {_NAME_MAX} are the most", "shorten it")
    return name


def _check_folder(folder: str) -> str:
    """The path written one way."""
    path = PurePosixPath(folder)
    if "\0" in folder or _leaves(path, folder) or path == PurePosixPath("."):
        raise wrong(f"{folder!r} is no folder below content/lora-datasets", "write its path there, such as west/style")
    return path.as_posix()


def _leaves(path: PurePosixPath, written: str) -> bool:
    """True for a path that goes out of the folder that it should be below, on any system."""
    return path.is_absolute() or ".." in path.parts or "\\" in written or bool(re.match(r"^[A-Za-z]:", written))


def _check_file(file: str, info: ValidationInfo) -> str:
    """The path written one way. The context is the folder that no link may lead out of."""
    path = PurePosixPath(file)
    if "\0" in file:
        raise wrong(f"{file!r} holds a NUL character", "remove it")
    if _leaves(path, file):
        raise wrong(f"{file!r} leaves content/lora", "write a path below it, such as genre/landscape.safetensors")
    if path.suffix != ".safetensors":
        way = "rename it to .safetensors" if path.suffix.lower() == ".sft" else "export it as .safetensors"
        raise wrong(f"{file!r} is no .safetensors file; others are never loaded", way)
    root: Path | None = info.context
    if root is not None and not Path(os.path.realpath(root / path)).is_relative_to(os.path.realpath(root)):
        raise wrong(f"{file!r} leads out of content/lora through a link", "put the file itself there")
    return path.as_posix()


def _check_scale(scale: float) -> float:
    if problem := why_no_scale(scale):
        raise wrong(problem, "write e.g. 0.8" if scale else "leave the entry out, or name it in a world's `exclude`")
    return scale


def why_no_scale(scale: float) -> str | None:
    """Why no adapter is applied with this scale, a finite number; None where one is."""
    if scale == 0:
        return "is 0: the adapter would change nothing"
    if abs(scale) > _SCALE_MAX:
        return f"is {scale:g}: nothing but noise is left of pictures above {_SCALE_MAX:g}"
    return None


def _read_tiers(value: object) -> tuple[object, ...]:
    if not is_list(value):
        raise wrong(f"is {type_name(value)}, not a list of tiers", "write e.g. [landscape]")
    if other := [tier for tier in value if not isinstance(tier, str)]:
        raise wrong(f"holds {type_name(other[0])}: {other[0]!r}, not a tier", "write e.g. [landscape]")
    if not value:
        raise wrong("is empty: the adapter would never apply", "name a tier, such as landscape")
    return tuple(value)


def _check_base_model(name: str) -> str:
    try:
        resolve_base_model(name)
    except BaseModelError as error:
        fault = error.faults[0]
        raise wrong(fault.problem, fault.hint) from None
    return name


def _read_text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise wrong(f"is {type_name(value)}, not a text", as_text(value))


def _join_tags(value: object) -> object:
    if is_list(value) and all(isinstance(tag, str) for tag in value):
        return ", ".join(value)
    return value


_Text = Annotated[str, BeforeValidator(_read_text)]
_Filled = Annotated[_Text, AfterValidator(_fill)]
_File = Annotated[_Filled, AfterValidator(_check_file)]
_Folder = Annotated[_Filled, AfterValidator(_check_folder)]
_Scale = Annotated[
    float,
    of_type((int, float), "is {type}: {value!r}, not a finite number", "write e.g. 0.8"),
    AfterValidator(_check_scale),
]
_Seed = Annotated[int, of_type(int, "is {type}: {value!r}, not a whole number", "write e.g. 42")]
_Tags = Annotated[_Text, BeforeValidator(_join_tags)]


class LoraKeys(PackPart):
    """An adapter of a style."""

    must_be = "write name, file, scale and applies_to"

    name: Annotated[_Filled, AfterValidator(_check_signs)] = Field(
        description="What it is called, each by its own name: letters, digits and _."
    )
    file: _File = Field(
        description="A `.safetensors` file below `content/lora`. `<genre>/<tier>.safetensors` is trained on the "
        "dataset `<genre>/<tier>`, `<genre>/<world>/<tier>.safetensors` on `<genre>/worlds/<world>/<tier>`. Without "
        "such a dataset it is an adapter from elsewhere."
    )
    scale: _Scale = Field(description="How strongly it is applied.")
    applies_to: Annotated[tuple[str, ...], BeforeValidator(_read_tiers)] = Field(
        description=f"The tiers it is used for: {', '.join(TIERS)}."
    )
    trigger: _Filled | None = Field(default=None, description="The word that goes first in the prompt.")
    reference: _Folder | None = Field(
        default=None,
        description="A folder below `content/lora-datasets` with pictures in its style, for an adapter from elsewhere: "
        "the gate holds it against them. Captions and a `lora.yaml` are read where it has them.",
    )


class WorldLoras(PackPart):
    """What a world changes of its genre's adapters."""

    only_ours = "only `exclude` and `add` belong here"

    exclude: Annotated[list[_Text], of_type(list, "is {type}, not a list", "write `- …` entries")] = Field(
        default=[], description="Names of the genre's adapters that the world does without."
    )
    add: Annotated[list[LoraKeys], of_type(list, "is {type}, not a list", "write `- …` entries")] = Field(
        default=[], description="Adapters of the world's own, after the genre's."
    )


_TIER_TEXTS: dict[str, Any] = {
    names.style_key: (
        _Text,
        Field(default="", description=f"Goes into the prompt of every {names.noun}, before `positive_suffix`."),
    )
    for names in TIER_NAMES.values()
}
_TIER_SUFFIXES: dict[str, Any] = {
    key: (
        _Text,
        Field(
            default="", description=f"Ends the prompt of every {TIER_NAMES[tier].noun} in place of `positive_suffix`."
        ),
    )
    for tier, key in _TIER_SUFFIX_KEYS.items()
}
_TierKeys = create_model("_TierKeys", __base__=PackPart, **_TIER_TEXTS, **_TIER_SUFFIXES)


class TagOverride(PackPart):
    """What the prompts of one type of subjects get, written as a mapping."""

    positive_suffix: _Tags = Field(default="", description="The tags, a text or a list.")


def _read_override(value: object) -> str | TagOverride:
    return TagOverride.model_validate(value) if is_mapping(value) else _read_text(_join_tags(value))


class StyleKeys(_TierKeys):
    """What a genre's and a world's `visual_style.yaml` may both say. A world's keys stand in for its genre's."""

    positive_suffix: _Text = Field(default=Style.positive_suffix, description="Ends every prompt.")
    negative_prompt: _Text = Field(
        default=Style.negative_prompt, description="For base models that read one; others ignore it."
    )
    base_seed: _Seed = Field(default=Style.base_seed, description="Added to every picture's seed.")
    visual_tag_overrides: Annotated[
        dict[str, Annotated[str | TagOverride, PlainValidator(_read_override)]],
        of_type(dict, "is {type}, not a mapping", "write `type: tags`"),
    ] = Field(
        default={},
        description="Tags for the prompts of subjects of a `type`: a text, a list, or `positive_suffix` in a mapping.",
    )
    preferred_model: Annotated[_Text, AfterValidator(_check_base_model)] | None = Field(
        default=Style.preferred_model,
        description="The base model that pictures are rendered with. `sq.yaml` may override it.",
    )
    name_in_prompt: Annotated[
        bool, of_type(bool, "is {type}: {value!r}, neither true nor false", "write true or false")
    ] = Field(
        default=Style.name_in_prompt,
        description="`false` leaves the name out of the prompt where an entry has no `visual_prompt`: many base "
        "models paint names as captions.",
    )
    lora: _File | None = Field(
        default=None, description="Older form: the file of one adapter for all tiers. An error beside `loras`."
    )
    lora_scale: _Scale = Field(default=1.0, description="Older form: the scale of `lora`.")
    lora_trigger: _Filled | None = Field(default=None, description="Older form: the trigger of `lora`.")


class GenreStyle(StyleKeys):
    """A genre's `visual_style.yaml`."""

    loras: Annotated[list[LoraKeys], of_type(list, "is {type}; a genre's is a list", "write `- name: …` entries")] = (
        Field(
            default=[],
            description="The adapters: a genre's is a list, a world's a mapping. A world without it has its genre's.",
        )
    )


class WorldStyle(StyleKeys):
    """A world's `visual_style.yaml`."""

    loras: Annotated[WorldLoras, of_type(dict, "is {type}; a world's is a mapping", "write `exclude:` and `add:`")] = (
        Field(default=WorldLoras(), description="What is other than in the genre's adapters.")
    )


@dataclass
class StyleFile(PackFile):
    """What one `visual_style.yaml` says. `fields` holds only what is given, so that overlaying is an update."""

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    tier_suffixes: dict[str, str] = field(default_factory=dict[str, str])
    tag_overrides: dict[str, str] = field(default_factory=dict[str, str])
    tier_positive_suffixes: dict[str, str] = field(default_factory=dict[str, str])
    entries: list[LoraEntry] = field(default_factory=list[LoraEntry])
    exclude: list[str] = field(default_factory=list[str])
    legacy: dict[str, Any] = field(default_factory=dict[str, Any])
    has_loras: bool = False
    # where each name of an entry or an `exclude` stands in the file, of faulty entries too
    named_entries: dict[str, str] = field(default_factory=dict[str, str])
    named_excludes: dict[str, str] = field(default_factory=dict[str, str])


def read_style(data: DataDir, path: Path, genre: StyleFile | None = None) -> StyleFile:
    """One style file; a missing one says nothing. A world's is read with its `genre`'s at hand."""
    style = StyleFile(data.relative(path))
    said = style.read(GenreStyle if genre is None else WorldStyle, path, data.lora_root)
    given = said.model_dump(exclude_unset=True, exclude={"loras", "visual_tag_overrides"})
    style.fields = {key: value for key, value in given.items() if key in _OVERLAID}
    style.tier_suffixes = {tier: given[key] for tier, key in _TIER_KEYS.items() if key in given}
    style.tier_positive_suffixes = {tier: given[key] for tier, key in _TIER_SUFFIX_KEYS.items() if key in given}
    for kind, tags in said.visual_tag_overrides.items():
        if isinstance(tags, TagOverride):
            style.take(tags, f"visual_tag_overrides.{kind}")
            style.tag_overrides[kind] = tags.positive_suffix
        else:
            style.tag_overrides[kind] = tags
    style.has_loras = "loras" in said.model_fields_set
    legacy = {key: given[key] for key in _LEGACY_KEYS if key in given}
    if style.has_loras:
        _refuse(style, legacy, "stands beside `loras`, which replaced it", "remove it")
    elif genre is not None and genre.has_loras:
        _refuse(style, legacy, "stands beside the genre's `loras`", "write `loras:` with `exclude` and `add`")
    elif legacy:
        _read_legacy(style, legacy, genre)
    if isinstance(said, GenreStyle):
        _read_entries(style, said.loras, "loras")
    else:
        style.take(said.loras, "loras")
        wrong_fields = {fault.field for fault in style.faults}
        for index, name in enumerate(said.loras.exclude):
            if (place := f"loras.exclude[{index}]") not in wrong_fields:
                style.exclude.append(name)
                style.named_excludes.setdefault(name, place)
        _read_entries(style, said.loras.add, "loras.add")
    return style


def _refuse(style: StyleFile, legacy: Iterable[str], problem: str, hint: str) -> None:
    """Older keys are wrong here, whatever they say."""
    style.faults = [fault for fault in style.faults if fault.field not in legacy]
    for key in legacy:
        style.fault(key, problem, hint)


def _read_entries(style: StyleFile, entries: Iterable[LoraKeys], where: str) -> None:
    for index, entry in enumerate(entries):
        place = f"{where}[{index}]"
        style.take(entry, place)
        for tier in getattr(entry, "applies_to", ()):
            if tier not in TIERS:
                guess = near_miss(tier, TIERS)
                hint = f"did you mean {guess}?" if guess else f"known are {', '.join(TIERS)}"
                problem = f"{tier!r} is no tier that is rendered"
                style.warnings.append(Fault(style.file, f"{place}.applies_to", problem, hint))
        if not entry.faults:
            _warn_of_scale(style, f"{place}.scale", entry.scale)
            style.entries.append(
                LoraEntry(entry.name, entry.file, entry.scale, entry.applies_to, entry.trigger, entry.reference)
            )
        name = getattr(entry, "name", "").strip()
        first = style.named_entries.setdefault(name, f"{place}.name") if name else f"{place}.name"
        if first != f"{place}.name":
            problem = f"{name!r} is the name of {first.removesuffix('.name')} too"
            style.fault(f"{place}.name", problem, "give each its own name")


def _warn_of_scale(style: StyleFile, place: str, scale: float) -> None:
    if not 0 < scale <= _SCALE_USUAL:
        problem = f"is {scale:g}: " + ("the opposite of the style" if scale < 0 else "far stronger than it was trained")
        style.warnings.append(
            Fault(style.file, place, problem, f"write a number from 0 to {_SCALE_USUAL:g}, such as 0.8")
        )


def _read_legacy(style: StyleFile, own: Mapping[str, Any], genre: StyleFile | None) -> None:
    """`lora`, `lora_scale`, `lora_trigger` alone: an entry for every tier, named after its file, scale 1 by default.

    A world's overlay its genre's one by one, as other keys do, and make one entry with them, in place of the genre's.
    """
    style.legacy = {**(genre.legacy if genre is not None else {}), **own}
    if "lora" not in style.legacy:
        for key in own:
            style.fault(key, "says something of a `lora` that is not there", "add `lora`, or write `loras`")
    if any(fault.field in _LEGACY_KEYS for fault in style.faults) or (genre is not None and genre.faults):
        return
    said = StyleKeys.model_construct(**style.legacy)
    if said.lora is not None:
        if "lora_scale" in own:
            _warn_of_scale(style, "lora_scale", said.lora_scale)
        name = re.sub(r"[^A-Za-z0-9]+", "_", said.lora.removesuffix(".safetensors")).strip("_")
        style.entries.append(LoraEntry(name, said.lora, said.lora_scale, TIERS, said.lora_trigger))
    style.exclude += [entry.name for entry in genre.entries] if genre is not None else []
