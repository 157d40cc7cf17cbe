"""Where the program begins: Ctrl-C is one line from the first moment on. Not here: the command line (`cli`)."""

import os
import signal
import sys
from types import FrameType

from sq_pipeline.common.processes.asked_to_end import INTERRUPTED, INTERRUPTED_LINE, heard


def main() -> None:
    """Load the commands, which takes a good part of a second, and run the one that is meant."""
    with heard((signal.SIGINT,), _end_now):
        from sq_pipeline.cli import main as run
    run()


def _end_now(_number: int, _frame: FrameType | None) -> None:
    """Nothing was begun yet. An exception would be lost in whatever is being loaded, or come out as its traceback."""
    os.write(sys.stderr.fileno(), INTERRUPTED_LINE.encode())
    os._exit(INTERRUPTED)
