"""What tests share across processes is made by one of them, and where that fails, all of them are told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sq_pipeline_tests.conftest import made_once

MAKE = """
import sys, time
from pathlib import Path
from sq_pipeline_tests.conftest import made_once

def make(folder):
    folder.mkdir()
    time.sleep(0.3)
    (folder / "whole").touch()

assert (made_once(Path(sys.argv[1]), make) / "whole").exists()
"""


def test_two_processes_at_once_make_it_once_and_wait_until_it_is_whole(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", MAKE, str(tmp_path / "made")]  # to make it twice would fail: the folder is there
    processes = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root}) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]


def test_what_could_not_be_made_is_not_tried_again(tmp_path: Path) -> None:
    def fail(_folder: Path) -> None:
        raise ValueError("no such picture")

    with pytest.raises(ValueError, match="no such picture"):
        made_once(tmp_path / "made", fail)
    with pytest.raises(pytest.fail.Exception, match=r"could not make it(.|\n)*no such picture"):
        made_once(tmp_path / "made", Path.mkdir)
    assert not (tmp_path / "made").exists()
