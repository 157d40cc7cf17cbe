"""What `sq.yaml` names is run by a training that is due, after a person allowed it as it is, and by nothing else."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import DagsterInstance, build_sensor_context
from PIL import Image
from typer.testing import CliRunner

from sq_pipeline.cli import app
from sq_pipeline.common.errors import SqPipelineError, TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.build import build_defs
from sq_pipeline.engines import factory
from sq_pipeline.engines.allowed_programs import allowed_file
from sq_pipeline.engines.trainers.mlx_examples.checkout import open_checkout, program_faults
from sq_pipeline_tests.engines.trainers.mlx_examples.mlx_examples_place import (
    CHECKOUT,
    Place,
    draw_pictures,
    make_place,
)
from sq_pipeline_tests.engines.trainers.mlx_examples.test_checkout import PACKAGES, make_environment
from sq_pipeline_tests.pipeline.fast import write_game, write_yaml

NAMED = {"checkout": "theirs", "python": "env/bin/python"}


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def planted(data: DataDir) -> DataDir:
    """A game of somebody's, whose settings name programs of its own. Each leaves `was-run` in its folder."""
    write_game(data)
    write_yaml(data.settings_file, {"trainer": "mlx-examples", "mlx_examples": NAMED})
    make_environment(data.root / "env")
    shutil.copytree(CHECKOUT, data.root / "theirs")
    mark = f"open({str(data.root / 'theirs/was-run')!r}, 'w')\n"
    (data.root / "theirs/flux/dreambooth.py").write_text(mark)
    for folder in (data.root, data.root / "env" / PACKAGES, data.root / "content"):
        (folder / "sitecustomize.py").write_text(mark)
    return data


def was_run(data: DataDir) -> bool:
    return any(data.root.rglob("was-run"))


def _command(*words: str) -> Callable[[DataDir], str]:
    def act(data: DataDir) -> str:
        answer = CliRunner().invoke(app, [*words, "--data", str(data.root)])
        assert isinstance(answer.exception, SystemExit | SqPipelineError | None), answer.exception
        return f"{answer.output} {answer.exception}"

    return act


def _verify_image(data: DataDir) -> str:
    picture = data.published_image("west", "landscape", "mill")
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (128, 96)).save(picture)
    return _command("verify-image", str(picture))(data)


def _dataset_check(data: DataDir) -> str:
    return _command("dataset", "check", str(data.datasets_root / "west/landscape"))(data)


def _pages(data: DataDir) -> str:
    """The definitions, and a tick of every sensor."""
    defs = build_defs(data=data)
    told: list[str] = []
    with DagsterInstance.ephemeral() as instance:
        for sensor in defs.sensors or ():
            context = build_sensor_context(instance=instance, repository_def=defs.get_repository_def())
            told.append(defs.resolve_sensor_def(sensor.name).evaluate_tick(context).skip_message or "")
    return "\n".join(told)


WAY_OUT = "sq-pipeline allow --data"


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (_command("plan"), WAY_OUT),
        (_command("plan", "--json"), WAY_OUT),
        (_command("prompts", "--world", "west/old"), "wide"),
        (_command("doctor", "--train"), "MLX"),
        (_command("adapter", "promote", "west_land", "--by", "me"), ""),
        (_dataset_check, WAY_OUT),
        (_verify_image, ""),
        (_pages, ""),
        pytest.param(_command("run"), WAY_OUT, marks=pytest.mark.long),
    ],
    ids=["plan", "plan as JSON", "prompts", "doctor", "promote", "dataset check", "verify-image", "pages", "run"],
)
def test_nothing_that_a_data_directory_names_is_run(act: Callable[[DataDir], str], told: str, planted: DataDir) -> None:
    assert told in " ".join(act(planted).split())
    assert not was_run(planted)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A checkout and a Python, in a data directory, that would train and leave `was-run`; nobody allowed them yet."""
    place = make_place(tmp_path, monkeypatch)
    allowed_file().unlink()
    root = place.data.root
    place.data.content_root.mkdir()
    write_yaml(place.data.settings_file, {"mlx_examples": NAMED})
    shutil.copytree(CHECKOUT, root / "theirs", ignore=shutil.ignore_patterns("__pycache__"))
    python = make_environment(root / "env")
    python.write_text(f'#!/bin/sh\ntouch {root}/was-run\nexec {sys.executable} "$@"\n')
    return place


def faults(place: Place) -> list[str]:
    return [str(fault) for fault in program_faults(open_checkout(place.data), place.data)]


def allow(place: Place) -> None:
    answer = CliRunner().invoke(app, ["allow", "--json", "--data", str(place.data.root)])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert str(place.data.root / "theirs/flux/dreambooth.py") in told["files"]
    assert Path(told["kept_in"]) == allowed_file()
    assert not allowed_file().is_relative_to(place.data.root)


def test_a_training_runs_it_once_it_is_allowed(place: Place, tmp_path: Path) -> None:
    trainer, request = factory.trainer(place.data, "mlx-examples"), place.request(draw_pictures(tmp_path / "p", 3))
    with pytest.raises(TrainingError) as caught:
        trainer.train(request, lambda _: None)
    (fault,) = caught.value.faults
    root = place.data.root
    assert str(fault) == (
        f"sq.yaml: mlx_examples: a training would run `{root}/env/bin/python {root}/theirs/flux/dreambooth.py`, which "
        f"you have not allowed yet; look at it, then `sq-pipeline allow --data {root}`"
    )
    assert not was_run(place.data)
    allow(place)
    assert trainer.train(request, lambda _: None).tensors == 26
    assert was_run(place.data)
    assert faults(place) == []  # what the training itself left behind changes nothing


def test_our_own_python_runs_nobodys_checkout_unasked(place: Place, tmp_path: Path) -> None:
    write_yaml(place.data.settings_file, {"mlx_examples": {"checkout": "theirs"}})
    with pytest.raises(TrainingError, match="which you have not allowed yet"):
        factory.trainer(place.data, "mlx-examples").train(
            place.request(draw_pictures(tmp_path / "p", 3)), lambda _: None
        )
    allow(place)
    assert faults(place) == []


CHANGES: dict[str, tuple[str, str]] = {
    "the Python": ("env/bin/python", "#!/bin/sh\n"),
    "the script": ("theirs/flux/dreambooth.py", "print()\n"),
    "a module of the checkout": ("theirs/flux/flux/__init__.py", "print()\n"),
    "a module beside the script that hides another": ("theirs/flux/numpy.py", "print()\n"),
    "a compiled module": ("theirs/flux/tqdm.pyc", "x"),
    "a library": ("theirs/flux/regex.so", "x"),
    "what the Python starts with": (f"env/{PACKAGES}/sitecustomize.py", "print()\n"),
    "a line that it starts with": (f"env/{PACKAGES}/more.pth", "import os\n"),
    "where it comes from": ("env/pyvenv.cfg", "home = /tmp\nversion_info = 3.12.4\n"),
}


@pytest.mark.parametrize(("name", "text"), CHANGES.values(), ids=list(CHANGES))
def test_what_was_changed_must_be_allowed_again(name: str, text: str, place: Place) -> None:
    allow(place)
    path = place.data.root / name
    before = path.read_bytes() if path.exists() else None
    path.write_text(text)
    (fault,) = faults(place)
    assert "which has changed since you allowed it" in fault
    allow(place)
    assert faults(place) == []
    path.unlink()
    if before is not None:
        path.write_bytes(before)
        path.chmod(0o755)
    assert faults(place) == []  # as it was when it was allowed


def test_a_yes_is_for_one_place_and_nothing_else_says_it(place: Place, tmp_path: Path) -> None:
    allow(place)
    copied = DataDir(tmp_path / "copied")
    shutil.copytree(place.data.root, copied.root)
    assert "not allowed yet" in str(next(program_faults(open_checkout(copied), copied)))
    kept = allowed_file().read_text()
    for planted in (copied.root, copied.store_root, copied.root / ".config/sq-pipeline", copied.content_root):
        planted.mkdir(parents=True, exist_ok=True)
        (planted / allowed_file().name).write_text(kept.replace(str(place.data.root), str(copied.root)))
    assert "not allowed yet" in str(next(program_faults(open_checkout(copied), copied)))
    for damaged in ("", "[]", "{", '{"sha256:1": 5}', "\0"):
        allowed_file().write_text(damaged)
        assert len(faults(place)) == 1
    allow(place)
    assert faults(place) == []
    (aside,) = (allowed_file().parent / "archive").iterdir()
    assert aside.read_text() == damaged  # what a person allowed may still be read out of it
    allow(place)
    assert list((allowed_file().parent / "archive").iterdir()) == [aside]


def test_compiled_files_beside_the_sources_are_not_read(place: Place, tmp_path: Path) -> None:
    """Python would take them for the sources, which alone were looked at."""
    allow(place)
    request = place.request(draw_pictures(tmp_path / "p", 3))
    factory.trainer(place.data, "mlx-examples").train(request, lambda _: None)
    assert list((place.data.root / "theirs").rglob("*.pyc")) == []


def test_without_a_checkout_there_is_nothing_to_allow(data: DataDir) -> None:
    answer = CliRunner().invoke(app, ["allow", "--data", str(data.root)])
    assert "name your checkout of ml-explore/mlx-examples" in str(answer.exception)
    assert not allowed_file().exists()
