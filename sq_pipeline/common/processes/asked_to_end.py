"""Being asked to end, by a signal: heard while a block runs, unless a person had it ignored, as `nohup` does."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# how a command ends by Ctrl-C
INTERRUPTED = 130
INTERRUPTED_LINE = "interrupted: what was finished is kept, nothing half-written\n"


@contextmanager
def heard(numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """While the block runs, `handler` has these signals; afterwards who had them before. In the main thread alone."""
    before = {number: signal.getsignal(number) for number in numbers}
    for number, known in before.items():
        if known is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)
