"""Tests of the table: the error, what each cell says, and the Markdown; with Kohya's rule, which needs no wheel."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sq_pipeline_tests.adapters.files import SMALL
from sq_pipeline_tests.loaders.dialect_files import write_diffusers, write_kohya
from sq_pipeline_tests.loaders.factors import Recipe
from sq_pipeline_tests.loaders.layers import no_update
from sq_pipeline_tests.loaders.matrix import Row, judge, make_matrix, relative_error, to_markdown
from sq_pipeline_tests.loaders.outcomes import KOHYA, Applied, Loader, NotRun, Refused

ONES = np.ones((2, 2))
NOWHERE = Loader("mflux", "99.99.99")


@pytest.mark.parametrize(
    ("applied", "wanted", "error"),
    [
        ({"m": ONES}, {"m": ONES}, 0.0),
        ({"m": 1.5 * ONES, "n": ONES}, {"m": ONES, "n": ONES}, 0.5),
        ({"m": 0 * ONES}, {"m": ONES}, 1.0),
        ({}, {"m": ONES}, 1.0),
        ({"m": 0 * ONES}, {"m": 0 * ONES}, 0.0),
        ({"m": 1e-9 * ONES}, {"m": 0 * ONES}, np.inf),
        ({"m": 1e-9 * ONES}, {}, np.inf),
        ({"m": np.nan * ONES}, {"m": ONES}, np.inf),
        ({"m": np.ones((2, 3))}, {"m": ONES}, np.inf),
    ],
)
def test_the_error_is_the_worst_module_s(applied: dict, wanted: dict, error: float) -> None:
    assert relative_error(applied, wanted) == pytest.approx(error)


def test_cells_say_what_happened(tmp_path: Path) -> None:
    built = write_kohya(tmp_path / "a.safetensors", Recipe(alpha="rank"))
    narrow = write_kohya(tmp_path / "b.safetensors", Recipe(alpha="rank", dtype="BF16"))
    off = {name: 1.002 * update for name, update in built.wanted.items()}
    cells = {
        "exact": judge(Applied(dict(built.wanted)), built.wanted, built.path),
        "WRONG": judge(Applied(off), built.wanted, built.path),
        "rounded": judge(Applied(off), built.wanted, narrow.path),
        "nothing": judge(Applied(no_update(SMALL), ["26 unmatched"]), built.wanted, built.path),
        "refused": judge(Refused("size mismatch"), built.wanted, built.path),
        "not run": judge(NotRun("no wheel"), built.wanted, built.path),
    }
    assert {name: str(cell) for name, cell in cells.items()} == {
        "exact": "exact (0.0e+00)",
        "WRONG": "WRONG (2.0e-03)",
        "rounded": "rounded (2.0e-03)",
        "nothing": "WRONG (1.0e+00): nothing applied; 26 unmatched",
        "refused": "refused: size mismatch",
        "not run": "not run: no wheel",
    }


def test_the_table_has_a_cell_for_every_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQ_TEST_WHEELS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV", str(tmp_path / "no-uv"))
    recipe = Recipe(ranks=(2, 3), alpha="half")
    kohya = write_kohya(tmp_path / "kohya.safetensors", recipe)
    parts = write_diffusers(tmp_path / "diffusers.safetensors", replace(recipe, ranks=2))
    loaders = (KOHYA, NOWHERE)
    rows = [
        Row.for_all("kohya", kohya.wanted, SMALL, kohya.path, loaders),
        Row("diffusers", parts.wanted, SMALL, {KOHYA: parts.path}),
        Row.for_all("mixed | names", parts.wanted, SMALL, Refused("not one dialect"), loaders),
    ]
    cells = make_matrix(rows, loaders)
    assert [{loader: cell.verdict for loader, cell in made.items()} for made in cells] == [
        {KOHYA: "exact", NOWHERE: "not run"},
        {KOHYA: "wrong"},
        {KOHYA: "not made", NOWHERE: "not made"},
    ]
    table = to_markdown(rows, cells, loaders).splitlines()
    assert table[:2] == ["|  | kohya | mflux 99.99.99 |", "| --- | --- | --- |"]
    assert table[2].startswith("| kohya | exact (0.0e+00) | not run: mflux==99.99.99 cannot be had: ")
    assert table[3].startswith("| diffusers | WRONG (1.0e+00): nothing applied; unexpected keys: ")
    assert table[3].endswith("… |  |")
    assert table[4] == "| mixed \\| names | not made: not one dialect | not made: not one dialect |"
