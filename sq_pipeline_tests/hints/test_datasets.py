"""What is wrong with a dataset or its recipe is not wrong any more, once its hint is carried out as it stands."""

from pathlib import Path

import pytest

from sq_pipeline.cli.dataset_commands import _later_stages, _place_of
from sq_pipeline.common.errors import Fault, SqPipelineError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.training.dataset import check_dataset
from sq_pipeline.training.dataset_files import read_recipe
from sq_pipeline_tests.builders import write_dataset
from sq_pipeline_tests.hints.content_cases import Case
from sq_pipeline_tests.hints.dataset_cases import CASES, FOLDER, RECIPE
from sq_pipeline_tests.hints.test_content import find, places_of
from sq_pipeline_tests.hints.ways import carry_out, write


def told(root: Path) -> set[Fault]:
    """Every fault and warning of the dataset, each file for itself, as `dataset check` finds them."""
    place = _place_of(root / FOLDER, None)
    try:
        recipe = read_recipe(root / FOLDER, FOLDER)
    except SqPipelineError:
        recipe = None
    try:
        return set(check_dataset(root / FOLDER, FOLDER, "tiny-flux", _later_stages(place, recipe)).warnings)
    except SqPipelineError as error:
        every = getattr(error, "every", error.faults)
        return {*every, *getattr(error, "warnings", ())}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.hint[:70])
def test_the_hint_of_a_dataset_works(tmp_path: Path, shipped: DataDir, case: Case) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "sq.yaml").write_text("base_model: tiny-flux\n")
    for part in ("models", "keymaps"):
        (tmp_path / part).symlink_to(shipped.root / part)
    write_dataset(tmp_path / FOLDER, recipe="trigger: old_west\nmin_pairs: 1\niterations: 6000\n")
    for name, what in case.files.items():
        if callable(what) and (tmp_path / name).is_file():
            (tmp_path / name).unlink()
        write(tmp_path, name, what)
    assert (tmp_path / RECIPE).exists() or "lora.yaml" in case.hint or FOLDER in case.files
    before = told(tmp_path)
    fault = find(before, case.hint)
    carry_out(tmp_path, fault, case.answer)
    after = places_of(told(tmp_path))
    assert (fault.file, fault.field, fault.problem) not in after
    others = after - places_of(before)
    assert (not case.then and not others) or (case.then and case.then in str(others)), "another fault in its place"
