"""The asset `chosen_checkpoint`: the checkpoint of a training that goes on to the remap, the proposed or a person's.

The scores are a record of their own, so that another choice renders nothing again. Not here: scoring
(`checkpoint_scoring`), which checkpoints there are (`kept_checkpoints`), a person's choosing (`choose_checkpoint`).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sq_pipeline.common.errors import ContentError, DatasetError, Fault, SelectionError
from sq_pipeline.common.fingerprints import canonical_json, fingerprint
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, Making, PersonsWord, Steps, made
from sq_pipeline.pipeline.adapters.checkpoints.checkpoint_report import draw_grid, write_only_one, write_table
from sq_pipeline.pipeline.adapters.checkpoints.checkpoint_scoring import ScoringRequest, score_checkpoints
from sq_pipeline.pipeline.adapters.checkpoints.kept_checkpoints import (
    KeptCheckpoint,
    choice_for,
    enter_choice,
    kept_checkpoints,
    outdated_choice,
)
from sq_pipeline.pipeline.adapters.checkpoints.scores_of_before import scores_before
from sq_pipeline.pipeline.adapters.facts import (
    asset_name,
    base_model_for,
    keymap_of,
    recipe_of,
    source_keymap_of,
    verify_prompts_of,
)
from sq_pipeline.pipeline.adapters.gate_settings import limits_of, own_reference, shipped_limits_of
from sq_pipeline.pipeline.adapters.training_dataset import checked_pairs, insist_unchanged
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import Inputs, Scored, checkpoint_scores_inputs, chosen_checkpoint_inputs
from sq_pipeline.pipeline.kept_pictures import KeptPictures
from sq_pipeline.pipeline.shown import ShownPicture, ShownText
from sq_pipeline.pipeline.store import Record, StoredObject
from sq_pipeline.training.checkpoint_scores import CheckpointScore, ScoreLimits, overtrained, propose
from sq_pipeline.training.ports import TrainingExample
from sq_pipeline.verification.gate_limits import Limits
from sq_pipeline.verification.prompts import verify_prompt_values

SCORES = "checkpoint_scores"  # the kind of record


def _inputs(context: Context, adapter: Adapter, steps: Steps) -> Inputs:
    """What was chosen by the scores of before stands, until anything of it changes: an upgrade scores nothing again."""
    training = made(steps, "mlx_adapter")
    kept = kept_checkpoints(context, training)
    if len(kept) == 1:
        return chosen_checkpoint_inputs(training.data_version, None, {}, None)
    choice = choice_for(context, adapter, training, kept)
    iteration = choice.iteration if choice else None
    scored = _scored(context, adapter, steps, kept)
    before = scores_before(context, adapter, scored)
    before = chosen_checkpoint_inputs(training.data_version, before.scores, before.limits, iteration)
    current = context.store.read_current_fingerprint(asset_name(adapter, "chosen_checkpoint"))
    limits = _score_limits(context, limits_of(context, adapter))
    is_asked = recipe_of(context, adapter).trigger_required
    is_asked |= limits != _score_limits(context, shipped_limits_of(context, adapter))
    if current == fingerprint(before) and not is_asked:  # of what the scores of before could not be asked
        return before
    scores = _scores_inputs(context, adapter, scored)
    return chosen_checkpoint_inputs(training.data_version, scores, asdict(limits), iteration)


def _score_limits(context: Context, limits: Limits) -> ScoreLimits:
    """What a score must reach: what the verification will ask."""
    return ScoreLimits(
        change_min=1 - context.settings.thresholds.ssim_changed_max,
        subject_kept_min=limits.of("subject_kept").limit,
        style_share_min=limits.of("style_share").limit,
        style_direction_min=limits.of("style_direction").limit,
        style_distance_max=limits.of("style_distance").limit,
        trigger_effect_min=limits.of("trigger_effect").limit,
    )


def _scored(context: Context, adapter: Adapter, steps: Steps, kept: Mapping[int, KeptCheckpoint]) -> Scored:
    """What the scores of an adapter's kept checkpoints depend on."""
    base_model, reading = base_model_for(context, adapter), source_keymap_of(context, adapter)
    return Scored(
        kept={iteration: checkpoint.data_version for iteration, checkpoint in kept.items()},
        dataset_version=made(steps, "training_dataset").data_version,
        recipe=recipe_of(context, adapter),
        keymap=None if reading is None else keymap_of(context),
        reading=reading,
        trigger=adapter.trigger,
        base_model=base_model,
        weights_hash=context.weights_hash(base_model),
        renderer_versions=context.engines.renderer_versions,
        meter_versions=context.trainer_versions("mlx"),
    )


def _scores_inputs(context: Context, adapter: Adapter, scored: Scored) -> Inputs:
    prompts = verify_prompt_values(verify_prompts_of(context, adapter))
    return checkpoint_scores_inputs(scored, prompts, adapter.tier)


def _enter(context: Context, adapter: Adapter, steps: Steps, word: PersonsWord) -> None:
    """Write down a person's choice; raises SelectionError."""
    training = steps["mlx_adapter"].record
    if training is None:
        reason = "; ".join(steps["mlx_adapter"].reasons)
        raise SelectionError(Fault(steps["mlx_adapter"].asset, "", f"is not trained yet: {reason}", "materialize it"))
    if word.iteration is None:
        kept = " or ".join(map(str, kept_checkpoints(context, training)))
        raise SelectionError(Fault("", "iteration", "say which checkpoint", f"choose {kept}"))
    enter_choice(context, adapter, training, word.iteration, word.by or "")


def _make(making: Making) -> Record:
    """Choose; score before that, unless the store has the scores. Of one checkpoint nothing is scored."""
    training = making.upstream("mlx_adapter")
    kept = kept_checkpoints(making.context, training)
    if len(kept) == 1:
        return _only_one(making, next(iter(kept.values())))
    return _choose(making, training, kept, take_scores(making, kept))


def _only_one(making: Making, checkpoint: KeptCheckpoint) -> Record:
    report = write_only_one(making.adapter.key, checkpoint.iteration)
    table = making.context.store.put_bytes(report.encode(), ".md")
    info = {"iteration": checkpoint.iteration, "kept": [checkpoint.iteration], "is_scored": False}
    return _record(making, checkpoint, {"table": table}, info)


def _choose(making: Making, training: Record, kept: Mapping[int, KeptCheckpoint], scores: Record) -> Record:
    context, adapter = making.context, making.adapter
    limits = _score_limits(context, limits_of(context, adapter))
    rows = [CheckpointScore.from_json(score) for score in scores.info["scores"]]
    proposal = propose(rows, scores.info["base_loss"], limits)
    choice = choice_for(context, adapter, training, kept)
    chosen = None if choice is None else (choice.iteration, choice.by)
    outdated = outdated_choice(context, adapter, training)
    note = "" if outdated is None else outdated.problem
    table = write_table(adapter.key, scores.info, scores.inputs["verify_prompts"], proposal, limits, chosen, note)
    objects = {
        "table": context.store.put_bytes(table.encode(), ".md"),
        "grid": scores.objects["grid"],
        "scores": scores.objects["scores"],
    }
    checkpoint = kept[proposal.iteration if choice is None else choice.iteration]
    info = {
        "iteration": checkpoint.iteration,
        "kept": list(kept),
        "is_scored": True,
        "proposed": proposal.iteration,
        "reason": proposal.reason,
        "overtrained": sorted(overtrained(rows, limits)),
        **({} if choice is None else {"chosen_by": choice.by}),
    }
    return _record(making, checkpoint, objects, info)


def _record(
    making: Making, checkpoint: KeptCheckpoint, objects: Mapping[str, StoredObject], info: Mapping[str, Any]
) -> Record:
    return making.step.as_record(checkpoint.data_version, {"adapter": checkpoint.stored, **objects}, info)


def take_scores(making: Making, kept: Mapping[int, KeptCheckpoint]) -> Record:
    """The scores of a training's kept checkpoints from the store, or made now."""
    context, adapter = making.context, making.adapter
    inputs = _scores_inputs(context, adapter, _scored(context, adapter, making.steps, kept))
    known = context.store.read_record(SCORES, fingerprint(inputs))
    if known is not None:
        return known
    reading = source_keymap_of(context, adapter)
    request = ScoringRequest(
        checkpoints={iteration: context.adapter_file(checkpoint.stored) for iteration, checkpoint in kept.items()},
        prompts=verify_prompts_of(context, adapter),
        trigger=adapter.trigger,
        base_model=base_model_for(context, adapter),
        keymap=None if reading is None else keymap_of(context),
        reading=reading,
        examples=_examples(making),
        recipe=recipe_of(context, adapter),
        tier=adapter.tier,
        reference=own_reference(context, adapter, making.steps),
    )
    scores = score_checkpoints(
        request,
        KeptPictures(context, context.engines.renderer(), keeps_styled=True),
        context.engines.validation_meter(),
        lambda done: making.log.debug("picture %d", done),
    )
    insist_unchanged(context, adapter, making.steps["training_dataset"])
    figures = _finite(scores.as_json())
    info = {**figures, "wall_s": round(scores.wall_s, 2), "chip": context.engines.chip}
    record = Record(
        kind=SCORES,
        fingerprint=fingerprint(inputs),
        inputs=inputs,
        data_version=fingerprint({"scores": figures["scores"], "base_loss": figures["base_loss"]}),
        objects={
            "grid": context.store.put_bytes(draw_grid(scores), ".png"),
            "scores": context.store.put_bytes(canonical_json(figures).encode(), ".json"),
        },
        info=info,
    )
    context.store.write_record(record)
    return record


def pictures_at_most(context: Context, adapter: Adapter) -> int:
    """How many pictures a choice among its checkpoints renders with them; 0 where there is none, or nobody can tell."""
    if adapter.dataset is None:
        return 0
    try:
        recipe, prompts = recipe_of(context, adapter), verify_prompts_of(context, adapter).prompts
    except (ContentError, DatasetError):
        return 0  # its step says why
    count = len(recipe.kept_iterations())
    sets = 2 if recipe.trigger_required and adapter.trigger is not None else 1
    return count * len(prompts) * sets if count > 1 else 0


def _examples(making: Making) -> tuple[TrainingExample, ...]:
    pairs = checked_pairs(making.context, making.adapter, making.upstream("training_dataset"))
    return tuple(TrainingExample(path, caption) for path, caption in pairs)


def _finite(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures with None in place of a loss that is no number: a diverged checkpoint has none to go by."""

    def number(value: float | None) -> float | None:
        return value if value is None or math.isfinite(value) else None

    scores = [{**score, "validation_loss": number(score["validation_loss"])} for score in figures["scores"]]
    return {**figures, "scores": scores, "base_loss": number(figures["base_loss"])}


ASSET = AdapterAsset(
    name="chosen_checkpoint",
    upstream=("mlx_adapter", "training_dataset"),  # the second holds the pairs that it is scored on
    sources=("keymaps", "verify_prompts", "base_model", "gate", "sq_yaml"),
    inputs=_inputs,
    make=_make,
    description=lambda adapter: (
        f"The checkpoint of {adapter.name}'s training that is used: proposed with the reason, or your choice. To "
        "choose another, launch it with `iteration` and `by`."
    ),
    shows=(ShownText("table"), ShownPicture("grid", "checkpoints", 960)),
    tags=("choice",),
    hears=("iteration", "by"),
    enter=_enter,
    is_for_trained=True,
    uses_gpu=True,
)
