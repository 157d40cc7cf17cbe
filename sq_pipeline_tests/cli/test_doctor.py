"""What `doctor` advises: each advice is a command that works, and a note alone is none."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from sq_pipeline.cli import doctor_command, main
from sq_pipeline.engines import blas

COMMAND = re.compile(r"`([^`]+)`")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sq-pipeline", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


def advice(monkeypatch: pytest.MonkeyPatch, *arguments: str, gflops: float = 500.0) -> list[str]:
    monkeypatch.setattr(blas, "measure_gflops", lambda: gflops)
    return doctor_command.collect(*map(Path, arguments))["advice"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MLX brings its own BLAS")
@pytest.mark.parametrize(
    ("environment", "is_installed", "loads", "told"),
    [
        ({}, False, True, "`uv pip install --python "),
        ({}, True, False, "--reinstall scipy-openblas32`"),
        ({"OPENBLAS_NUM_THREADS": "1"}, True, True, "`unset OPENBLAS_NUM_THREADS`"),
        ({"OPENBLAS_CORETYPE": "Prescott"}, True, True, "`unset OPENBLAS_CORETYPE`"),
        ({"OPENBLAS_NUM_THREADS": "64"}, True, True, None),
        ({"OPENBLAS_NUM_THREADS": "many"}, True, True, None),
        ({}, True, True, None),  # a busy machine: nothing to do about it
    ],
)
def test_a_slow_blas_is_advised_upon_where_something_helps(
    environment: dict[str, str],
    is_installed: bool,
    loads: bool,
    told: str | None,
    monkeypatch: pytest.MonkeyPatch,
    data,
) -> None:
    for name in ("OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("_report", "_openblas", "_is_set_by_person"):
        monkeypatch.setattr(blas, name, None)
    monkeypatch.setattr(blas.machine, "cores", lambda: 4)
    if not is_installed:
        monkeypatch.setattr(blas, "_library", lambda: None)
    if not loads:

        def refuse(_path: Path) -> None:
            raise OSError("Fortran runtime: not found")

        monkeypatch.setattr(blas, "_load", refuse)
    slow = advice(monkeypatch, str(data.root), gflops=5.0)
    assert len(slow) == (told is not None)
    assert "Fortran" not in " ".join(slow)
    if told is not None:
        assert told in slow[0]
        assert COMMAND.findall(slow[0])
    assert advice(monkeypatch, str(data.root)) == []


@pytest.mark.parametrize(
    "there", ["nothing", "an empty folder", "a folder with things", "a file", "a name with spaces"]
)
def test_what_is_no_data_directory_gets_a_command_that_makes_one(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / ("my game" if there == "a name with spaces" else "game")
    if "folder" in there:
        place.mkdir()
    if there == "a folder with things":
        (place / "diary.txt").write_text("mine")
    if there == "a file":
        place.write_text("mine")
    (line,) = advice(monkeypatch, str(place))
    (command,) = COMMAND.findall(line)
    program, *arguments = shlex.split(command)
    assert program == "sq-pipeline"
    assert run(monkeypatch, *arguments, "--no-run", "--json") == 0
    made = json.loads(capsys.readouterr().out)["data"]
    assert advice(monkeypatch, made) == []


def test_a_mac_is_told_of_sleep_and_of_its_gpu_watchdog() -> None:
    sleep, watchdog = doctor_command.night_notes("darwin")
    assert "`caffeinate -i`" in sleep
    assert "lid" in sleep
    assert "SIGABRT" in watchdog
    assert "`pmset displaysleepnow`" in watchdog
    assert "https://github.com/ml-explore/mlx/issues/3267" in watchdog


@pytest.mark.parametrize(("found", "told"), [("/usr/bin/systemd-inhibit", "`/usr/bin/systemd-inhibit "), (None, "own")])
def test_elsewhere_it_is_said_that_nothing_is_started(
    found: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_command.shutil, "which", lambda _name: found)
    sleep, watchdog = doctor_command.night_notes("linux")
    assert "nothing is started" in sleep
    assert told in sleep
    assert "only macOS" in watchdog
