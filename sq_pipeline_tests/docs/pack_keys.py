"""Tables of keys of the pack's files. Not here: how a model becomes a table (`model_keys`)."""

from collections.abc import Iterator
from typing import get_args

from pydantic.fields import FieldInfo

from sq_pipeline.common.tiers import TIERS, Tier
from sq_pipeline.content.cultures import CultureKeys
from sq_pipeline.content.pack_parts import PackPart
from sq_pipeline.content.style_file import GenreStyle, LoraKeys, WorldLoras
from sq_pipeline.content.subject_files import SUBJECT_FILES, Place, SubjectForm, forms_of
from sq_pipeline_tests.docs.model_keys import model_table


def style_table() -> str:
    """`visual_style.yaml`."""
    return model_table(GenreStyle, is_flat=True)


def entry_table() -> str:
    """An entry of `loras`."""
    return model_table(LoraKeys)


def overlay_table() -> str:
    """`loras` of a world."""
    return model_table(WorldLoras, is_flat=True)


def subject_tables() -> str:
    """The file of each tier."""
    sections = [_section(form) for tier in TIERS for form in forms_of(tier)]
    culture = f"#### cultures/&lt;culture&gt;.yaml\n\n{model_table(CultureKeys)}"
    return "\n".join([*sections, culture])


def entries_of(tier: Tier) -> tuple[str, type[PackPart]]:
    """Where the entries of a tier's file stand, such as `chapters[].points_of_interest[]`, and their model."""
    return _entries_of(SUBJECT_FILES[tier].model)


def _entries_of(model: type[PackPart]) -> tuple[str, type[PackPart]]:
    place = ""
    while not issubclass(model, Place):
        key, model = next(_lists(model.model_fields))
        place = f"{place}.{key}[]".lstrip(".")
    return place, model


def _lists(fields: dict[str, FieldInfo]) -> Iterator[tuple[str, type[PackPart]]]:
    for key, info in fields.items():
        for inner in get_args(info.annotation):
            if isinstance(inner, type) and issubclass(inner, PackPart):
                yield key, inner


def _section(form: SubjectForm) -> str:
    place, model = _entries_of(form.model)
    return f"#### {form.name}\n\nA list at `{place}`; each entry has:\n\n{model_table(model)}"
