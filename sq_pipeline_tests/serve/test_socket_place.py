"""Where the socket is, who may reach it, and what is left of a server that died."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sq_pipeline.common.errors import StorageError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.serve.client import open_client
from sq_pipeline.serve.socket_place import connect, hold_serve_lock, listen, serve_folder
from sq_pipeline_tests.conftest import link_shipped


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_socket_and_folder_are_their_owners_alone(data: DataDir) -> None:
    serve_folder(data).mkdir(parents=True, mode=0o755)
    with hold_serve_lock(data), listen(data):
        assert mode_of(serve_folder(data)) == 0o700
        assert mode_of(serve_folder(data) / "render.sock") == 0o600
    assert not (serve_folder(data) / "render.sock").exists()


def test_a_link_in_place_of_the_folder_is_refused(data: DataDir, tmp_path: Path) -> None:
    data.store_root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    serve_folder(data).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="not a folder of your own"), hold_serve_lock(data):
        pass


def test_one_server_a_data_directory(data: DataDir) -> None:
    again = "from sq_pipeline.serve.socket_place import *; from pathlib import Path; import sys\n"
    again += "with hold_serve_lock(DataDir(Path(sys.argv[1]))): print('started')"
    command = [sys.executable, "-c", again, str(data.root)]
    with hold_serve_lock(data):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"process {os.getpid()} serves this data directory already" in second.stderr
        with pytest.raises(StorageError, match="serves this data directory already"), hold_serve_lock(data):
            pass
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == "started\n"


def test_a_dead_servers_socket_is_recognised_and_replaced(data: DataDir) -> None:
    """Killed with everything in place: the lock fell, the socket stayed."""
    script = "from sq_pipeline.serve.socket_place import *; from pathlib import Path; import os, sys\n"
    script += "data = DataDir(Path(sys.argv[1]))\n"
    script += "with hold_serve_lock(data), listen(data): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script, str(data.root)], check=False)
    assert (serve_folder(data) / "render.sock").is_socket()
    assert open_client(data) is None
    with hold_serve_lock(data), listen(data) as (_, was_stale):
        assert was_stale
        connection = connect(data, 1)
        assert connection is not None
        connection.close()


@pytest.mark.parametrize("kind", ["file", "folder link", "nothing"])
def test_what_is_no_socket_is_no_server(kind: str, data: DataDir, tmp_path: Path) -> None:
    serve_folder(data).mkdir(parents=True)
    path = serve_folder(data) / "render.sock"
    if kind == "file":
        path.write_text("x")
    elif kind == "folder link":
        path.symlink_to(tmp_path)
    assert connect(data, 1) is None


def test_a_path_too_long_for_a_socket_works_all_the_same(tmp_path: Path, shipped: DataDir) -> None:
    data = link_shipped(tmp_path / ("a" * 60) / ("b" * 60) / "data", shipped)
    path = serve_folder(data) / "render.sock"
    assert len(os.fsencode(path)) > 108
    with hold_serve_lock(data), listen(data) as (server, _):
        assert path.is_socket()
        assert mode_of(path) == 0o600
        client = connect(data, 1)
        assert client is not None
        accepted, _ = server.accept()
        client.sendall(b"hello")
        assert accepted.recv(5) == b"hello"
        client.close()
        accepted.close()
    assert not path.exists()


def test_a_socket_of_another_data_directory_is_no_server(data: DataDir, tmp_path: Path, shipped: DataDir) -> None:
    """Its ping tells another data directory: a link to it, or a copy of one that is served."""
    import threading

    from sq_pipeline.serve.protocol import PROTOCOL_VERSION, write_line
    from sq_pipeline.serve.socket_place import data_identity

    other = link_shipped(tmp_path / "other", shipped)
    for identity, is_found in ((data_identity(other), False), (data_identity(data), True)):
        with hold_serve_lock(data), listen(data) as (server, _):

            def answer(server: socket.socket = server, identity: str = identity) -> None:
                accepted, _ = server.accept()
                accepted.recv(1000)
                accepted.sendall(write_line({"id": 1, "result": {"protocol": PROTOCOL_VERSION, "data": identity}}))
                accepted.close()

            thread = threading.Thread(target=answer)
            thread.start()
            opened = open_client(data)
            thread.join()
            assert (opened is not None) == is_found
            if opened is not None:
                opened[0].close()
