"""Which inputs each output is made from. The fingerprint of these decides whether it is made again.

Upstream outputs enter by their *data versions*, so an output that comes out identical stops the wave. Never here:
times, paths, names of people or adapters, metadata, comments. What changed between two sets of inputs: `explain`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.base_models.base_models import BaseModel, RenderSettings, SizePx
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.tiers import shown_tier
from sq_pipeline.content.prompts import Prompt
from sq_pipeline.pictures.ports import RenderRequest
from sq_pipeline.training.recipe import Recipe, trained_values

Inputs = dict[str, Any]


# Raised when our own code would make something else of the same inputs.
REMAP_REVISION = 2


VERIFY_REVISION = 3
_VERIFY_REVISION_BEFORE = 2  # which asked whether a picture changed, and not what to


RENDER_REVISION = 1


STACK_CHECK_REVISION = 1


SCORES_REVISION = 2
_SCORES_REVISION_BEFORE = 1  # which had measures and pictures of its own


PROPOSAL_REVISION = 2
_PROPOSAL_REVISION_BEFORE = 1


# Recipe fields that decide which pictures are held out, and how they are looked at.
_VALIDATED_ON = ("held_out_pairs", "resolution", "aspect_buckets", "guidance", "caption_styles")
# Those that decide what pictures with a checkpoint are held against.
_LOOKED_AT_AS = ("kind", "trigger_required", "background")


def mlx_adapter_inputs(
    dataset_version: str,
    recipe: Recipe,
    base_model: BaseModel,
    weights_hash: str,
    trainer_versions: Mapping[str, str],
) -> Inputs:
    """A trained adapter: the pairs, how they are trained on, over what, by what."""
    return {
        "dataset": dataset_version,
        **{f"recipe.{key}": value for key, value in trained_values(recipe).items()},
        "base_model": base_model.name,
        "base_weights": weights_hash,
        "training_size_px": [base_model.training_size.width_px, base_model.training_size.height_px],
        **{f"trainer.{name}": version for name, version in trainer_versions.items()},
    }


def mflux_adapter_inputs(
    source_version: str,
    keymap: Keymap | None,
    base_model: str,
    reading: Keymap | None = None,
    strength: str = "",
) -> Inputs:
    """A remapped adapter, with the rules themselves: those it is read by, and those it is written by.

    Both are None where a file is taken as it is. `strength`: the scales that are said outside of its tensors, which
    `source_version` does not know; empty for none.
    """
    stated = {"strength": strength} if strength else {}
    return {"source": source_version, **_remapping(keymap, reading), "base_model": base_model, **stated}


def _remapping(keymap: Keymap | None, reading: Keymap | None) -> Inputs:
    values = {} if keymap is None else keymap.meaning()
    rules = values.pop("rules", None)
    return {
        "keymap": rules,
        **{f"keymap.{name}": value for name, value in values.items()},
        "read_by": None if reading is None else reading.meaning(),
        "remap": REMAP_REVISION,
    }


@dataclass(frozen=True)
class Scored:
    """What the scores of a training's kept checkpoints depend on, whatever is measured: `kept`, their data versions by
    iteration; what is held out; how they are read; over what, and by what, they are rendered and measured.
    """

    kept: Mapping[int, str]
    dataset_version: str
    recipe: Recipe
    keymap: Keymap | None
    reading: Keymap | None
    trigger: str | None
    base_model: BaseModel
    weights_hash: str
    renderer_versions: Mapping[str, str]
    meter_versions: Mapping[str, str]

    def inputs(self, prompts: Mapping[str, Any], settings: RenderSettings) -> Inputs:
        """With the prompts, and the settings that they are rendered with."""
        recipe = trained_values(self.recipe)
        return {
            "kept": {str(iteration): version for iteration, version in self.kept.items()},
            "dataset": self.dataset_version,
            **{f"recipe.{name}": value for name, value in recipe.items() if name in _VALIDATED_ON},
            **_remapping(self.keymap, self.reading),
            "trigger": self.trigger,
            "verify_prompts": dict(prompts),
            **{f"meter.{name}": version for name, version in self.meter_versions.items()},
            **_rendering(self.base_model, self.weights_hash, settings, self.renderer_versions),
        }


def checkpoint_scores_inputs(scored: Scored, prompts: Mapping[str, Any], tier: str) -> Inputs:
    """The scores of a training's kept checkpoints. Pictures are those that the verification of one looks at."""
    return {
        **scored.inputs(prompts, scored.base_model.settings_for(shown_tier(tier))),
        **{f"recipe.{name}": getattr(scored.recipe, name) for name in _LOOKED_AT_AS},
        "scores": SCORES_REVISION,
    }


def checkpoint_scores_inputs_before(scored: Scored, prompts: Mapping[str, Any], lora_scales: Sequence[float]) -> Inputs:
    """The same of before the gate's measures: pictures of one seed, of the size that is trained at, at several scales.

    What was chosen by them stands.
    """
    base_model = scored.base_model
    settings = replace(base_model.settings_for("landscape"), size=base_model.training_size)
    return {**scored.inputs(prompts, settings), "scales": list(lora_scales), "scores": _SCORES_REVISION_BEFORE}


def chosen_checkpoint_inputs(
    training_version: str, scores: Inputs | None, limits: Mapping[str, float], chosen_iteration: int | None
) -> Inputs:
    """The checkpoint that goes on to the remap. Without `scores` only one was kept, and nothing is to be chosen.

    `chosen_iteration` is a person's choice, None where the proposal holds; `limits` are what the proposal goes by.
    """
    if scores is None:
        return {"training": training_version}
    return {
        "training": training_version,
        **scores,
        **{f"limit.{name}": value for name, value in limits.items()},
        "choice": "the proposed one" if chosen_iteration is None else chosen_iteration,
        "proposal": PROPOSAL_REVISION if scores["scores"] == SCORES_REVISION else _PROPOSAL_REVISION_BEFORE,
    }


def verification_inputs(
    adapter_version: str,
    source_version: str,
    reading: Keymap | str,
    trigger: str | None,
    prompts: Mapping[str, Any],
    thresholds: Mapping[str, Any],
    base_model: BaseModel,
    weights_hash: str,
    tier: str,
    renderer_versions: Mapping[str, str],
    gate: Mapping[str, Any] | None,
) -> Inputs:
    """A verification: the adapter at its own strength (scale 1), whatever scale a world applies it with, with what
    the base model itself has for the tier.

    `source_version` is what it is held against, the adapter as it was before the remap, and `reading` the rules that
    say what that one means, or the name of a family's. `gate`: the pictures that the style is held against, and the
    limits; None for what the gate of before asked, which knew neither.
    """
    return {
        "adapter": adapter_version,
        "source": source_version,
        "read_by": reading if isinstance(reading, str) else reading.meaning(),
        "trigger": trigger,
        "verify_prompts": dict(prompts),
        **{f"threshold.{name}": value for name, value in thresholds.items()},
        "verify": _VERIFY_REVISION_BEFORE if gate is None else VERIFY_REVISION,
        **({} if gate is None else {f"gate.{name}": value for name, value in gate.items()}),
        **_rendering(base_model, weights_hash, base_model.settings_for(shown_tier(tier)), renderer_versions),
    }


def kept_picture_inputs(
    request: RenderRequest,
    base_model: BaseModel,
    weights_hash: str,
    renderer_versions: Mapping[str, str],
    stack: Sequence[tuple[str, float]] = (),
) -> Inputs:
    """A picture that a judgement looks at; the tier makes no difference to it. `stack`: hashes of adapters' files, with
    their scales.
    """
    size = SizePx(request.width_px, request.height_px)
    settings = RenderSettings(size, request.num_inference_steps, request.guidance)
    texts = {"negative_prompt": request.negative_prompt, "clip_prompt": request.clip_prompt}
    return {
        "positive_prompt": request.positive_prompt,
        **{name: text for name, text in texts.items() if text is not None},
        "seed": request.seed,
        "render": RENDER_REVISION,
        **({"files": [list(entry) for entry in stack]} if stack else {}),
        **_rendering(base_model, weights_hash, settings, renderer_versions),
    }


def promotion_inputs(adapter_version: str, verification_version: str) -> Inputs:
    """A promoted adapter: itself, and the verdicts it was promoted on."""
    return {"adapter": adapter_version, "verification": verification_version}


def stack_inputs(entries: Sequence[tuple[str, float]]) -> Inputs:
    """A stack: in order, each adapter's data version and the scale it is applied with."""
    return {"adapters": [[version, lora_scale] for version, lora_scale in entries]}


def checked_stack_inputs(
    entries: Sequence[tuple[str, float]],
    word: str,
    prompts: Sequence[Sequence[Any]],
    limits: Mapping[str, Any],
    base_model: BaseModel,
    weights_hash: str,
    tier: str,
    renderer_versions: Mapping[str, str],
) -> Inputs:
    """A stack that is looked at: itself, and what it is looked at with. `word`: the triggers before each of `prompts`,
    which have their seeds.
    """
    return {
        **stack_inputs(entries),
        "check": STACK_CHECK_REVISION,
        "check.triggers": word,
        "check.prompts": [list(prompt) for prompt in prompts],
        **{f"check.{name}": value for name, value in limits.items()},
        **_rendering(base_model, weights_hash, base_model.settings_for(shown_tier(tier)), renderer_versions),
    }


def unchecked_stack_inputs(entries: Sequence[tuple[str, float]]) -> Inputs:
    """A stack that nothing can be rendered with to look at it."""
    return {**stack_inputs(entries), "check": None}


def prompt_inputs(prompt: Prompt, base_model: BaseModel) -> Inputs:
    """What a picture is asked with; a negative prompt only where the model reads one."""
    inputs: Inputs = {"positive_prompt": prompt.positive_prompt, "seed": prompt.seed}
    if base_model.reads_negative_prompt:
        inputs["negative_prompt"] = prompt.negative_prompt
    return inputs


def picture_inputs(
    prompt: Prompt,
    entries: Sequence[tuple[str, float]],
    base_model: BaseModel,
    weights_hash: str,
    settings: RenderSettings,
    renderer_versions: Mapping[str, str],
) -> Inputs:
    """A picture: its prompt and seed, its stack, and everything it is rendered with."""
    return {
        **prompt_inputs(prompt, base_model),
        "stack": stack_inputs(entries)["adapters"],
        "render": RENDER_REVISION,
        **_rendering(base_model, weights_hash, settings, renderer_versions),
    }


def kept_inputs(file_sha256: str) -> Inputs:
    """A picture that a person keeps: that file, and nothing else."""
    return {"kept": file_sha256}


def world_key(
    source: str,
    entries: Sequence[tuple[str, float]],
    base_model: BaseModel,
    weights_hash: str,
    settings: RenderSettings,
    renderer_versions: Mapping[str, str],
) -> str:
    """A hash of all that the prompts and pictures of a world's tier can depend on; `source` is the world's own."""
    rendering = _rendering(base_model, weights_hash, settings, renderer_versions)
    negative = base_model.reads_negative_prompt
    inputs = {"source": source, **stack_inputs(entries), "negative": negative, "render": RENDER_REVISION, **rendering}
    return fingerprint(inputs)


def _rendering(
    base_model: BaseModel, weights_hash: str, settings: RenderSettings, renderer_versions: Mapping[str, str]
) -> Inputs:
    return {
        "base_model": base_model.name,
        "base_weights": weights_hash,
        **_settings(settings),
        **{f"renderer.{name}": version for name, version in renderer_versions.items()},
    }


def _settings(settings: RenderSettings) -> Inputs:
    """Size, steps and guidance always; of any later setting only what is not off, so that a new one changes nothing."""
    found: Inputs = {
        "size_px": [settings.size.width_px, settings.size.height_px],
        "num_inference_steps": settings.num_inference_steps,
        "guidance": settings.guidance,
    }
    first = ("size", *found)
    later = {field.name: getattr(settings, field.name) for field in fields(settings) if field.name not in first}
    off = {field.name: field.default for field in fields(settings)}
    return found | {name: value for name, value in later.items() if value != off[name]}


def dataset_inputs(folder: Mapping[str, Any]) -> Inputs:
    """A checked dataset: its files and its recipe, as `training.dataset.fingerprint_folder` gives them."""
    recipe: Mapping[str, Any] = folder["recipe"]
    return {"files": folder["files"], **{f"recipe.{key}": value for key, value in recipe.items()}}
