"""The table of loaders and files: whether each loader applies exactly the update that was wanted.

It takes files and wanted updates, and knows nothing of how a file came about. Run as a module, it prints what every
loader does with every dialect as its own tools write it.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline_tests.adapters.files import load
from sq_pipeline_tests.loaders.apply import applied_updates
from sq_pipeline_tests.loaders.dialect_files import DIALECTS
from sq_pipeline_tests.loaders.factors import Recipe
from sq_pipeline_tests.loaders.layers import Update
from sq_pipeline_tests.loaders.outcomes import LOADERS, Applied, Loader, Outcome, Refused

Target = Path | Refused  # a file to load, or why there is none

EXACT = 1e-5  # what float32 arithmetic leaves
_SHOWN = 90  # characters of a cell in the table
# a loader that folds alpha / rank into the stored matrices rounds the factor and the product once more
_ROUNDED: Mapping[str, float] = {"BF16": 2.0**-8, "F16": 2.0**-10}


@dataclass(frozen=True)
class Row:
    """One update and what was made of it for each loader; a loader without a target gets an empty cell."""

    label: str
    wanted: Mapping[str, Update]
    base_model: Flux1Model
    targets: Mapping[Loader, Target]

    @staticmethod
    def for_all(
        label: str, wanted: Mapping[str, Update], base_model: Flux1Model, target: Target, loaders: Sequence[Loader]
    ) -> "Row":
        """The same file for every loader."""
        return Row(label, wanted, base_model, dict.fromkeys(loaders, target))


@dataclass(frozen=True)
class Cell:
    """What one loader did with one row's file.

    `rounded`: not exact, but no further off than the file's own dtype rounds. `error`: the worst relative error of a
    module, None where nothing was applied; `reason`: why not, or what the loader complained of.
    """

    verdict: Literal["exact", "rounded", "wrong", "refused", "not made", "not run"]
    error: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.verdict}: {self.reason}"
        word = "WRONG" if self.verdict == "wrong" else self.verdict
        return f"{word} ({self.error:.1e})" + (f": {self.reason}" if self.verdict == "wrong" and self.reason else "")


def relative_error(applied: Mapping[str, Update], wanted: Mapping[str, Update]) -> float:
    """The worst ‖applied − wanted‖ / ‖wanted‖ of a module (Frobenius); a module that is left out counts as zero.

    An update where none is wanted, a wrong shape or a number that is none: infinite.
    """
    worst = 0.0
    for module in applied.keys() | wanted.keys():
        got, meant = applied.get(module), wanted.get(module)
        if got is None or meant is None:
            got, meant = _or_zeros(got, meant), _or_zeros(meant, got)
        if got.shape != meant.shape:
            return float("inf")
        off, size = float(np.linalg.norm(got - meant)), float(np.linalg.norm(meant))
        error = off / size if size else float("inf") if off else 0.0
        worst = max(worst, float("inf") if np.isnan(error) else error)
    return worst


def _or_zeros(update: Update | None, other: Update | None) -> Update:
    return update if update is not None else np.zeros_like(other)


def judge(outcome: Outcome, wanted: Mapping[str, Update], file: Path) -> Cell:
    """The cell for one loader's outcome with `file`."""
    if isinstance(outcome, Refused):
        return Cell("refused", reason=outcome.reason)
    if not isinstance(outcome, Applied):
        return Cell("not run", reason=outcome.reason)
    error = relative_error(outcome, wanted)
    limit = max(_ROUNDED.get(dtype, EXACT) for dtype, _, _ in load(file).values())
    verdict = "exact" if error <= EXACT else "rounded" if error <= limit else "wrong"
    is_nothing = not any(update.any() for update in outcome.values())
    return Cell(verdict, error, "; ".join((*["nothing applied"] * is_nothing, *outcome.complaints)))


def make_matrix(rows: Sequence[Row], loaders: Sequence[Loader] = LOADERS) -> list[dict[Loader, Cell]]:
    """A cell for each row and loader that has a target; each loader is asked once, for all of its files."""
    cells: list[dict[Loader, Cell]] = [{} for _ in rows]
    for loader in loaders:
        asked: list[tuple[int, Path]] = []
        for index, row in enumerate(rows):
            target = row.targets.get(loader)
            if isinstance(target, Refused):
                cells[index][loader] = Cell("not made", reason=target.reason)
            elif target is not None:
                asked.append((index, target))
        outcomes = applied_updates(loader, [(file, rows[index].base_model) for index, file in asked])
        for (index, file), outcome in zip(asked, outcomes, strict=True):
            cells[index][loader] = judge(outcome, rows[index].wanted, file)
    return cells


def to_markdown(
    rows: Sequence[Row], cells: Sequence[Mapping[Loader, Cell]], loaders: Sequence[Loader] = LOADERS
) -> str:
    """A Markdown table, one line a row; a long reason is cut, the cell has all of it."""
    lines = [["", *map(str, loaders)], ["---"] * (len(loaders) + 1)]
    for row, made in zip(rows, cells, strict=True):
        lines.append([row.label, *(_short(made.get(loader)) for loader in loaders)])
    return "".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |\n" for line in lines)


def _short(cell: Cell | None) -> str:
    text = "" if cell is None else str(cell)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def dialect_rows(folder: Path, recipes: Mapping[str, Recipe], loaders: Sequence[Loader] = LOADERS) -> list[Row]:
    """A row for every dialect and recipe (by name) that it can hold: its file, as it is, for every loader."""
    rows: list[Row] = []
    for name, recipe in recipes.items():
        for dialect, (write, holds_alpha, holds_parts) in DIALECTS.items():
            if (recipe.alpha == "none" or holds_alpha) and (not recipe.own_parts or holds_parts):
                built = write(folder / f"{dialect}-{len(rows)}.safetensors", recipe)
                row = Row.for_all(f"{dialect}, {name}", built.wanted, recipe.base_model, built.path, loaders)
                rows.append(row)
    return rows


def main() -> None:
    """Print the table of every dialect as it is."""
    recipes = {
        "rank 5": Recipe(ranks=5),
        "rank 8": Recipe(ranks=8),
        "ranks 3, 4, 8 by module": Recipe(ranks=(3, 4, 8)),
        "rank 8, alpha 8": Recipe(ranks=8, alpha="rank"),
        "rank 8, alpha 4": Recipe(ranks=8, alpha="half"),
        "rank 5, alpha 2.5 in every other": Recipe(ranks=5, alpha="some"),
        "rank 5, alpha 1, BF16": Recipe(ranks=5, alpha="one", dtype="BF16"),
        "parts of their own, ranks 1 to 5": Recipe(ranks=(1, 2, 3, 4, 5), own_parts=True),
        "parts of their own, alpha = rank / 2": Recipe(ranks=(1, 2, 3, 4, 5), own_parts=True, alpha="half"),
    }
    with tempfile.TemporaryDirectory() as folder:
        rows = dialect_rows(Path(folder), recipes)
        sys.stdout.write(to_markdown(rows, make_matrix(rows)))


if __name__ == "__main__":
    main()
