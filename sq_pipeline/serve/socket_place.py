"""Where a data directory's render server listens: `store/serve/render.sock`, in a folder that is its owner's alone.

One server a data directory: the lock beside the socket is the operating system's and falls with the process. Not here:
what is said over the socket.
"""

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sq_pipeline.common.atomic import disk_error
from sq_pipeline.common.errors import Fault, StorageError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import read_holder

# A socket's path holds 104 bytes on macOS and 108 on Linux, with the NUL at its end.
_PATH_MAX_BYTES = 103
_SOCKET = "render.sock"
_BACKLOG = 64


def serve_folder(data: DataDir) -> Path:
    """The private folder of the socket, the lock and the pictures."""
    return data.store_root / "serve"


def data_identity(data: DataDir) -> str:
    """Tells a data directory from its copies, without naming a path."""
    found = data.root.stat()
    return f"{found.st_dev}:{found.st_ino}"


def make_private(folder: Path) -> None:
    """Make the folder, readable by its owner only; raises StorageError where it is somebody else's or a link."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise StorageError(Fault(str(folder), "", "is not a folder of your own", "move it away and start again"))
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise disk_error(folder, error) from error


@contextmanager
def hold_serve_lock(data: DataDir) -> Iterator[None]:
    """Keep other servers off this data directory; raises StorageError while one is there."""
    folder = serve_folder(data)
    make_private(folder)
    holder = folder / "serve.holder"
    lock = FileLock(folder / "serve.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        problem = f"{read_holder(holder)} serves this data directory already"
        raise StorageError(Fault("", "", problem, "use that one, or stop it first")) from None
    try:
        with suppress(OSError):  # only who it is would be missing from another's message
            holder.write_text(f"process {os.getpid()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


@contextmanager
def listen(data: DataDir) -> Iterator[tuple[socket.socket, bool]]:
    """The listening socket, mode 0600; and whether a dead server's was replaced. Only under the lock.

    Whatever is there under the socket's name is of a server that died: a living one would hold the lock.
    """
    path = serve_folder(data) / _SOCKET
    was_stale = os.path.lexists(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        try:
            path.unlink(missing_ok=True)
            with _reachable(path) as short:
                server.bind(str(short))
            path.chmod(0o600)
        except OSError as error:
            raise disk_error(path, error) from error
        ours = path.lstat()
        server.listen(_BACKLOG)
        try:
            yield server, was_stale
        finally:
            with suppress(OSError):  # the store may have been deleted meanwhile
                if path.lstat().st_ino == ours.st_ino:
                    path.unlink()


def socket_inode(data: DataDir) -> int | None:
    """What tells the socket that is there now from a later one; None where there is none."""
    try:
        return (serve_folder(data) / _SOCKET).lstat().st_ino
    except OSError:
        return None


def connect(data: DataDir, timeout_s: float) -> socket.socket | None:
    """A connection to the server of a data directory; None where there is none, or its socket is a dead one's.

    Raises TimeoutError where one is there that takes no connection: more clients wait for it than may.
    """
    path = serve_folder(data) / _SOCKET
    try:
        found = path.lstat()
    except OSError:
        return None
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        return None
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(timeout_s)
        with _reachable(path) as short:
            client.connect(str(short))
    except OSError as error:
        client.close()
        if isinstance(error, BlockingIOError | TimeoutError):
            raise TimeoutError from error
        return None
    return client


@contextmanager
def _reachable(path: Path) -> Iterator[Path]:
    """The path itself, or where it is too long for a socket, one through a link in a private temporary folder.

    The socket is in the data directory all the same, and nothing there names the link, which is gone at once.
    """
    if len(os.fsencode(path)) <= _PATH_MAX_BYTES:
        yield path
        return
    with (
        tempfile.TemporaryDirectory(prefix="sq-") as named,
        tempfile.TemporaryDirectory(prefix="sq-", dir="/tmp") as root,
    ):
        folder = named if len(os.fsencode(named)) + len(_SOCKET) + 3 <= _PATH_MAX_BYTES else root
        link = Path(folder) / "d"
        link.symlink_to(path.parent)
        yield link / path.name
