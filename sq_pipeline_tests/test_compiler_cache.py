"""The compiler that keeps what it made: once a source, failures never, and every other call handed on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sq_pipeline_tests.compiler_cache import compile_once

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MLX compiles for the GPU")

# notes each call, and makes the source's own words the library
REAL = """\
#!/bin/sh
echo "$@" >> '{calls}'
for last in "$@"; do
    case "$last" in *.cpp) source=$last ;; esac
done
grep -q broken "$source" && exit 3
cp "$source" "$last"
"""


class Compiler:
    """What is called as `g++` then, over one that notes its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._calls = folder, folder / "calls"
        real = folder / "bin" / "g++"
        real.parent.mkdir()
        real.write_text(REAL.format(calls=self._calls))
        real.chmod(0o755)

    def make(self, name: str, source: str) -> str | None:
        """The library of a source, None where it could not be made."""
        path, library = self.folder / f"{name}.cpp", self.folder / f"{name}.so"
        path.write_text(source)
        library.unlink(missing_ok=True)
        done = subprocess.run(["g++", "-shared", str(path), "-o", str(library)])
        return library.read_text() if done.returncode == 0 else None

    @property
    def calls(self) -> int:
        return len(self._calls.read_text().splitlines())


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    compiler = Compiler(tmp_path)
    parts = [part for part in os.environ["PATH"].split(os.pathsep) if ".compiled" not in part]
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), *parts]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compile_once()
    return compiler


def test_a_source_is_compiled_once_whatever_its_file_is_called(compiler: Compiler) -> None:
    assert [compiler.make(name, "one") for name in ("a", "a", "b")] == ["one"] * 3
    assert compiler.calls == 1
    assert compiler.make("a", "two") == "two"
    assert compiler.calls == 2


def test_a_failure_is_told_and_not_kept(compiler: Compiler) -> None:
    assert [compiler.make("a", "broken") for _ in range(2)] == [None] * 2
    assert compiler.calls == 2


def test_every_other_call_is_handed_on(compiler: Compiler) -> None:
    for _ in range(2):
        subprocess.run(["g++", "--version"], stderr=subprocess.DEVNULL)
    assert compiler.calls == 2


def test_again_it_is_not_put_before_itself(compiler: Compiler) -> None:
    path = os.environ["PATH"]
    compile_once()
    assert os.environ["PATH"] == path


def test_another_compiler_has_what_it_makes_by_itself(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiler.make("a", "one") == "one"
    real = compiler.folder / "bin" / "g++"
    real.write_text(real.read_text() + "# another version\n")
    monkeypatch.setenv("PATH", os.pathsep.join(os.environ["PATH"].split(os.pathsep)[1:]))
    compile_once()
    assert compiler.make("a", "one") == "one"
    assert compiler.calls == 2
