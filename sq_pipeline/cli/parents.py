"""Nobody's processes: a command that runs for long ends with whoever started it. Not here: its children (`common`)."""

import os
import signal
import threading
import time

_LOOK_S = 1.0


def end_with_parent() -> None:
    """Let SIGTERM come to this process when the one that started it has ended, however that was.

    A process that is to outlive its shell is one that ignores its hanging up (`nohup`), or that has no parent but the
    system: these go on.
    """
    parent = os.getppid()
    if parent == 1 or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
