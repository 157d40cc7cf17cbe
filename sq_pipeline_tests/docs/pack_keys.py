"""Tables of keys of the pack's files. Not here: how a model becomes a table (`model_keys`)."""

from typing import get_args

from sq_pipeline.common.tiers import TIERS, Tier
from sq_pipeline.content.pack_parts import PackPart
from sq_pipeline.content.style_file import GenreStyle, LoraKeys, WorldLoras
from sq_pipeline.content.subject_files import SUBJECT_FILES, Place
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
    return "\n".join(_subject_section(tier) for tier in TIERS)


def entries_of(tier: Tier) -> tuple[str, type[PackPart]]:
    """Where the entries of a tier's file stand, such as `chapters[].points_of_interest[]`, and their model."""
    model, place = SUBJECT_FILES[tier].model, ""
    while not issubclass(model, Place):
        ((key, info),) = model.model_fields.items()
        place = f"{place}.{key}[]".lstrip(".")
        (model,) = get_args(info.annotation)
    return place, model


def _subject_section(tier: Tier) -> str:
    place, model = entries_of(tier)
    return f"#### {SUBJECT_FILES[tier].name}\n\nA list at `{place}`; each entry has:\n\n{model_table(model)}"
