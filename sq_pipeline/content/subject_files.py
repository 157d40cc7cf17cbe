"""What a world shows, read strictly: the places of `history.yaml`, and the manifests of the other tiers.

Here: their keys, as models, and the rules across entries.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, Field

from sq_pipeline.common.errors import Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.names import make_slug
from sq_pipeline.common.strict_yaml import as_yaml_text, is_list, is_mapping, type_name, wrong
from sq_pipeline.common.tiers import TIER_NAMES, Tier
from sq_pipeline.content.cultures import stem_of
from sq_pipeline.content.own_picture import OwnPicture
from sq_pipeline.content.pack_parts import PackFile, PackPart, as_text, of_type
from sq_pipeline.content.placeholders import is_placeholder
from sq_pipeline.content.records import OwnSettings, Subject


def _read_text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    raise wrong(f"is {type_name(value)}: {value!r}, not a text", as_text(value))


def _read_prompt(value: object) -> object:
    if is_list(value) and all(isinstance(part, str) for part in value):
        raise wrong("is a list, not a text", f"write `visual_prompt: {as_yaml_text(', '.join(value))}`")
    return {"solo": value.get("solo") if is_mapping(value) else _read_text(value)}


def _read_type(value: object) -> str:
    if is_list(value):
        raise wrong("is a list, not one type", f"write `type: {value[0]}`" if value else "write one, or remove it")
    return _read_text(value)


def _read_solo(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    raise wrong("is missing or no text", "write the prompt there: `solo: …`")


_Text = Annotated[str, BeforeValidator(_read_text)]


class VisualPrompt(BaseModel):
    """A prompt by how many are in the picture. A text alone is `solo`."""

    solo: Annotated[str, BeforeValidator(_read_solo)] = Field(
        description="The prompt of a picture with nothing else in it."
    )


class Place(OwnPicture):
    """A place (POI) of a history, and what every entry of the manifests has too.

    `slugs` and `descriptions` are keys: the first that says something counts.
    """

    must_be = "write `name: …`"
    slugs: ClassVar[tuple[str, ...]] = ("slug",)
    descriptions: ClassVar[tuple[str, ...]] = ("description",)

    name: _Text = Field(default="", description="What it is called. `name` or `slug` must be there.")
    slug: _Text = Field(default="", description="The picture's file name. Without it, it is made of the name.")
    description: _Text = Field(
        default="",
        description="What it looks like: its prompt, after its name, where there is no `visual_prompt`. Sentences "
        "after the first are dropped first where a prompt is too long.",
    )
    visual_prompt: (
        Annotated[VisualPrompt, BeforeValidator(_read_prompt, json_schema_input_type=str | VisualPrompt)] | None
    ) = Field(default=None, description="The prompt, word for word, in place of name and description.")
    region: _Text | None = Field(default=None, description="For people; no part of the prompt.")
    type: Annotated[str, BeforeValidator(_read_type)] | None = Field(
        default=None, description="Which tags of `visual_tag_overrides` it gets."
    )

    @classmethod
    def unread_keys(cls, value: Mapping[str, Any]) -> list[str]:
        """Those of its own, and of its `visual_prompt` all but `solo`."""
        prompt = value.get("visual_prompt")
        others = [key for key in prompt if key != "solo"] if is_mapping(prompt) and "solo" in prompt else []
        inner = [f"visual_prompt.{key}" for key in others]
        return [*super().unread_keys(value), *inner]

    def first_of(self, keys: Iterable[str]) -> str:
        """What the first of the keys says that says something; else an empty text."""
        return next((text for key in keys if (text := getattr(self, key))), "")


class Scene(Place):
    """An entry of `scene_manifest.yaml`."""

    slugs = ("slug", "id")

    id: _Text = Field(default="", description="Read where there is no `slug`.")


class Creature(Scene):
    """An entry of `creatures.yaml`."""

    descriptions = ("appearance", "description")

    appearance: _Text = Field(default="", description="Read in place of `description`.")
    role: _Text = Field(default="", description="Comes after the name, where there is no `visual_prompt`.")


class Character(Creature):
    """An entry of `portrait_manifest.yaml`."""

    culture: _Text = Field(
        default="",
        description="Added to the prompt where there is no `visual_prompt`: what the file `cultures/<culture>.yaml` of "
        "the world or its genre says under `aesthetic`, else these words.",
    )
    culture_aesthetic: _Text = Field(default="", description="Comes after `culture`.")
    element_visual: _Text = Field(default="", description="What is around the person; comes after the culture.")
    backdrop_poi: _Text = Field(default="", description="The slug of a place. It is checked, and not drawn yet.")


_OF_ENTRIES = of_type(list, "is {type}, not a list", "write `- name: …` entries")


class Chapter(PackPart):
    """A chapter of a history."""

    must_be = "correct it"

    id: Any = Field(default=None, description="For people.")
    title: Any = Field(default=None, description="For people.")
    label: Any = Field(default=None, description="For people.")
    points_of_interest: Annotated[list[Place], _OF_ENTRIES] = Field(default=[], description="Its places.")


class History(PackPart):
    """`history.yaml`."""

    must_be = "write `chapters:` above it"

    title: Any = Field(default=None, description="For people.")
    chapters: Annotated[list[Chapter], of_type(list, "is {type}, not a list", "write `- …` entries")] = Field(
        default=[], description="Its chapters; a place that several have is one, as the first has it."
    )
    points_of_interest: Annotated[list[Place], _OF_ENTRIES] = Field(
        default=[], description="Places of no chapter, as those of one more."
    )


class Portraits(PackPart):
    """`portrait_manifest.yaml`."""

    list_of = "characters"

    characters: Annotated[list[Character], _OF_ENTRIES] = Field(default=[], description="The people.")


class Creatures(PackPart):
    """`creatures.yaml`."""

    list_of = "creatures"

    creatures: Annotated[list[Creature], _OF_ENTRIES] = Field(default=[], description="The creatures.")


class Bestiary(PackPart):
    """`bestiary.yaml`."""

    list_of = "entries"

    entries: Annotated[list[Creature], _OF_ENTRIES] = Field(default=[], description="More creatures.")


class Scenes(PackPart):
    """`scene_manifest.yaml`."""

    list_of = "scenes"

    scenes: Annotated[list[Scene], _OF_ENTRIES] = Field(default=[], description="The scenes.")


@dataclass(frozen=True)
class SubjectForm:
    """A tier's file: its name, and what it may say."""

    name: str
    model: type[PackPart]


SUBJECT_FILES: Mapping[Tier, SubjectForm] = {
    "landscape": SubjectForm("history.yaml", History),
    "portrait": SubjectForm("portrait_manifest.yaml", Portraits),
    "creature": SubjectForm("creatures.yaml", Creatures),
    "scene": SubjectForm("scene_manifest.yaml", Scenes),
}
_ALSO: Mapping[Tier, SubjectForm] = {"creature": SubjectForm("bestiary.yaml", Bestiary)}


def forms_of(tier: Tier) -> tuple[SubjectForm, ...]:
    """The files that a tier's subjects may stand in; of two that one slug stands in, the first counts."""
    return (SUBJECT_FILES[tier], *((_ALSO[tier],) if tier in _ALSO else ()))


@dataclass
class SubjectFile(PackFile):
    """The subjects of one file, in order."""

    subjects: list[Subject] = field(default_factory=list[Subject])

    @property
    def says_nothing(self) -> bool:
        """True where its faults leave no subject."""
        return self.is_unread or (bool(self.faults) and not self.subjects)


def read_subjects(data: DataDir, folder: Path, tier: Tier, form: SubjectForm | None = None) -> SubjectFile:
    """The subjects of a tier that a file of a genre's or a world's folder has; where there is no file there are none.

    `form`: another file than the tier's first.
    """
    form = form or SUBJECT_FILES[tier]
    path = folder / form.name
    found = SubjectFile(data.relative(path))
    seen: dict[str, Subject] = {}
    noun = TIER_NAMES[tier].noun
    for entry, where in _entries(found, found.read(form.model, path), ""):
        subject = None if entry.faults else _read_subject(found, seen, entry, where, noun)
        if subject is not None:
            _add_subject(found, seen, subject, where, is_history=tier == "landscape")
    found.subjects += seen.values()
    return found


def _entries(found: SubjectFile, part: PackPart, where: str) -> Iterator[tuple[Place, str]]:
    """What the innermost lists hold, each with the place where it stands; notes what is wrong on the way."""
    for key in type(part).model_fields:
        items: Any = getattr(part, key)
        parts = [item for item in items if isinstance(item, PackPart)] if is_list(items) else []
        for index, item in enumerate(parts):
            place = f"{where}{key}[{index}]"
            found.take(item, place)
            if isinstance(item, Place):
                yield item, place
            else:
                yield from _entries(found, item, f"{place}.")


def _add_subject(
    found: SubjectFile, seen: dict[str, Subject], subject: Subject, where: str, *, is_history: bool
) -> None:
    first = seen.setdefault(subject.slug, subject)
    if first is subject or subject == Subject(subject.name, subject.slug):  # named again, without a word about it
        return
    if _is_one_name(first.name, subject.name):
        problem = f"{subject.name!r} is in {first.where} too, with its accents written as other characters"
        found.fault(where, problem, "write both names the same way, or remove one")
    elif first.name.casefold() != subject.name.casefold():
        problem = f"{subject.name!r} and {first.name!r} ({first.where}) both have the slug {subject.slug!r}"
        found.fault(where, problem, "give one a `slug:` of its own")
    elif first != subject:
        earlier = "in an earlier chapter" if is_history else "further up"
        problem = f"{subject.name!r} is {earlier} too, and says something else"
        found.warnings.append(Fault(found.file, where, problem, "the first one is used; make them equal"))


def _is_one_name(one: str, other: str) -> bool:
    """True for names that look the same and are not: an é may be one character or two."""
    return one != other and unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def _read_subject(
    found: SubjectFile, seen: Mapping[str, Subject], entry: Place, where: str, noun: str
) -> Subject | None:
    own_slug, description = entry.first_of(entry.slugs), entry.first_of(entry.descriptions)
    name = entry.name or own_slug.replace("_", " ").replace("-", " ")
    slug = make_slug(own_slug or name, noun)
    if not entry.name and slug in seen:
        name = seen[slug].name
    prompt = entry.visual_prompt.solo if entry.visual_prompt is not None else ""
    if not name:
        found.fault(f"{where}.name", "is missing", "add `name` or `slug`")
        return None
    if slug not in seen and not prompt and not description:
        problem = f"{name!r} has neither visual_prompt nor {entry.descriptions[0]}"
        found.fault(f"{where}.visual_prompt", problem, "write one")
        return None
    texts = {"visual_prompt": prompt, entry.descriptions[0]: description}
    texts |= {key: getattr(entry, key, "") for key in ("role", "culture", "culture_aesthetic", "element_visual")}
    said = {key: "" if is_placeholder(text) else text for key, text in texts.items()}
    prompt, description = said["visual_prompt"], said[entry.descriptions[0]]
    still = [key for key, text in texts.items() if text and not said[key]]
    if still and not prompt and not description:
        found.fault(f"{where}.{still[0]}", f"{name!r} has nothing but a placeholder: {texts[still[0]]!r}", "write it")
        return None
    for key in still:
        instead = f"; {entry.descriptions[0]} is used" if key == "visual_prompt" else ""
        warning = Fault(found.file, f"{where}.{key}", f"is a placeholder{instead}", "write it, or remove it")
        found.warnings.append(warning)
    stem = stem_of(said["culture"])
    cultures = (said["culture"] if not stem else "", said["culture_aesthetic"])
    return Subject(
        name,
        slug,
        description,
        prompt or None,
        entry.region,
        entry.type,
        culture=", ".join(filter(None, cultures)),
        file=found.file,
        where=where,
        role=said["role"],
        element=said["element_visual"],
        culture_stem=stem,
        backdrop=make_slug(getattr(entry, "backdrop_poi", "")),
        own=OwnSettings(
            entry.seed, entry.size_px, entry.num_inference_steps, entry.negative_prompt, is_draft=entry.draft
        ),
    )
