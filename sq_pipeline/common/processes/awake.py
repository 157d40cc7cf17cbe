"""Keeping the machine awake while it trains. Here: which systems have a program for that, and its time.

`caffeinate -i` holds off the sleep of an idle machine; a closed lid and an empty battery are stronger. The display may
sleep, and should: with it on, macOS's GPU watchdog can end a training (`doctor` tells).
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# what is started, by `sys.platform`: nothing anywhere else. It ends by itself with the process of that number (`-w`).
_KEEPERS: Mapping[str, tuple[str, ...]] = {"darwin": ("/usr/bin/caffeinate", "-i", "-w")}
_END_S = 5


_depth = 0


@contextmanager
def kept_awake(platform: str = sys.platform, keepers: Mapping[str, tuple[str, ...]] = _KEEPERS) -> Iterator[None]:
    """While the block runs, the machine does not fall asleep by itself. A block inside another one adds nothing.

    Where that cannot be had, the work goes on without.
    """
    global _depth
    keeper = _start(keepers.get(platform)) if _depth == 0 else None
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if keeper is not None:
            _end(keeper)


def _start(command: tuple[str, ...] | None) -> "subprocess.Popen[bytes] | None":
    if command is None:
        return None
    try:
        return subprocess.Popen(
            [*command, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None


def _end(keeper: "subprocess.Popen[bytes]") -> None:
    keeper.terminate()
    try:
        keeper.wait(_END_S)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()
