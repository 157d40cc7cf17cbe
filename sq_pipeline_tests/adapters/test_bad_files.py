"""Tests of bad adapter files, through the command line: each is named in one line, and nothing is written or run.

The files and the words are in gallery.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sq_pipeline import cli
from sq_pipeline_tests.adapters.files import KEYMAPS, metadata_of, mlx_tensors, save
from sq_pipeline_tests.adapters.gallery import GALLERY, MARKER, TINY, Exhibit


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `sq-pipeline adapter …`."""
    monkeypatch.setattr(sys, "argv", ["sq-pipeline", "adapter", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as exited:
        cli.main()
    out, err = capsys.readouterr()
    assert isinstance(exited.value.code, int)
    return exited.value.code, out, err


def _check_inspect(exhibit: Exhibit, path: Path, code: int, out: str, err: str) -> None:
    assert "Traceback" not in out + err
    if exhibit.is_unreadable:
        assert (code, out) == (1, "")
        assert err.startswith(f"error: {path}: ")
        told = err.splitlines()
    else:
        assert (code, err) == (0, "")
        kind = "remark: " if exhibit.inspect.startswith("remark: ") else "fault: "
        told = [line for line in out.splitlines() if line.startswith(kind)]
    assert len([line for line in told if exhibit.inspect in line]) == 1, told
    assert all(line.isprintable() for line in told)


@pytest.mark.parametrize("name", GALLERY)
def test_inspect_names_what_is_wrong_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
):
    exhibit = GALLERY[name]
    (tmp_path / "files").mkdir()
    path = exhibit.build(tmp_path / "files")
    before = _files(tmp_path)
    _check_inspect(exhibit, path, *_run(monkeypatch, capsys, "inspect", path))
    assert _files(tmp_path) == before
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize("name", GALLERY)
def test_remap_refuses_what_it_must_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
):
    exhibit = GALLERY[name]
    (tmp_path / "files").mkdir()
    path = exhibit.build(tmp_path / "files")
    before = _files(tmp_path)
    target = tmp_path / "out.safetensors"
    code, out, err = _run(monkeypatch, capsys, "remap", path, target, "--target", "mflux")
    assert "Traceback" not in out + err
    assert not (tmp_path / MARKER).exists()
    if exhibit.remap is None:
        assert (code, err) == (0, "")
        assert _files(tmp_path).keys() - before.keys() == {target}
    else:
        assert (code, out) == (1, "")
        assert [line for line in err.splitlines() if exhibit.remap in line], err
        assert all(line.startswith("error: ") for line in err.splitlines())
        assert _files(tmp_path) == before


@pytest.mark.parametrize("name", ["zero B", "truncated", "Draw Things", "pickle a.ckpt, protocol 2", "4 GB header"])
def test_a_process_of_its_own_says_the_same(tmp_path: Path, name: str):
    exhibit = GALLERY[name]
    (tmp_path / "files").mkdir()
    path = exhibit.build(tmp_path / "files")
    before = _files(tmp_path)
    command = [sys.executable, "-c", "from sq_pipeline.cli import main; main()", "adapter", "inspect", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(cli.__file__).parents[2])
    _check_inspect(exhibit, path, done.returncode, done.stdout, done.stderr)
    assert _files(tmp_path) == before
    assert not (tmp_path / MARKER).exists()


def test_the_gallery_is_as_large_as_it_says():
    """A file that two exhibits share, or a word that any file would fit, proves nothing."""
    assert len(GALLERY) >= 50
    assert all(len(exhibit.inspect) > 5 for exhibit in GALLERY.values())


DOUBTS = {
    "zero B": ["zero"],
    "alpha zero": ["zero"],
    "wrong base shapes": ["base"],
    "blocks too many": ["base"],
    "alpha 256 times too strong": ["strength"],
    "alpha negative": ["strength"],
    "a path in its metadata": ["metadata"],
}


@pytest.mark.parametrize("name", DOUBTS)
def test_remap_goes_on_where_a_person_allows_the_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
):
    path, target = GALLERY[name].build(tmp_path), tmp_path / "out.safetensors"
    others = {"zero", "strength", "base", "metadata"} - {*DOUBTS[name]}
    words = [word for doubt in sorted(others) for word in ("--allow", doubt)]
    code, _, err = _run(monkeypatch, capsys, "remap", path, target, "--target", "mflux", *words)
    assert (code, target.exists()) == (1, False)
    assert f"--allow {DOUBTS[name][0]}" in err
    words = [word for doubt in DOUBTS[name] for word in ("--allow", doubt)]
    code, _, err = _run(monkeypatch, capsys, "remap", path, target, "--target", "mflux", *words)
    assert (code, err, target.exists()) == (0, "", True)
    assert "/home/anna" not in str(metadata_of(target))


def test_a_plain_file_is_not_written_for_an_mflux_that_would_cut_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    source, target = save(tmp_path / "a.safetensors", mlx_tensors(TINY, rank=8)), tmp_path / "out.safetensors"
    old = ("--target", "mflux", "--loader-version", "0.18.1")
    code, _, err = _run(monkeypatch, capsys, "remap", source, target, *old, "--keymap", KEYMAPS / "mlx-to-mflux.yaml")
    assert (code, target.exists()) == (1, False)
    assert "is for mflux>=0.19, not for 0.18.1: before 0.19 mflux cuts a fused down matrix along the rank" in err
    code, out, _ = _run(monkeypatch, capsys, "remap", source, target, *old)
    assert code == 0
    assert "mlx-to-mflux-before-0.19" in out
    code, out, _ = _run(monkeypatch, capsys, "inspect", target, "--loader", "mflux 0.18.1")
    assert "fault" not in out
    plain = tmp_path / "plain.safetensors"
    _run(monkeypatch, capsys, "remap", source, plain, "--target", "mflux")
    _, out, _ = _run(monkeypatch, capsys, "inspect", plain, "--loader", "mflux 0.18.1")
    assert "fault: mflux 0.18.1 does not load it rightly: it cuts the fused down matrix along the rank" in out


def test_a_pipe_is_refused_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import os

    os.mkfifo(tmp_path / "pipe")
    code, _, err = _run(monkeypatch, capsys, "inspect", tmp_path / "pipe")
    assert code == 1
    assert re.fullmatch(r"error: .*/pipe: is a pipe or a device, not a file; write it to a file first\n", err)
