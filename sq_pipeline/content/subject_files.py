"""What a world shows, read strictly: the places of `history.yaml`, and the manifests of the other tiers.

A manifest is a list under one key: `characters` in `portrait_manifest.yaml`, `creatures` in `creatures.yaml`, `scenes`
in `scene_manifest.yaml`. Real packs carry many keys that are not ours: they are ignored, but a near miss of ours is
warned about.
"""

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sq_pipeline.common.errors import ContentError, Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.strict_yaml import load_mapping, type_name, warn_of_slips
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import Subject


@dataclass(frozen=True)
class _Form:
    """One kind of file. `lists`: the keys on the way to the entries, of which all but the last hold mappings.

    `description`, `slug` and `culture`: the keys that an entry may have for each; those said first count, except that
    all of `culture` count.
    """

    name: str
    lists: tuple[str, ...]
    description: tuple[str, ...] = ("description",)
    slug: tuple[str, ...] = ("slug",)
    culture: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Every key of an entry that is a text."""
        return ("name", *self.slug, *self.description, *self.culture, "visual_prompt", "region", "type")


SUBJECT_FILES: Mapping[Tier, _Form] = {
    "landscape": _Form("history.yaml", ("chapters", "points_of_interest")),
    "portrait": _Form(
        "portrait_manifest.yaml",
        ("characters",),
        description=("appearance", "description"),
        slug=("slug", "id"),
        culture=("culture", "culture_aesthetic"),
    ),
    "creature": _Form("creatures.yaml", ("creatures",), description=("appearance", "description"), slug=("slug", "id")),
    "scene": _Form("scene_manifest.yaml", ("scenes",), slug=("slug", "id")),
}


@dataclass
class SubjectFile:
    """The subjects of one file, in order."""

    file: str
    subjects: list[Subject] = field(default_factory=list[Subject])
    faults: list[Fault] = field(default_factory=list[Fault])
    warnings: list[Fault] = field(default_factory=list[Fault])

    def fault(self, where: str, problem: str, mend: str) -> None:
        """Note a fault of this file."""
        self.faults.append(Fault(self.file, where, problem, mend))


def make_slug(name: str) -> str:
    """A file name for a subject: ASCII letters and digits in lower case, everything else one underscore."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain.replace("'", "")).strip("_")


def read_subjects(data: DataDir, folder: Path, tier: Tier) -> SubjectFile:
    """The subjects of a tier that a genre's or a world's folder has; where there is no file there are none."""
    form = SUBJECT_FILES[tier]
    path = folder / form.name
    found = SubjectFile(data.relative(path))
    if not os.path.lexists(path):
        return found
    try:
        values = load_mapping(path, found.file)
    except ContentError as error:
        found.faults += error.faults
        return found
    seen: dict[str, Subject] = {}
    for value, where in _entries(found, values, form.lists, ""):
        subject = _read_subject(found, form, seen, value, where)
        if subject is not None:
            _add_subject(found, seen, subject, where, is_history=len(form.lists) > 1)
    found.subjects += seen.values()
    return found


def _entries(
    found: SubjectFile, values: Mapping[str, Any], lists: tuple[str, ...], where: str
) -> Iterator[tuple[Any, str]]:
    """What the innermost lists hold, each with the place where it stands."""
    key, *rest = lists
    found.warnings += warn_of_slips(values, (key,), found.file, where)
    place = f"{where}.{key}" if where else key
    items = values.get(key)
    if not isinstance(items, (list, type(None))):
        written = "- …" if rest else "- name: …"
        found.fault(place, f"is {type_name(items)}, not a list", f"write `{written}` entries")
        return
    for index, item in enumerate(items or []):
        if not rest:
            yield item, f"{place}[{index}]"
        elif isinstance(item, dict):
            yield from _entries(found, item, tuple(rest), f"{place}[{index}]")
        else:
            found.fault(f"{place}[{index}]", f"is {type_name(item)}, not a mapping", "mend it")


def _add_subject(
    found: SubjectFile, seen: dict[str, Subject], subject: Subject, where: str, *, is_history: bool
) -> None:
    first = seen.setdefault(subject.slug, subject)
    if first is subject or subject == Subject(subject.name, subject.slug):  # named again, without a word about it
        return
    if first.name.casefold() != subject.name.casefold():
        problem = f"{subject.name!r} and {first.name!r} both have the slug {subject.slug!r}"
        found.fault(where, problem, "give one a `slug:` of its own")
    elif first != subject:
        earlier = "in an earlier chapter" if is_history else "further up"
        problem = f"{subject.name!r} is {earlier} too, and says something else"
        found.warnings.append(Fault(found.file, where, problem, "the first one is used; make them equal"))


def _read_subject(
    found: SubjectFile, form: _Form, seen: Mapping[str, Subject], value: Any, where: str
) -> Subject | None:
    def fault(key: str, problem: str, mend: str) -> None:
        found.fault(f"{where}.{key}".rstrip("."), problem, mend)

    if not isinstance(value, dict):
        fault("", f"is {type_name(value)}, not a mapping", "write `name: …`")
        return None
    before = len(found.faults)
    found.warnings += warn_of_slips(value, form.texts, found.file, where)
    given = dict(value)
    prompt = given.get("visual_prompt")
    if isinstance(prompt, dict):
        if not isinstance(prompt.get("solo"), str):
            fault("visual_prompt.solo", "is missing or no text", "write the prompt there")
        given["visual_prompt"] = prompt.get("solo") if isinstance(prompt.get("solo"), str) else None
    texts: dict[str, str] = {}
    for key in form.texts:
        item = given.get(key)
        if item is None:
            continue
        if not isinstance(item, str):
            fault(key, f"is {type_name(item)}: {item!r}, not a text", "put it in quotes")
            continue
        texts[key] = item.strip()
    own_slug = _first(texts, form.slug)
    name = texts.get("name") or own_slug.replace("_", " ").replace("-", " ")
    slug = make_slug(own_slug or name)
    if not texts.get("name") and slug in seen:
        name = seen[slug].name
    description = _first(texts, form.description)
    if len(found.faults) == before:
        if not name:
            fault("name", "is missing", f"add `name` or `{form.slug[0]}`")
        elif not slug:
            fault("name", f"{name!r} has no letter or digit to make a file name of", "add a `slug:`")
        elif slug not in seen and not texts.get("visual_prompt") and not description:
            fault("visual_prompt", f"{name!r} has neither visual_prompt nor {form.description[0]}", "write one")
    if len(found.faults) > before:
        return None
    return Subject(
        name,
        slug,
        description,
        texts.get("visual_prompt") or None,
        texts.get("region"),
        texts.get("type"),
        ", ".join(texts[key] for key in form.culture if texts.get(key)),
    )


def _first(texts: Mapping[str, str], keys: tuple[str, ...]) -> str:
    return next((texts[key] for key in keys if texts.get(key)), "")
