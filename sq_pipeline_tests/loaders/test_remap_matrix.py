"""The matrix of the remap as a test: no cell is silently wrong. The whole of it is printed by `remap_matrix`.

Every dialect meets every rank, with dtypes and alphas taking turns, so that each pair of the three is met.
"""

import itertools
from pathlib import Path

import pytest

from sq_pipeline_tests.loaders.matrix import Cell, make_matrix
from sq_pipeline_tests.loaders.outcomes import DIFFUSERS, KOHYA, MFLUX_0_18, Loader
from sq_pipeline_tests.loaders.remap_matrix import ALL, Case, cases, make_rows, summarize


def _sample() -> list[Case]:
    """A case for each dialect and rank; which alpha and dtype goes on from one to the next."""
    groups = [list(group) for _, group in itertools.groupby(cases(), key=lambda case: (case.dialect, case.ranks))]
    # a step that has no common factor with the number of members visits all of them in turn
    chosen = [members[(turn * 7) % len(members)] for turn, members in enumerate(groups)]
    told = {(case.dialect, case.is_told): case for case in cases()}
    return [*chosen, *told.values()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Case, dict[Loader, Cell]]]:
    chosen = _sample()
    rows = make_rows(tmp_path_factory.mktemp("matrix"), chosen)
    return list(zip(chosen, make_matrix(rows, ALL), strict=True))


@pytest.mark.long
@pytest.mark.parametrize("loader", ALL, ids=str)
def test_what_the_remap_writes_is_applied_as_it_was_meant(made: list[tuple[Case, dict[Loader, Cell]]], loader: Loader):
    cells = [(case, row[loader]) for case, row in made]
    if missing := {cell.reason for _, cell in cells if cell.verdict == "not run"}:
        pytest.skip(f"not run: {missing.pop()}")
    off = [f"{case.label}: {cell}" for case, cell in cells if cell.verdict not in ("exact", "rounded", "not made")]
    assert off == []
    applied = [cell for _, cell in cells if cell.error is not None]
    assert len(applied) > 100
    assert all(not cell.reason for cell in applied)  # no loader complained, or applied nothing


@pytest.mark.long
def test_only_what_leaves_the_strength_open_is_refused(made: list[tuple[Case, dict[Loader, Cell]]]):
    for case, row in made:
        reasons = {cell.reason for cell in row.values() if cell.verdict == "not made"}
        if case.is_told or not case.is_open:
            assert reasons == set(), case.label
        else:
            (reason,) = reasons
            assert reason.startswith("misshapen: tiled" if case.dialect == "mflux-tiled" else "alpha missing for all")
            assert all(cell.verdict in ("not made", "not run") for cell in row.values())


@pytest.mark.long
def test_half_precision_is_rounded_by_a_loader_only_where_it_multiplies_a_scale_in(
    made: list[tuple[Case, dict[Loader, Cell]]],
):
    """A scale that is a power of two, or 1, is exact in every dtype."""
    for case, row in made:
        if case.recipe.alpha != "one":
            assert {cell.verdict for cell in row.values()} <= {"exact", "not made", "not run"}, case.label


def test_the_summary_says_what_each_loader_did(tmp_path: Path):
    chosen = [
        case
        for case in cases(ranks=("3",), dtypes=("BF16",), alphas=("none",))
        if case.dialect in ("kohya", "xlabs") and not case.recipe.own_parts
    ]
    rows = make_rows(tmp_path, chosen, (KOHYA,))
    cells = make_matrix(rows, (KOHYA,))
    lines = summarize(chosen, cells, (KOHYA,)).splitlines()
    assert lines[0] == "| dialect | files | refused | kohya |"
    assert lines[2].startswith("| kohya | 1 | 1: alpha missing for all of them |  |")
    assert lines[3].startswith("| kohya (told) | 1 |  | exact – – 0e+00 |")
    assert lines[4].startswith("| xlabs | 1 |  | exact – – 0e+00 |")


def test_a_wrong_cell_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The plain file that is right for mflux 0.19 is not for 0.18, and the matrix says so."""
    from sq_pipeline_tests.loaders import remap_matrix

    chosen = [next(case for case in cases(ranks=("8",), dtypes=("F32",)) if case.dialect == "mlx")]
    monkeypatch.setattr(
        remap_matrix, "keymap_for", lambda _: remap_matrix.select_keymap(remap_matrix.KEYMAPS, "mflux", "0.19")
    )
    (row,) = make_matrix(make_rows(tmp_path, chosen, (MFLUX_0_18, DIFFUSERS)), (MFLUX_0_18, DIFFUSERS))
    if "not run" in {cell.verdict for cell in row.values()}:
        pytest.skip("not run: a wheel is missing")
    assert row[MFLUX_0_18].verdict == "refused"
    assert "at first use" in row[MFLUX_0_18].reason
