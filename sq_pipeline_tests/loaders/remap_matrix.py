"""The matrix of the remap: every dialect, rank, alpha and dtype, to every target, in every loader. `main` prints it.

Each source is one row; each loader gets the file that the remap makes for it, or the reason why it makes none.
"""

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.keymap_files import select_keymap, select_reading_keymap
from sq_pipeline.adapters.reading import ReadOptions
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline_tests.adapters.files import KEYMAPS
from sq_pipeline_tests.loaders.dialect_files import DIALECTS
from sq_pipeline_tests.loaders.factors import Alpha, Dtype, Recipe
from sq_pipeline_tests.loaders.matrix import Cell, Row, Target, make_matrix
from sq_pipeline_tests.loaders.outcomes import LOADERS, MLX_EXAMPLES, Loader, Refused

RANKS: Mapping[str, int | tuple[int, ...]] = {
    **{str(rank): rank for rank in (1, 3, 4, 6, 8, 12, 16)},
    "mixed": (1, 3, 4, 6, 8, 12, 16),
}
DTYPES: tuple[Dtype, ...] = ("F32", "F16", "BF16")
ALPHAS: tuple[Alpha, ...] = ("none", "rank", "half", "one")
ALL = (*LOADERS, MLX_EXAMPLES)
# dialects in which every module has an alpha: without one a person has to say what was meant
_NEEDS_ALPHA = ("kohya", "onetrainer", "onetrainer-omi")


@dataclass(frozen=True)
class Case:
    """One source file. `is_told`: a person says that a missing alpha means the rank, or that the file is tiled."""

    dialect: str
    ranks: str
    recipe: Recipe
    is_told: bool

    @property
    def is_open(self) -> bool:
        """True where the file leaves something open that a person has to say."""
        return self.dialect == "mflux-tiled" or (self.dialect in _NEEDS_ALPHA and self.recipe.alpha == "none")

    @property
    def label(self) -> str:
        """The row's name."""
        parts = ", parts of their own" if self.recipe.own_parts else ""
        said = ", told" if self.is_told else ""
        return f"{self.dialect}, rank {self.ranks}, alpha {self.recipe.alpha}, {self.recipe.dtype}{parts}{said}"


def cases(
    ranks: Sequence[str] = tuple(RANKS), dtypes: Sequence[Dtype] = DTYPES, alphas: Sequence[Alpha] = ALPHAS
) -> Iterator[Case]:
    """Every source that its dialect can hold."""
    for dialect, (_, holds_alpha, holds_parts) in DIALECTS.items():
        for rank in ranks:
            for dtype in dtypes:
                for alpha in alphas if holds_alpha else ALPHAS[:1]:
                    for own_parts in (False, True) if holds_parts else (False,):
                        recipe = Recipe(ranks=RANKS[rank], dtype=dtype, alpha=alpha, own_parts=own_parts)
                        case = Case(dialect, rank, recipe, is_told=False)
                        yield from (case, replace(case, is_told=True)) if case.is_open else (case,)


def keymap_for(loader: Loader) -> Keymap:
    """The keymap that a person gets who writes for this loader."""
    return select_keymap(KEYMAPS, loader.name, loader.version or None)


def make_rows(folder: Path, chosen: Sequence[Case], loaders: Sequence[Loader] = ALL) -> list[Row]:
    """Write and remap every case: one file for each keymap."""
    keymaps = {loader: keymap_for(loader) for loader in loaders}
    tiled = select_reading_keymap(KEYMAPS, "mflux-before-0.19")
    rows: list[Row] = []
    for index, case in enumerate(chosen):
        built = DIALECTS[case.dialect][0](folder / f"{index}.safetensors", case.recipe)
        reading = tiled if case.dialect == "mflux-tiled" and case.is_told else None
        options = ReadOptions(missing_alpha="rank" if case.is_told else "refuse")
        made: dict[str, Target] = {}
        for keymap in keymaps.values():
            if keymap.name not in made:
                target = folder / f"{index}-{keymap.name}.safetensors"
                try:
                    remap_adapter(built.path, target, keymap, reading=reading, options=options)
                    made[keymap.name] = target
                except SqPipelineError as error:
                    made[keymap.name] = Refused(error.faults[0].problem)
        targets = {loader: made[keymap.name] for loader, keymap in keymaps.items()}
        rows.append(Row(case.label, built.wanted, case.recipe.base_model, targets))
    return rows


def summarize(chosen: Sequence[Case], cells: Sequence[Mapping[Loader, Cell]], loaders: Sequence[Loader] = ALL) -> str:
    """A Markdown table, a line a dialect: how many files the remap refused, and the largest errors of the rest."""
    lines = [["dialect", "files", "refused", *map(str, loaders)], ["---"] * (len(loaders) + 3)]
    groups: dict[tuple[str, bool], list[tuple[Case, Mapping[Loader, Cell]]]] = {}
    for case, row in zip(chosen, cells, strict=True):
        groups.setdefault((case.dialect, case.is_told), []).append((case, row))
    for (dialect, is_told), rows in sorted(
        groups.items(), key=lambda group: (list(DIALECTS).index(group[0][0]), group[0])
    ):
        refusals = Counter(reason for _, row in rows if (reason := _refusal(row)))
        told = f"{dialect} (told)" if is_told else dialect
        made = [(case, row) for case, row in rows if not _refusal(row)]
        columns = [_sum_up([(case, row[loader]) for case, row in made]) for loader in loaders]
        refused = "; ".join(f"{count}: {reason}" for reason, count in refusals.items())
        lines.append([told, str(len(rows)), refused, *columns])
    return "".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |\n" for line in lines)


def _refusal(row: Mapping[Loader, Cell]) -> str:
    """Why the remap made no file for any loader, without what differs from file to file; empty where it made some."""
    if any(cell.verdict != "not made" for cell in row.values()):
        return ""
    return re.split(r", |: [0-9]", next(iter(row.values())).reason)[0]


def _sum_up(made: Sequence[tuple[Case, Cell]]) -> str:
    """`exact 1e-07 5e-04 4e-03`: the largest errors at F32, F16 and BF16; or what else came of it."""
    wrong = [cell.error or 0.0 for _, cell in made if cell.verdict == "wrong"]
    if wrong:
        return f"WRONG {max(wrong):.1e}"
    parts: list[str] = []
    applied = [(case.recipe.dtype, cell.error) for case, cell in made if cell.error is not None]
    if applied:
        worst = [max((error for own, error in applied if own == dtype), default=None) for dtype in DTYPES]
        parts.append("exact " + " ".join("–" if error is None else f"{error:.0e}" for error in worst))
    others = Counter(f"{cell.verdict}: {cell.reason}" for _, cell in made if cell.error is None)
    return "; ".join((*parts, *(f"{count} {reason}" for reason, count in others.items())))


def main() -> None:
    """Print the summary of the whole matrix; `--rows` prints every row too."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rows", action="store_true")
    arguments = parser.parse_args()
    chosen = list(cases())
    with tempfile.TemporaryDirectory() as folder:
        cells = make_matrix(make_rows(Path(folder), chosen), ALL)
    if arguments.rows:
        for case, row in zip(chosen, cells, strict=True):
            sys.stdout.write(f"{case.label}: " + "; ".join(f"{loader} {cell}" for loader, cell in row.items()) + "\n")
    sys.stdout.write(summarize(chosen, cells))


if __name__ == "__main__":
    main()
