"""Children that stop, and one who does what is said to be the way out."""

import re
import shlex
import subprocess

STOPS = "import os, signal; print('a', flush=True); os.kill(os.getpid(), signal.SIGSTOP); print('b')"
_WAY = re.compile(r"`(kill -CONT \d+)`")


class CarriesOut:
    """Told of a stop, it does what is said to be the way out."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, line: str) -> None:
        self.told.append(line)
        (way,) = _WAY.findall(line)
        subprocess.run(shlex.split(way), check=True)
