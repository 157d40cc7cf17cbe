"""Tables of facts that the code holds: tiers, base models, the memory of a training, the render server's protocol."""

from collections.abc import Mapping
from typing import get_args

from sq_pipeline.base_models.base_models import (
    BASE_MODELS,
    DEFAULT_BASE_MODEL,
    FLUX1_MODELS,
    BaseModel,
    Dtype,
    training_base_of,
)
from sq_pipeline.common.tiers import TIER_NAMES, TIERS, Tier
from sq_pipeline.content.prompt_checks import PROMPT_CHECKS
from sq_pipeline.content.subject_files import SUBJECT_FILES
from sq_pipeline.serve.protocol import Code
from sq_pipeline.training.memory import BaseBits, TrainingSettings, image_tokens_of, training_need
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.docs.blocks import table
from sq_pipeline_tests.docs.pack_keys import entries_of

_ERRORS: Mapping[Code, str] = {
    "too_large": "The line is over 1 MiB.",
    "bad_json": "The line is no JSON, holds NaN, or has a name twice.",
    "not_an_object": "The line is JSON, but no object.",
    "bad_id": "There is no id, or it is no text and no integer.",
    "duplicate_id": "A call with this id is not answered yet.",
    "unknown_method": "There is no such method.",
    "bad_params": "A wrong type, an unknown name, or a number out of range.",
    "singular_lora": "`lora_path` or `lora_scale` instead of the lists.",
    "lengths_differ": "`lora_paths` and `lora_scales` have different lengths.",
    "unknown_tier": "There is no such tier.",
    "unknown_variant": "There is no such base model.",
    "bad_size": "`width` or `height` is no multiple of 16, or too large.",
    "path_outside": "An adapter is outside the allowed folders.",
    "adapter_missing": "There is no such file.",
    "adapter_no_match": "The file has no key that mflux knows.",
    "adapter_not_applied": "The adapter was not applied whole.",
    "prompt_too_long": "The base model cannot read so long a prompt.",
    "base_model_missing": "The base model's files are not there.",
    "weights_differ": "The base model has other weights than `base_weights` says.",
    "queue_full": "2,000 renders of a client wait already.",
    "unknown_request": "There is nothing of that id to cancel.",
    "cancelled": "The render was cancelled.",
    "shutting_down": "The server is ending.",
    "render_failed": "The picture could not be made or kept, for instance on a full disk.",
    "internal": "A bug of ours.",
}


def prompt_check_table() -> str:
    """What is looked for in prompts, and why."""
    rows = [
        (f"`{name}`", "yes" if check.in_plan else "", check.reason, check.hint) for name, check in PROMPT_CHECKS.items()
    ]
    return table(("check", "in `plan`", "why", "what to do"), rows)


def tier_table() -> str:
    """What each tier shows, and where everything of it is."""
    tiny, others = BASE_MODELS[DEFAULT_BASE_MODEL], _one_size(BASE_MODELS)
    head = ("tier", "what it shows", "suffix", "pictures", "size in pixels", f"with {DEFAULT_BASE_MODEL}")
    return table(head, [_tier_row(tier, others[tier], _size(tiny, tier)) for tier in TIERS])


def _tier_row(tier: Tier, size: str, tiny_size: str) -> tuple[str, ...]:
    names = TIER_NAMES[tier]
    shows = f"`{SUBJECT_FILES[tier].name}`: `{entries_of(tier)[0]}`"
    return f"`{tier}`", shows, f"`{names.style_key}`", f"`images/{names.folder}/`", size, tiny_size


def _size(model: BaseModel, tier: Tier) -> str:
    return f"{model.sizes[tier].width_px} × {model.sizes[tier].height_px}"


def _one_size(models: Mapping[str, BaseModel]) -> dict[Tier, str]:
    """The sizes of every base model but the default one, which must all be the same."""
    large = [model for name, model in models.items() if name != DEFAULT_BASE_MODEL]
    sizes: dict[Tier, set[str]] = {tier: {_size(model, tier) for model in large} for tier in TIERS}
    if any(len(found) != 1 for found in sizes.values()):
        raise ValueError("base models differ in their sizes: the table needs a column for each")
    return {tier: found.pop() for tier, found in sizes.items()}


def base_model_table() -> str:
    """Every base model."""
    head = (
        "base model",
        "other names",
        "steps",
        "guidance",
        "negative prompt",
        "adapters are trained over",
        "how to get it",
    )
    return table(head, [_base_model_row(model) for model in BASE_MODELS.values()])


def _base_model_row(model: BaseModel) -> tuple[str, ...]:
    base = training_base_of(model)
    return (
        f"`{model.name}`",
        ", ".join(f"`{alias}`" for alias in model.aliases),
        str(model.num_inference_steps),
        "none" if model.guidance is None else f"{model.guidance:g}",
        "read" if model.reads_negative_prompt else "not read",
        "itself" if base is model else f"`{base.name}`",
        model.how_to_get,
    )


def memory_table() -> str:
    """What a training of FLUX.1-dev needs, by dtype, size, rank, checkpointing and bits of the base model."""
    bits: tuple[BaseBits, ...] = get_args(BaseBits)
    dtypes: tuple[Dtype, ...] = ("bfloat16", "float32")
    head = ("computed in", "size", "rank", "checkpointing", *("whole" if b == 16 else f"{b} bits" for b in bits))
    rows = [
        (
            dtype,
            f"{side}²",
            str(rank),
            "yes" if is_on else "no",
            *(_gib(side, rank, TrainingSettings(b, is_on), dtype) for b in bits),
        )
        for dtype in dtypes
        for side in (512, 768)
        for rank in (8, 16)
        for is_on in (False, True)
    ]
    return table(head, rows)


def _gib(side: int, rank: int, settings: TrainingSettings, dtype: Dtype) -> str:
    tokens = image_tokens_of(side, side)
    need = training_need(FLUX1_MODELS["flux1-dev"], Recipe(rank=rank), tokens, settings, dtype=dtype)
    return f"{need.training_bytes / 2**30:.1f}"


def error_table() -> str:
    """What the render server answers where something is wrong."""
    codes: tuple[Code, ...] = get_args(Code)
    if differing := set(codes) ^ _ERRORS.keys():
        raise ValueError(f"codes of the protocol and lines here differ: {', '.join(sorted(differing))}")
    return table(("code", "of"), [(f"`{code}`", _ERRORS[code]) for code in codes])
