"""Tables of keys of the pack's files, whose readers have tables of keys. Every key of theirs must have its line here.

Not here: files that are read by pydantic models (`model_keys`).
"""

from collections.abc import Collection, Mapping

from sq_pipeline.common.tiers import TIER_NAMES, TIERS, Tier
from sq_pipeline.content.style_file import ENTRY_KEYS, OVERLAY_KEYS, STYLE_KEYS
from sq_pipeline.content.subject_files import SUBJECT_FILES
from sq_pipeline_tests.docs.blocks import table

Line = tuple[str, str, str]  # what is allowed, the default, the meaning

_STYLE: Mapping[str, Line] = {
    "positive_suffix": ("a text", "", "The end of every prompt."),
    "negative_prompt": ("a text", "", "For base models that read one; others ignore it."),
    "preferred_model": ("a base model", "`tiny-flux`", "What pictures are rendered with. `sq.yaml` may override it."),
    "base_seed": ("a whole number", "`0`", "Added to every picture's seed."),
    **{names.style_key: ("a text", "", f"The suffix of every {tier}'s prompt.") for tier, names in TIER_NAMES.items()},
    "visual_tag_overrides": (
        "a mapping of type → a text or a list of texts",
        "",
        "Tags for what has this `type`, added to its prompt.",
    ),
    "loras": (
        "a genre: a list; a world: a mapping",
        "",
        "The adapters. A world without it has its genre's.",
    ),
    "lora": ("a text", "", "Older form: the file of one adapter for all tiers. An error beside `loras`."),
    "lora_scale": ("a number", "`1.0`", "Older form: the scale of `lora`."),
    "lora_trigger": ("a text", "", "Older form: the trigger of `lora`."),
}

_ENTRY: Mapping[str, Line] = {
    "name": ("letters, digits and _", "required", "The adapter's name, each its own."),
    "file": (
        "a path ending in .safetensors",
        "required",
        "Below `content/lora`. `<genre>/<tier>.safetensors` is trained on the dataset `<genre>/<tier>`, "
        "`<genre>/<world>/<tier>.safetensors` on `<genre>/worlds/<world>/<tier>`. Without such a dataset it is an "
        "adapter from elsewhere.",
    ),
    "scale": ("a number", "required", "How strongly it is applied."),
    "applies_to": ("a list of tiers", "required", "The tiers whose pictures it is used for."),
    "trigger": ("a text", "", "The word that goes first in the prompt."),
}

_OVERLAY: Mapping[str, Line] = {
    "exclude": ("a list of names", "", "Adapters of the genre that this world does without."),
    "add": ("a list of entries", "", "Adapters of its own, after the genre's."),
}


def style_table() -> str:
    """`visual_style.yaml`."""
    return _table(STYLE_KEYS, _STYLE)


def entry_table() -> str:
    """An entry of `loras`."""
    return _table(ENTRY_KEYS, _ENTRY)


def overlay_table() -> str:
    """`loras` of a world."""
    return _table(OVERLAY_KEYS, _OVERLAY)


def subject_tables() -> str:
    """The file of each tier."""
    return "\n".join(_subject_section(tier) for tier in TIERS)


def _subject_section(tier: Tier) -> str:
    form = SUBJECT_FILES[tier]
    noun = TIER_NAMES[tier].noun
    place = "[].".join(form.lists)
    lines: dict[str, Line] = {
        "name": ("a text", "", f"The {noun}'s name. `name` or `{form.slug[0]}` must be there."),
        "visual_prompt": (
            "a text, or a mapping with `solo`",
            "",
            f"The prompt, verbatim. Without it the prompt is `name: {form.description[0]}`"
            + (f", then `{form.culture[0]}`." if form.culture else "."),
        ),
        "region": ("a text", "", "For people; no part of the prompt."),
        "type": ("a text", "", "Which tags of `visual_tag_overrides` it gets."),
    }
    for keys, meaning in (
        (form.slug, "The picture's file name. Without it, it is made of the name."),
        (
            form.description,
            "What it looks like. Sentences after the first are dropped first where a prompt is too long.",
        ),
        (form.culture, "Added to the prompt where there is no `visual_prompt`."),
    ):
        for index, key in enumerate(keys):
            second = f"Comes after `{keys[0]}`." if keys is form.culture else f"Read where there is no `{keys[0]}`."
            lines[key] = ("a text", "", meaning if index == 0 else second)
    return f"#### {form.name}\n\nA list at `{place}[]`; each entry has:\n\n{_table(form.texts, lines)}"


def _table(keys: Collection[str], lines: Mapping[str, Line]) -> str:
    if differing := set(keys) ^ lines.keys():
        raise ValueError(f"keys of the reader and lines here differ: {', '.join(sorted(differing))}")
    return table(("key", "value", "default", "meaning"), [(f"`{key}`", *lines[key]) for key in keys])
