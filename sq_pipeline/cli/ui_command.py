"""`sq-pipeline ui`: Dagster's own pages over a data directory, and the gallery beside them, on this machine only."""

import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated

import typer

from sq_pipeline.cli.options import DataOption, QuietOption
from sq_pipeline.cli.parents import end_with_parent
from sq_pipeline.cli.printing import print_line, say, warn
from sq_pipeline.cli.terminal.dagster_words import DagsterWords
from sq_pipeline.common.errors import StorageError
from sq_pipeline.common.hints import option
from sq_pipeline.common.layout import data_root

if TYPE_CHECKING:
    from sq_pipeline.cli.pictures.gallery_beside import GalleryBeside
    from sq_pipeline.common.processes.guarded_process import GuardedProcess

_HOST = "127.0.0.1"
_OWN_FOLDER = Path(__file__).resolve().parents[2]  # what the package was installed into
_GRACE_S = 6  # for Dagster to end by itself; what is left of it then is ended
_LOOK_S = 0.25
_ENDS = (signal.SIGTERM, signal.SIGHUP)
_LOG = "ui.log"  # in Dagster's folder: all that it says, since the last start

# Dagster's own words on the terminal: with `--verbose` as it has them, otherwise errors alone
_LOUD = ("--verbose",)
_QUIET = ("--log-level", "error", "--code-server-log-level", "error")
_OF_ITS_COMMAND = "ignore:Function `dev_command` is superseded"  # nobody typed that command here


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def ui(
        data: DataOption = None,
        port: Annotated[int, typer.Option(help="The port on this machine.", min=1, max=65535)] = 3000,
        _quiet: QuietOption = False,
        verbose: Annotated[
            bool, typer.Option("--verbose", help="Show all that Dagster says, not errors alone.")
        ] = False,
        has_gallery: Annotated[
            bool, typer.Option("--gallery/--no-gallery", help="Show the gallery, too, at a port that is free.")
        ] = True,
    ) -> None:
        """Open Dagster over this data directory's graph and runs, and the gallery of its pictures; Ctrl-C stops both.

        Their addresses are one line on stdout, as soon as the pages can be opened. Runs that are under way when it
        ends are ended too: a training goes on from its checkpoint another time.
        """
        from sq_pipeline.cli.pictures.gallery_beside import gallery_beside
        from sq_pipeline.common.layout import open_data_dir
        from sq_pipeline.common.locks import hold_pages_lock
        from sq_pipeline.common.processes.asked_to_end import heard
        from sq_pipeline.common.processes.deaths import describe_exit
        from sq_pipeline.common.processes.guarded_process import run_guarded
        from sq_pipeline.defs.instance import open_instance, prepare_home
        from sq_pipeline.defs.partitions import sync_partitions
        from sq_pipeline.pipeline.context import read_content
        from sq_pipeline.pipeline.gallery_address import forget_gallery

        end_with_parent()
        directory = open_data_dir(data_root(data))
        with heard(_ENDS, _interrupt), hold_pages_lock(directory, f"http://{_HOST}:{port}"):
            _insist_free(port)
            with open_instance(directory, say) as instance:
                sync_partitions(read_content(directory), instance)
            home = prepare_home(directory).resolve()
            environment = {**os.environ, "SQ_DATA": str(directory.root.resolve()), "DAGSTER_HOME": str(home)}
            environment |= {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": _with_filter(os.environ)}
            # It imports from its working directory, and reads a `.env` there: that must not be a data directory of
            # somebody's. It is started where its settings are, for it warns of settings that it finds elsewhere.
            command = [sys.executable, "-m", "dagster", "dev", "-m", "sq_pipeline.definitions"]
            command += ["--working-directory", str(_OWN_FOLDER)]
            command += ["--host", _HOST, "--port", str(port), *(_LOUD if verbose else _QUIET)]
            # all that it starts is in its group, which ends with this process
            log = None if verbose else home / _LOG
            forget_gallery(directory)
            beside = gallery_beside(directory, home, environment, port) if has_gallery else nullcontext()
            is_to_end = Event()
            try:
                with (
                    beside as gallery,
                    run_guarded(_in_one(command), home, environment, log, reads_lines=not verbose) as process,
                ):
                    try:
                        if not verbose:
                            Thread(target=_pass_on, args=(process, is_to_end), name="dagster", daemon=True).start()
                        code = _wait(process, port, gallery)
                    except KeyboardInterrupt:
                        is_to_end.set()
                        process.interrupt()
                        if gallery is not None:
                            gallery.ask_to_end()
                        process.wait_for(_GRACE_S)
                        return
            except KeyboardInterrupt:  # while they were being started, or once more while they ended: they have ended
                return
        where = "above" if log is None else f"above, and all of them in {log}"
        how = describe_exit(code) or f"exit code {code}"
        sys.stderr.write(f"error: Dagster ended by itself ({how}); its own words are {where}\n")
        raise typer.Exit(1)


def _in_one(command: Sequence[str]) -> list[str]:
    """The command with its errors where its output goes, in their order."""
    return ["/bin/sh", "-c", 'exec "$@" 2>&1', "dagster", *command]


def _pass_on(process: "GuardedProcess", is_to_end: Event) -> None:
    """Show what a person must see; all of it is in the log. It is read to the end, or Dagster would wait for us.

    What it says once it is to end, such as "Aborted!", is how it does so, and nobody's error.
    """
    words, is_over, was_told = DagsterWords(), False, False
    while not is_over:
        try:
            for line in process.lines():
                if words.is_shown(line) and not is_to_end.is_set():
                    warn(line)
            is_over = True
        except StorageError as error:
            if not was_told:
                warn(f"Dagster's words are not kept: {error}")
            was_told = True
        except ValueError:  # closed: it has ended
            is_over = True


def _with_filter(environ: Mapping[str, str]) -> str:
    """`PYTHONWARNINGS` as it is, and nothing of Dagster's command."""
    return ",".join(filter(None, (environ.get("PYTHONWARNINGS"), _OF_ITS_COMMAND)))


def _wait(process: "GuardedProcess", port: int, gallery: "GalleryBeside | None") -> int:
    """Dagster's exit code. One line has all addresses, as soon as somebody answers there."""
    is_told = False
    while (code := process.wait_for(_LOOK_S)) is None:
        if not is_told and _is_answered(port):
            beside = gallery.told() if gallery is not None else ""
            if beside is not None:
                print_line(" · ".join(filter(None, (f"Dagster: http://{_HOST}:{port}", beside))))
                sys.stdout.flush()
                is_told = True
        elif gallery is not None and (ended := gallery.ended()):
            warn(ended)
    return code


def _is_answered(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0


def _insist_free(port: int) -> None:
    from sq_pipeline.common.errors import Fault, SelectionError

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            problem = f"port {port} cannot be had ({error.strerror})"
            raise SelectionError(
                Fault("", "--port", problem, f"name another with `{option('ui', '--port', 'N')}`")
            ) from None


def _interrupt(_signal: int, _frame: object) -> None:
    """Being asked to end, and a terminal that is closed, are as Ctrl-C."""
    raise KeyboardInterrupt
