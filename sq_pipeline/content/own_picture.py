"""What an entry says of its own picture alone: seed, size, steps, negative prompt, and whether it is a draft.

Here: reading these keys. Not here: the entries (`subject_files`), what pictures are made from (`pipeline.inputs`).
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from sq_pipeline.base_models.picture_limits import AREA_MAX_PX, SIDE_MAX_PX, SIDE_MIN_PX, SIDE_STEP_PX, STEPS_MAX
from sq_pipeline.common.strict_yaml import PlusInt, is_list, type_name, wrong
from sq_pipeline.content.pack_parts import PackPart, as_text
from sq_pipeline.content.records import SEEDS

_SHIFT = re.compile(r"\+[0-9]{1,10}")


def _read_seed(value: object) -> str:
    """`7` or `+3`, as one text for each meaning."""
    if isinstance(value, str) and _SHIFT.fullmatch(value.strip()):
        value = PlusInt(value.strip())
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < SEEDS:
        return f"+{int(value)}" if isinstance(value, PlusInt) else str(value)
    told = f"is {value}" if isinstance(value, (int, float)) and not isinstance(value, bool) else f"is {_shown(value)}"
    raise wrong(
        f"{told}, not a seed", f"write a whole number from 0 to {SEEDS - 1}, or `+1` for the next after the one it has"
    )


def _read_size(value: object) -> tuple[int, int]:
    hint = (
        f"write `[width, height]`: whole numbers from {SIDE_MIN_PX} to {SIDE_MAX_PX} in steps of {SIDE_STEP_PX}, such "
        "as `[1024, 768]`"
    )
    if not is_list(value) or len(value) != 2:
        raise wrong(f"is {_shown(value)}, not two numbers", hint)
    for side in value:
        is_number = isinstance(side, int) and not isinstance(side, bool)
        if not is_number or not SIDE_MIN_PX <= side <= SIDE_MAX_PX or side % SIDE_STEP_PX:
            raise wrong(f"has a side of {side!r}", hint)
    width, height = value
    if width * height > AREA_MAX_PX:
        raise wrong(f"is {width * height} pixels in all", f"at most {AREA_MAX_PX} are rendered: write smaller sides")
    return int(width), int(height)


def _read_steps(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= STEPS_MAX:
        return int(value)
    raise wrong(f"is {_shown(value)}, not a number of steps", f"write a whole number from 1 to {STEPS_MAX}")


def _read_negative(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    raise wrong(f"is {type_name(value)}: {value!r}, not a text", as_text(value))


def _read_draft(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise wrong(f"is {_shown(value)}, not true or false", "write `draft: true`, or remove it")


def _shown(value: object) -> str:
    return f"{type_name(value)}: {value!r}"


class OwnPicture(PackPart):
    """The keys of one picture, in every tier."""

    seed: Annotated[str, BeforeValidator(_read_seed, json_schema_input_type=int | str)] = Field(
        default="",
        description="The seed of this picture: a number, or `+1`, `+2`, … for others after the one that it has.",
    )
    size_px: Annotated[tuple[int, int], BeforeValidator(_read_size, json_schema_input_type=tuple[int, int])] | None = (
        Field(default=None, description="`[width, height]` of this picture, in place of its tier's.")
    )
    num_inference_steps: Annotated[int, BeforeValidator(_read_steps, json_schema_input_type=int)] | None = Field(
        default=None, description="The steps of this picture, in place of its tier's."
    )
    negative_prompt: Annotated[str, BeforeValidator(_read_negative, json_schema_input_type=str)] | None = Field(
        default=None, description="In place of the style's, for this picture. Only some base models read one."
    )
    draft: Annotated[bool, BeforeValidator(_read_draft, json_schema_input_type=bool)] = Field(
        default=False, description="`true`: no picture is rendered, and one that the game has goes to the archive."
    )
    note: Any = Field(default=None, description="For people.")
