"""The scores of a training's checkpoints as something to look at: a table, a grid of pictures, a sentence."""

import io
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from sq_pipeline.pictures.sheets import Tile, draw_sheet
from sq_pipeline.pipeline.adapters.checkpoint_scoring import CheckpointScores, ScoredCell
from sq_pipeline.training.checkpoint_scores import CheckpointScore, Proposal, ScoreLimits, overtrained
from sq_pipeline.verification.report import cell as escape

_TILE_PX = 128


def draw_grid(scores: CheckpointScores) -> bytes:
    """A PNG: the base model's pictures, then a row a checkpoint: for each scale, rising, those of all prompts."""
    rows = [[Tile(pixels, "without") for pixels in scores.without_adapter]]
    for _, group in groupby(scores.cells, key=lambda cell: cell.score.iteration):
        rows.append([tile for cell in group for tile in _tiles(cell)])
    buffer = io.BytesIO()
    draw_sheet(rows, _TILE_PX).save(buffer, format="PNG")
    return buffer.getvalue()


def _tiles(cell: ScoredCell) -> list[Tile]:
    score = cell.score
    label = f"{score.iteration} at {score.lora_scale:g}"
    apart = "" if score.separation is None else f"apart {score.separation:.2f}"
    return [Tile(pixels, (label, apart)[number] if number < 2 else "") for number, pixels in enumerate(cell.pictures)]


def write_table(
    name: str,
    scores: Mapping[str, Any],
    prompts: Mapping[str, Any],
    proposal: Proposal,
    limits: ScoreLimits,
    chosen: tuple[int, str] | None,
    note: str = "",
) -> str:
    """The scores as Markdown, the proposal with its reason, and who chose another (iteration, name).

    `scores` is `CheckpointScores.as_json()`; `note`: what else a person should know of the choice.
    """
    rows = [CheckpointScore.from_json(score) for score in scores["scores"]]
    taken = overtrained(rows, limits)
    lines = [f"# {name}: which checkpoint", "", f"Proposed: {escape(proposal.reason)}.", ""]
    if chosen is not None:
        lines += [f"Chosen by {escape(chosen[1])}: iteration {chosen[0]}.", ""]
    if note:
        lines += [escape(note), ""]
    lines += [
        "| iteration | scale | validation loss | change | trigger | apart | |",
        "|---|---|---|---|---|---|---|",
    ]
    if scores["base_loss"] is not None:
        lines.append(f"| base model | | {scores['base_loss']:.4f} | | | 1 | |")
    for row in rows:
        marks = [
            "**proposed**" if (row.iteration, row.lora_scale) == (proposal.iteration, proposal.lora_scale) else "",
            "**chosen**" if chosen is not None and row.iteration == chosen[0] else "",
            "overtrained" if row.iteration in taken else "",
        ]
        figures = [_figure(value) for value in (row.validation_loss, row.change, row.trigger_change, row.separation)]
        lines.append(
            f"| {row.iteration} | {row.lora_scale:g} | {' | '.join(figures)} | {', '.join(filter(None, marks))} |"
        )
    quoted = "; ".join(escape(prompt) for prompt in prompts["prompts"])
    pairs = scores.get("validation_pairs", scores.get("held_out_pairs"))  # the second in records of before
    validation = f"over {pairs} pictures that were not trained on" if pairs else ""
    lines += [
        "",
        f"*Validation loss*: {validation or 'no picture was held out'}. *Change*: 1 − SSIM, without against with the "
        "adapter. *Trigger*: 1 − SSIM, the trigger against a control word. *Apart*: how far apart the edges of "
        "pictures of different prompts are, as a share of the base model's; below "
        f"{limits.separation_min:g} at full strength the adapter takes over the composition: overtrained.",
        "",
        f"Prompts, all with seed {prompts['seed']}: {quoted}.",
    ]
    return "\n".join(lines) + "\n"


def write_only_one(name: str, iteration: int) -> str:
    """The report where nothing is to be chosen."""
    why = "one checkpoint was kept, so nothing was scored (`kept_checkpoints` in lora.yaml)"
    return f"# {name}: which checkpoint\n\nIteration {iteration}: {why}.\n"


def describe_choice(info: Mapping[str, Any]) -> str:
    """Which checkpoint a record of `chosen_checkpoint` holds, and by whose word; for a manifest."""
    if info.get("chosen_by"):
        return f"iteration {info['iteration']}, chosen by {info['chosen_by']}"
    return f"iteration {info['iteration']}, {'proposed' if info.get('is_scored') else 'the only one kept'}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if value < 0.1 else f"{value:.3f}"
