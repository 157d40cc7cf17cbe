"""Ctrl-C that cannot be lost. Here: noticing a dropped interrupt. Not here: what a command does then."""

import os
import signal
import sys
import threading

_AGAIN_S = 0.05


def insist_on_interrupts() -> None:
    """Send an interrupt again that Python dropped.

    An exception raised in a destructor or a weak reference's callback is only printed, and a signal may arrive just
    there: seen in one of three tries, in SQLAlchemy's bookkeeping while Dagster ran a training.
    """
    told = sys.unraisablehook

    def on_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
        if unraisable.exc_type.__name__ in ("KeyboardInterrupt", "DagsterExecutionInterruptedError"):
            threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            told(unraisable)

    sys.unraisablehook = on_unraisable
