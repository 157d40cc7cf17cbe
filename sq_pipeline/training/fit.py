"""Which settings make a training fit a machine's memory, and what would, where none does.

Here: the choice and its words. Not here: what a training needs (`training.memory`), what a machine has (`engines`).
"""

from collections.abc import Iterator

from sq_pipeline.base_models.base_models import BaseModel, Dtype, Flux1Model
from sq_pipeline.common.errors import Fault, TrainingError
from sq_pipeline.training.buckets import training_resolution
from sq_pipeline.training.memory import MemoryNeed, TrainingSettings, encoded_bytes_of, image_tokens_of, training_need
from sq_pipeline.training.recipe import Recipe

# in the order of preference: time is given before precision
_PREFERRED = (
    TrainingSettings(16, False),
    TrainingSettings(16, True),
    TrainingSettings(8, True),
    TrainingSettings(4, True),
)
_SMALLER_SIDES_PX = (768, 640, 512, 384, 256)
_SMALL_RANK = 4
_WORTH_SAYING = 0.99  # of the need now
_GIB = 2**30


def describe_gib(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count / _GIB:.1f} GiB"


def tokens_of_recipe(recipe: Recipe, base_model: Flux1Model) -> int:
    """Image tokens of the recipe's largest picture: no aspect bucket is larger than its resolution."""
    size = training_resolution(recipe, base_model.training_size)
    return image_tokens_of(size.width_px, size.height_px)


def settings_for(
    recipe: Recipe, base_model: BaseModel, memory_bytes: int, dtype: Dtype, *, pairs: int, captions: int
) -> TrainingSettings:
    """The settings of a training of so many pictures with so many different captions on a machine with that memory,
    which computes in `dtype`.

    Raises TrainingError where nothing fits, see `choose_settings`; that is known of FLUX.1 alone.
    """
    if not isinstance(base_model, Flux1Model):
        return _settings_by_size(recipe, memory_bytes // (2 if dtype == "float32" else 1))
    tokens = tokens_of_recipe(recipe, base_model)
    encoded = encoded_bytes_of(base_model, recipe, tokens, pairs, captions, dtype=dtype)
    return choose_settings(recipe, base_model, tokens, memory_bytes, dtype=dtype, encoded_bytes=encoded)


def _settings_by_size(recipe: Recipe, memory_bytes: int) -> TrainingSettings:
    """For Z-Image and FLUX.2, in bfloat16: mflux-train wants all of a model in memory, text encoder and VAE too."""
    fitting = 16 if memory_bytes >= 48 * _GIB else 8 if memory_bytes >= 24 * _GIB else 4
    bits = fitting if recipe.base_bits == "auto" else recipe.base_bits
    saves = memory_bytes < 64 * _GIB if recipe.gradient_checkpointing == "auto" else recipe.gradient_checkpointing
    return TrainingSettings(bits, saves)


def choose_settings(
    recipe: Recipe, base_model: Flux1Model, tokens: int, memory_bytes: int, *, dtype: Dtype, encoded_bytes: int = 0
) -> TrainingSettings:
    """The first settings that fit `memory_bytes`: the base model whole, then with checkpointing, then 8 bits, 4 bits.

    `tokens` are the image tokens of the largest picture, `dtype` is what the machine computes in. What the recipe says
    is kept; `auto` is what is chosen. Raises TrainingError with a fault for each thing that would help, and what it
    would give.
    """
    if base_model.name == "tiny-flux" and recipe.base_bits not in ("auto", 16):
        problem = f"{recipe.base_bits} bits, and tiny-flux is trained in full precision only"
        raise TrainingError(Fault("lora.yaml", "base_bits", problem, "remove it, or write 16"))
    candidates = _candidates(recipe, base_model)
    for settings in candidates:
        need = training_need(base_model, recipe, tokens, settings, dtype=dtype, encoded_bytes=encoded_bytes)
        if need.total_bytes <= memory_bytes:
            return settings
    raise TrainingError(_faults(recipe, base_model, tokens, memory_bytes, dtype, encoded_bytes))


def _candidates(recipe: Recipe, base_model: Flux1Model) -> list[TrainingSettings]:
    """What the recipe leaves open, in the order of preference."""
    wanted_bits, wanted_checkpointing = recipe.base_bits, recipe.gradient_checkpointing
    if base_model.name == "tiny-flux":
        wanted_bits = 16
    if wanted_bits != "auto":
        options = [TrainingSettings(wanted_bits, is_checkpointed) for is_checkpointed in (False, True)]
    elif wanted_checkpointing == "auto":
        options = list(_PREFERRED)
    else:
        options = [TrainingSettings(bits, wanted_checkpointing) for bits in (16, 8, 4)]
    return [s for s in options if wanted_checkpointing in ("auto", s.gradient_checkpointing)]


def least_need(
    recipe: Recipe, base_model: Flux1Model, tokens: int, *, dtype: Dtype, encoded_bytes: int = 0
) -> MemoryNeed:
    """The need with the most sparing settings that the recipe allows."""
    needs = (
        training_need(base_model, recipe, tokens, settings, dtype=dtype, encoded_bytes=encoded_bytes)
        for settings in _candidates(recipe, base_model)
    )
    return min(needs, key=lambda need: need.total_bytes)


def _faults(
    recipe: Recipe, base_model: Flux1Model, tokens: int, memory_bytes: int, dtype: Dtype, encoded_bytes: int
) -> Iterator[Fault]:
    now = least_need(recipe, base_model, tokens, dtype=dtype, encoded_bytes=encoded_bytes)
    lacking = f"needs {describe_gib(now.total_bytes)} at least, and there are {describe_gib(memory_bytes)}"
    if now.encoders > memory_bytes:
        encoders = describe_gib(now.encoders)
        problem = (
            f"encoding pictures and captions for {base_model.name} takes {encoders} in {now.dtype}, and there are "
        )
        yield Fault("lora.yaml", "base_model", problem + describe_gib(memory_bytes), "train on a larger machine")
        return

    faults: list[Fault] = []
    for field, ways in _ways_out(recipe, base_model, tokens).items():
        needs = [
            (value, least_need(change, base_model, fewer, dtype=dtype, encoded_bytes=encoded_bytes))
            for value, change, fewer in ways
        ]
        fitting = [(value, need) for value, need in needs if need.total_bytes <= memory_bytes]
        value, need = (fitting or needs[-1:])[0]
        if need.total_bytes < _WORTH_SAYING * now.total_bytes:
            hint = f"{field}: {value} would need {describe_gib(need.total_bytes)}"
            faults.append(Fault("lora.yaml", field, lacking, hint))
    yield from faults or [Fault("lora.yaml", "base_model", lacking, "train on a larger machine")]


def _ways_out(recipe: Recipe, base_model: Flux1Model, tokens: int) -> dict[str, list[tuple[str, Recipe, int]]]:
    """What a person may change, by field: its values from the mildest on, the recipe with each, its image tokens."""
    changes: dict[str, list[tuple[str, Recipe, int]]] = {}

    def add(field: str, text: str, value: object, fewer: int = tokens) -> None:
        changes.setdefault(field, []).append((text, recipe.model_copy(update={field: value}), fewer))

    if recipe.base_bits != "auto" and base_model.name != "tiny-flux":
        for bits in (8, 4):
            if bits < recipe.base_bits:
                add("base_bits", str(bits), bits)
    if recipe.gradient_checkpointing is False:
        add("gradient_checkpointing", "true", True)
    if recipe.batch_size > 1:
        add("batch_size", "1", 1)
    if recipe.rank > _SMALL_RANK:
        add("rank", str(_SMALL_RANK), _SMALL_RANK)
    if recipe.draws_samples:
        add("sample_interval", str(recipe.iterations + 1), recipe.iterations + 1)
    for side in _SMALLER_SIDES_PX:
        if image_tokens_of(side, side) < tokens:
            add("resolution", f"[{side}, {side}]", (side, side), image_tokens_of(side, side))
    return changes
