"""The scores of a training's checkpoints as something to look at: a table, a grid of pictures, a sentence."""

import io
from collections.abc import Mapping
from typing import Any

from sq_pipeline.pictures.sheets import Tile, draw_sheet
from sq_pipeline.pipeline.adapters.checkpoints.checkpoint_scoring import CheckpointScores, ScoredCheckpoint
from sq_pipeline.training.checkpoint_scores import CheckpointScore, Proposal, ScoreLimits, overtrained
from sq_pipeline.verification.report import cell as escape
from sq_pipeline.verification.verdicts import percent

_TILE_PX = 192


def draw_grid(scores: CheckpointScores) -> bytes:
    """A PNG: some of the dataset's pictures, the base model's, then a row a checkpoint; a column a prompt."""
    rows = [
        [Tile(pixels, name) for pixels in row] for name, row in (("dataset", scores.dataset), ("base", scores.base))
    ]
    rows += [_tiles(checkpoint) for checkpoint in scores.checkpoints]
    buffer = io.BytesIO()
    draw_sheet([row for row in rows if row], _TILE_PX).save(buffer, format="PNG")
    return buffer.getvalue()


def _tiles(checkpoint: ScoredCheckpoint) -> list[Tile]:
    score = checkpoint.score
    told = [
        str(score.iteration),
        "" if score.style_share is None else f"style {percent(score.style_share)}",
        "" if score.subject_kept is None else f"subject {percent(score.subject_kept)}",
    ]
    return [
        Tile(pixels, told[number] if number < len(told) else "") for number, pixels in enumerate(checkpoint.pictures)
    ]


# The columns of the table: what stands above, and what it means.
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "validation_loss": ("validation loss", ""),
    "style_share": ("style", "how far pictures go from the base model's to the dataset's"),
    "style_direction": ("direction", "the cosine of the way they go with the way to the dataset"),
    "style_distance": ("distance", "what is left of that way; above 1 they move away from the dataset"),
    "subject_kept": ("subject", "how much of its own prompt's composition each picture keeps"),
    "trigger_effect": ("trigger", "how much of the style shows only with the trigger"),
    "change": ("change", "1 − SSIM of the picture that changes least"),
}


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
    shown = [column for column in _COLUMNS if any(getattr(row, column) is not None for row in rows)]
    lines += [
        f"| iteration | {' | '.join(_COLUMNS[column][0] for column in shown)} | |",
        f"|---|{'---|' * len(shown)}---|",
        f"| limit | {' | '.join(_limit(column, limits) for column in shown)} | |",
    ]
    if scores["base_loss"] is not None:
        lines.append(f"| base model | {scores['base_loss']:.4f} |{' |' * len(shown)}")
    for row in rows:
        marks = [
            "**proposed**" if row.iteration == proposal.iteration else "",
            "**chosen**" if chosen is not None and row.iteration == chosen[0] else "",
            "overtrained" if row.iteration in taken else "",
        ]
        figures = [_figure(getattr(row, column)) for column in shown]
        lines.append(f"| {row.iteration} | {' | '.join(figures)} | {', '.join(filter(None, marks))} |")
    quoted = "; ".join(f"{escape(item['prompt'])} (seed {item['seed']})" for item in prompts["prompts"])
    pairs = scores["validation_pairs"]
    validation = f"over {pairs} pictures that were not trained on" if pairs else "no picture was held out"
    meanings = [f"*{_COLUMNS[column][0]}*: {meaning}" for column in shown if (meaning := _COLUMNS[column][1])]
    return (
        "\n".join([*lines, "", f"{'; '.join([f'*validation loss*: {validation}', *meanings])}.", "", f"{quoted}."])
        + "\n"
    )


def _limit(column: str, limits: ScoreLimits) -> str:
    least, most = getattr(limits, f"{column}_min", None), getattr(limits, f"{column}_max", None)
    return f"≥ {least:.3g}" if least is not None else f"≤ {most:.3g}" if most is not None else ""


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
