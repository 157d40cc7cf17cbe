"""Making `chosen_checkpoint`, the checkpoint of a training that goes on to the remap: the proposed, or a person's.

The scores are a record of their own, so that another choice renders nothing again. Not here: scoring
(`checkpoint_scores`), which checkpoints there are (`kept_checkpoints`).
"""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sq_pipeline.common.errors import Fault, SelectionError
from sq_pipeline.common.fingerprints import canonical_json, fingerprint
from sq_pipeline.common.tiers import shown_tier
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_status import (
    adapter_steps_of,
    asset_name,
    base_model_for,
    checkpoint_scores_inputs_of,
    keymap_of,
    ready,
    recipe_of,
    source_keymap_of,
    verify_prompts_of,
)
from sq_pipeline.pipeline.adapters.checkpoint_report import draw_grid, write_only_one, write_table
from sq_pipeline.pipeline.adapters.checkpoint_scoring import ScoringRequest, score_checkpoints
from sq_pipeline.pipeline.adapters.kept_checkpoints import (
    KeptCheckpoint,
    choice_for,
    kept_checkpoints,
    not_kept,
    outdated_choice,
    path_of,
    score_limits,
    scored_prompts,
)
from sq_pipeline.pipeline.adapters.training_dataset import insist_unchanged
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.store import Record, StoredObject
from sq_pipeline.training.checkpoint_choices import CheckpointChoice, read_choices, write_choices
from sq_pipeline.training.checkpoint_scores import SCORED_SCALES, CheckpointScore, overtrained, propose
from sq_pipeline.training.ports import TrainingExample

SCORES = "checkpoint_scores"  # the kind of record


def make_chosen_checkpoint(context: Context, adapter: Adapter, log: logging.Logger) -> tuple[Record, bool]:
    """Choose, unless the store has it; score before that, unless the store has the scores.

    Where one checkpoint was kept there is nothing to choose, and nothing is scored.
    """
    step, states = ready(context, adapter, "chosen_checkpoint")
    if step.record is not None:
        return context.reuse(step, step.record), False
    training = states["mlx_adapter"].record
    assert training is not None
    kept = kept_checkpoints(context, training)
    if len(kept) == 1:
        return context.keep(step, _only_one(context, adapter, step, next(iter(kept.values())))), True
    scores = _take_scores(context, adapter, states, kept, log)
    record = _choose(context, adapter, step, training, kept, scores)
    return context.keep(step, record), True


def _only_one(context: Context, adapter: Adapter, step: Step, checkpoint: KeptCheckpoint) -> Record:
    report = write_only_one(adapter.key, checkpoint.iteration)
    table = context.store.put_bytes(report.encode(), ".md")
    info = {"iteration": checkpoint.iteration, "kept": [checkpoint.iteration], "is_scored": False}
    return _record(step, checkpoint, {"table": table}, info)


def _choose(
    context: Context,
    adapter: Adapter,
    step: Step,
    training: Record,
    kept: Mapping[int, KeptCheckpoint],
    scores: Record,
) -> Record:
    limits = score_limits(context.settings.thresholds)
    rows = [CheckpointScore(**score) for score in scores.info["scores"]]
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
        "proposed_scale": proposal.lora_scale,
        "reason": proposal.reason,
        "overtrained": sorted(overtrained(rows, limits)),
        **({} if choice is None else {"chosen_by": choice.by}),
    }
    return _record(step, checkpoint, objects, info)


def _record(step: Step, checkpoint: KeptCheckpoint, objects: dict[str, StoredObject], info: dict[str, Any]) -> Record:
    return Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=checkpoint.data_version,
        objects={"adapter": checkpoint.stored, **objects},
        info=info,
    )


def _take_scores(
    context: Context,
    adapter: Adapter,
    states: Mapping[str, Step],
    kept: Mapping[int, KeptCheckpoint],
    log: logging.Logger,
) -> Record:
    """The scores from the store, or made now."""
    inputs = checkpoint_scores_inputs_of(context, adapter, states)
    known = context.store.read_record(SCORES, fingerprint(inputs))
    if known is not None:
        return known
    reading = source_keymap_of(context, adapter)
    request = ScoringRequest(
        checkpoints={iteration: path_of(context, checkpoint) for iteration, checkpoint in kept.items()},
        lora_scales=SCORED_SCALES,
        prompts=scored_prompts(verify_prompts_of(context, adapter)),
        trigger=adapter.trigger,
        base_model=base_model_for(context, adapter),
        keymap=None if reading is None else keymap_of(context),
        reading=reading,
        examples=_examples(context, adapter, states["training_dataset"]),
        recipe=recipe_of(context, adapter),
        tier=shown_tier(adapter.tier),
    )
    scores = score_checkpoints(
        request,
        context.engines.renderer(),
        context.engines.held_out_meter(),
        lambda done, total: log.debug("picture %d of %d", done, total),
    )
    insist_unchanged(context, adapter, states["training_dataset"])
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


def _examples(context: Context, adapter: Adapter, dataset: Step) -> tuple[TrainingExample, ...]:
    """The pairs as they were checked, from the dataset's own index: no picture is decoded for it."""
    assert dataset.record is not None
    folder = context.data.datasets_root / str(adapter.dataset)
    index: Path = context.store.path_of(dataset.record.objects["index"])
    pairs = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
    return tuple(TrainingExample(folder / pair["image"], pair["prompt"]) for pair in pairs)


def _finite(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures with None in place of a loss that is no number: a diverged checkpoint has none to go by."""

    def number(value: float | None) -> float | None:
        return value if value is None or math.isfinite(value) else None

    scores = [{**score, "held_out_loss": number(score["held_out_loss"])} for score in figures["scores"]]
    return {**figures, "scores": scores, "base_loss": number(figures["base_loss"])}


def choose_checkpoint(context: Context, adapter: Adapter, iteration: int, by: str) -> dict[str, Any]:
    """Enter a person's choice; it goes on from there with the next run, and renders no scores again.

    Raises SelectionError for an adapter that is not trained, an iteration that was not kept, or where nobody is named.
    """
    training = _training_of(context, adapter)
    kept = kept_checkpoints(context, training)
    faults: list[Fault] = []
    if iteration not in kept:
        faults.append(not_kept("", "--iteration", iteration, kept))
    if not by.strip():
        faults.append(Fault("", "--by", "nobody is named", "say who chooses it"))
    if faults:
        raise SelectionError(faults)
    choices = read_choices(context.data, adapter.genre)
    choices[adapter.name] = CheckpointChoice(iteration=iteration, by=by.strip(), training=training.data_version)
    write_choices(context.data, adapter.genre, choices)
    return {**_summary(context, adapter, kept), "iteration": iteration, "by": by.strip()}


def choose_proposed(context: Context, adapter: Adapter) -> dict[str, Any]:
    """Drop a person's choice, if there is one: the proposal holds again. Raises SelectionError, as above."""
    kept = kept_checkpoints(context, _training_of(context, adapter))
    choices = read_choices(context.data, adapter.genre)
    if choices.pop(adapter.name, None) is not None:
        write_choices(context.data, adapter.genre, choices)
    summary = _summary(context, adapter, kept)
    return {**summary, "iteration": summary["proposed"], "by": None}


def _training_of(context: Context, adapter: Adapter) -> Record:
    if adapter.dataset is None:
        raise SelectionError(Fault(adapter.key, "", "is not trained here, so it has no checkpoints", ""))
    step = adapter_steps_of(context, adapter)["mlx_adapter"]
    if step.record is None:
        hint = "bring it up to date with `sq-pipeline run`"
        raise SelectionError(Fault(step.asset, "", f"is not trained yet: {'; '.join(step.reasons)}", hint))
    return step.record


def _summary(context: Context, adapter: Adapter, kept: Mapping[int, KeptCheckpoint]) -> dict[str, Any]:
    """What there is to choose among; `proposed` is None where it was not scored yet."""
    return {
        "adapter": adapter.key,
        "kept": list(kept),
        "proposed": _proposed(context, adapter, kept),
        "file": context.data.relative(context.data.checkpoint_choices(adapter.genre)),
    }


def _proposed(context: Context, adapter: Adapter, kept: Mapping[int, KeptCheckpoint]) -> int | None:
    if len(kept) == 1:
        return next(iter(kept))
    current = context.store.read_current(asset_name(adapter, "chosen_checkpoint"))
    record = context.store.read_record("chosen_checkpoint", current[0]) if current else None
    return None if record is None or record.info["kept"] != list(kept) else record.info.get("proposed")
