"""The checkout of mlx-examples: found, fit to run, and its sources hashed; every fault with the hint."""

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from sq_pipeline.common.errors import TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.engines.trainers.mlx_examples.checkout import open_checkout
from sq_pipeline.engines.trainers.mlx_examples.installed import missing_modules, packages_of, version_of


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


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{checkout: nowhere}", ("mlx_examples.checkout", "there is no folder", "git clone")),
        ("{checkout: theirs/flux}", ("mlx_examples.checkout", "it has no flux/dreambooth.py", "that has flux/")),
        ("{checkout: ~nobody_of_that_name/x}", ("mlx_examples.checkout", "no home folder", "write the path out")),
        ("{checkout: theirs, python: none}", ("mlx_examples.python", "none is not there", "has mlx")),
        ("{checkout: theirs, python: sq.yaml}", ("mlx_examples.python", "is not allowed to be run", "has mlx")),
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


MODULES = ("mlx", "huggingface_hub", "numpy", "PIL", "regex", "sentencepiece", "tqdm")
PACKAGES = "lib/python3.12/site-packages"


def make_environment(root: Path, modules: tuple[str, ...] = MODULES, mlx: str = "0.31.1") -> Path:
    """A virtual environment in a folder as its files have it, of which nothing may be run; its Python."""
    python, packages = root / "bin/python", root / PACKAGES
    packages.mkdir(parents=True)
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\ntouch {root}/was-run\n")
    python.chmod(0o755)
    (root / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.12.4.final.0\n")
    for name in modules:
        (packages / name).mkdir()
    if "mlx" in modules:
        set_version(packages, mlx)
    return python


def set_version(packages: Path, version: str) -> None:
    for old in packages.glob("mlx-*.dist-info"):
        shutil.rmtree(old)
    information = packages / f"mlx-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mlx\nVersion: {version}\n")


def test_a_python_without_mlx_says_what_to_install(data: DataDir) -> None:
    """A package that is installed later is noticed, without a restart; the Python is not run for it."""
    settings(data, "{checkout: theirs, python: env/bin/python}")
    python = make_environment(data.root / "env", ("numpy", "PIL", "huggingface_hub", "regex", "sentencepiece"))
    with pytest.raises(TrainingError) as caught:
        open_checkout(data)
    (fault,) = caught.value.faults
    assert "has no mlx, tqdm" in fault.problem
    assert f"{python} -m pip install -r {data.root / 'theirs/flux/requirements.txt'}" in fault.hint
    for name in ("mlx", "tqdm"):
        (data.root / "env" / PACKAGES / name).mkdir()
    set_version(data.root / "env" / PACKAGES, "0.30")
    os.utime(data.root / "env" / PACKAGES, ns=(1, 1))  # as if some time had passed
    assert open_checkout(data).mlx_version == "0.30"
    assert not (data.root / "env/was-run").exists()


def test_another_mlx_in_that_python_is_another_trainer(data: DataDir) -> None:
    settings(data, "{checkout: theirs, python: env/bin/python}")
    make_environment(data.root / "env")
    for number, version in enumerate(("0.30", "0.31")):
        set_version(data.root / "env" / PACKAGES, version)
        os.utime(data.root / "env" / PACKAGES, ns=(1, number))
        assert factory.trainer_versions(data, "mlx-examples")["mlx"] == version


def test_a_python_whose_files_do_not_tell_is_not_run_either(data: DataDir) -> None:
    settings(data, "{checkout: theirs, python: shim}")
    shim = data.root / "shim"
    shim.write_text(f"#!/bin/sh\ntouch {data.root}/was-run\n")
    shim.chmod(0o755)
    with pytest.raises(TrainingError, match="cannot be told without running it; name the bin/python of a virtual"):
        open_checkout(data)
    assert not (data.root / "was-run").exists()


_ASKED = """
import importlib.metadata, importlib.util, json, sys
missing = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]
print(json.dumps([missing, None if "mlx" in missing else importlib.metadata.version("mlx")]))
"""


def _plain(root: Path) -> Path:
    venv.create(root / "plain", symlinks=True)
    return root / "plain/bin/python"


def _with_mlx(root: Path) -> Path:
    """As pip leaves it: packages, what is known of them, and a folder that a `.pth` file adds."""
    venv.create(root / "full", symlinks=True)
    packages = next((root / "full/lib").glob("python3.*/site-packages"))
    for name in MODULES[:-1]:
        (packages / name).mkdir()
    (packages / "mlx/core.py").write_text("")
    set_version(packages, "0.29.3")
    (root / "elsewhere/tqdm").mkdir(parents=True)
    (packages / "more.pth").write_text(f"# a comment\nimport sys\n{root}/elsewhere\n")
    return root / "full/bin/python"


def _within_the_system(root: Path) -> Path:
    venv.create(root / "within", symlinks=True, system_site_packages=True)
    return root / "within/bin/python"


def _by_a_link(root: Path) -> Path:
    (root / "link").symlink_to(_with_mlx(root).parent.parent)
    return root / "link/bin/python3"


@pytest.mark.parametrize(
    "make_python",
    [
        lambda _: Path(sys.executable),
        lambda _: Path(sys.executable).with_name("python3"),
        lambda _: Path(sys.base_prefix) / "bin/python3",
        _plain,
        _with_mlx,
        _within_the_system,
        _by_a_link,
    ],
)
def test_its_files_tell_what_the_python_would_have_told(make_python: Callable[[Path], Path], tmp_path: Path) -> None:
    """So that adapters that were trained when the Python was asked are not to be made again."""
    python = make_python(tmp_path)
    answer = subprocess.run([python, "-c", _ASKED, *MODULES], cwd=tmp_path, capture_output=True, text=True, check=True)
    folders = packages_of(python)
    assert [missing_modules(MODULES, folders), version_of("mlx", folders)] == json.loads(answer.stdout)


def test_what_enters_fingerprints_has_kept_its_form(data: DataDir) -> None:
    settings(data, "{checkout: theirs, python: env/bin/python}")
    make_environment(data.root / "env")
    assert factory.trainer_versions(data, "mlx-examples") == {
        "name": "mlx-examples",
        "revision": "1",
        "mlx": "0.31.1",
        "sources": "sha256:2f5f786677438d97045306a86642235cc079c72234e8351cca2f9253ac02068b",
    }
