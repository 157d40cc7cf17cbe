"""The checkout of mlx-examples: found, fit to run, and its sources hashed; every fault with the hint."""

import os
import sys
from pathlib import Path

import pytest

from sq_pipeline.common.errors import TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.engines.trainers.mlx_examples.checkout import open_checkout


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A data directory with a checkout in its folder `theirs`."""
    for name in ("dreambooth.py", "flux/__init__.py", "flux/deep/layers.py", "txt2image.py"):
        path = tmp_path / "data/theirs/flux" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return DataDir(tmp_path / "data")


def settings(data: DataDir, text: str) -> None:
    data.settings_file.write_text(f"mlx_examples: {text}\n")


def test_a_path_may_be_absolute_from_home_or_from_the_data_directory(
    data: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(data.root))
    for written in ("theirs", str(data.root / "theirs"), "~/theirs"):
        settings(data, f"{{checkout: {written}}}")
        found = open_checkout(data)
        assert found.script == data.root / "theirs/flux/dreambooth.py"
        assert found.python == Path(sys.executable)


def test_the_sources_that_are_run_are_the_trainer(data: DataDir) -> None:
    settings(data, "{checkout: theirs}")
    versions = factory.trainer_versions(data, "mlx-examples")
    assert versions["name"] == "mlx-examples"
    assert versions["mlx"] == factory.trainer_versions(data)["mlx"]
    for name, is_run in (("txt2image.py", False), ("flux/deep/layers.py", True), ("dreambooth.py", True)):
        path = data.root / "theirs/flux" / name
        path.write_text(path.read_text() + "# edited\n")
        now = factory.trainer_versions(data, "mlx-examples")
        assert (now != versions) == is_run
        versions = now


def _python(data: DataDir, body: str) -> Path:
    path = data.root / "python"
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{checkout: nowhere}", ("mlx_examples.checkout", "there is no folder", "git clone")),
        ("{checkout: theirs/flux}", ("mlx_examples.checkout", "it has no flux/dreambooth.py", "that has flux/")),
        ("{checkout: ~nobody_of_that_name/x}", ("mlx_examples.checkout", "no home folder", "write the path out")),
        ("{checkout: theirs, python: none}", ("mlx_examples.python", "cannot be run (No such file", "has mlx")),
        ("{checkout: theirs, python: sq.yaml}", ("mlx_examples.python", "cannot be run (Permission", "has mlx")),
        ("{}", ("mlx_examples.checkout", "is missing", "add it")),
        ("{checkout: theirs, pyton: x}", ("mlx_examples.pyton", "unknown key", "did you mean `python`?")),
        ('{checkout: ""}', ("mlx_examples.checkout", "at least 1", "correct")),
        ("null", ("mlx_examples.checkout", "is missing", "name your checkout")),
    ],
)
def test_a_fault_names_the_field_and_the_mend(data: DataDir, text: str, fault: tuple[str, str, str]) -> None:
    settings(data, text)
    with pytest.raises((TrainingError, ValueError)) as caught:
        factory.trainer_versions(data, "mlx-examples")
    (found,) = caught.value.faults  # type: ignore[attr-defined]
    field, problem, hint = fault
    assert (found.file, found.field) == ("sq.yaml", field)
    assert problem in found.problem
    assert hint in found.hint


def test_checkout_and_python_are_told_of_together(data: DataDir) -> None:
    settings(data, "{checkout: nowhere, python: none}")
    with pytest.raises(TrainingError) as caught:
        open_checkout(data)
    assert [fault.field for fault in caught.value.faults] == ["mlx_examples.checkout", "mlx_examples.python"]


def test_a_python_without_mlx_says_what_to_install(data: DataDir) -> None:
    """A package that is installed later is noticed, without a restart."""
    settings(data, "{checkout: theirs, python: python}")
    _python(data, 'print("hello")')
    with pytest.raises(TrainingError, match="does not answer as a Python does"):
        open_checkout(data)
    _python(data, 'import json; print(json.dumps({"missing": ["mlx", "tqdm"]}))')
    with pytest.raises(TrainingError) as caught:
        open_checkout(data)
    (fault,) = caught.value.faults
    assert "has no mlx, tqdm" in fault.problem
    assert f"python -m pip install -r {data.root / 'theirs/flux/requirements.txt'}" in fault.hint
    _python(data, "raise SystemExit('a broken installation')")
    with pytest.raises(TrainingError, match=r"cannot be run \(a broken installation\)"):
        open_checkout(data)


def test_another_mlx_in_that_python_is_another_trainer(data: DataDir) -> None:
    settings(data, "{checkout: theirs, python: python}")
    place = data.root / "site"
    place.mkdir()
    told = f'{{"missing": [], "version": open("{place}/version").read(), "place": "{place}"}}'
    _python(data, f"import json; print(json.dumps({told}))")
    for version in ("0.30", "0.31"):
        (place / "version").write_text(version)
        os.utime(place, ns=(1, int(float(version) * 1e9)))
        assert open_checkout(data).mlx_version == version
