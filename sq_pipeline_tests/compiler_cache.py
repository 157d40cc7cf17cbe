"""MLX's CPU kernels are compiled once, not by each of the processes that tests have beside each other.

MLX compiles a kernel with the `g++` that it finds on the PATH: a second each, some sixty for a training. Here: a `g++`
before it that keeps what the real one made of a source. The product's own folders, and what it does in them, stay as
they are. Not here: macOS, where MLX compiles for the GPU.
"""

import hashlib
import os
import shutil
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from sq_pipeline.engines.user_folders import cache_folder

_SCRIPT = """\
#!/bin/sh
# {real} as MLX calls it: …, source.cpp, -o, library.so; every other call is only handed on
for last in "$@"; do
    case "$last" in *.cpp) source=$last ;; esac
done
case "$*" in *.cpp\\ -o\\ *.so) ;; *) exec '{real}' "$@" ;; esac
kept='{kept}'/$(sha256sum < "$source" | cut -c1-64)
{{
    flock 9
    if [ ! -f "$kept.so" ]; then
        '{real}' "$@" || exit
        cp "$last" "$kept.part" && mv "$kept.part" "$kept.so"
        exit
    fi
}} 9> "$kept.lock"
exec cp "$kept.so" "$last"
"""


def compile_once() -> None:
    """Put such a compiler first on the PATH, for this process and those it starts; again is free."""
    real = shutil.which("g++")
    if sys.platform != "linux" or real is None or shutil.which("flock") is None or ".compiled" in real:
        return
    compiler = Path(real).resolve().stat()
    made_with = f"{version('mlx')} {real} {compiler.st_size} {compiler.st_mtime_ns}"
    name = f".compiled-{hashlib.sha256(made_with.encode()).hexdigest()[:16]}"
    with suppress(OSError, RuntimeError):  # no cache that can be written: each process compiles for itself
        folder = cache_folder() / name
        folder.mkdir(parents=True, exist_ok=True)
        script, part = folder / "g++", folder / f"g++.{os.getpid()}"
        part.write_text(_SCRIPT.format(real=real, kept=folder))
        part.chmod(0o755)
        part.replace(script)
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
