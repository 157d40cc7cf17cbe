"""What can become of a file that nobody meant to change: each damage takes a path, and leaves something else there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], None]


def flip_a_bit(path: Path) -> None:
    """One bit of the middle; the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    _put(path, bytes(content))


def change_the_last_byte(path: Path) -> None:
    content = path.read_bytes()
    _put(path, content[:-1] + bytes([content[-1] ^ 0xFF]))


def flip_a_bit_and_keep_the_time(path: Path) -> None:
    """As a disk does it, or a restore that sets the times: only the time of the change of status tells."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    with path.open("rb+") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def zero_it(path: Path) -> None:
    """All of its size, without content: what some file systems leave after a power cut."""
    _put(path, bytes(path.stat().st_size))


def cut_it(path: Path) -> None:
    _put(path, path.read_bytes()[:-1])


def empty_it(path: Path) -> None:
    _put(path, b"")


def lengthen_it(path: Path) -> None:
    _put(path, path.read_bytes() + b"\0")


def remove_it(path: Path) -> None:
    path.unlink()


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def make_an_empty_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_to_a_copy(path: Path) -> None:
    """What some programs that look for duplicates leave."""
    copy = path.with_name(f"copy of {path.name}")
    shutil.move(path, copy)
    path.symlink_to(copy)


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def link_in_a_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _put(path: Path, content: bytes) -> None:
    """A file of its own: a copy of a data directory may share its files by links."""
    path.unlink()
    path.write_bytes(content)


DAMAGES: dict[str, Damage] = {
    "a flipped bit": flip_a_bit,
    "another last byte": change_the_last_byte,
    "a flipped bit with its old time": flip_a_bit_and_keep_the_time,
    "zeros": zero_it,
    "cut off": cut_it,
    "empty": empty_it,
    "longer": lengthen_it,
    "gone": remove_it,
    "a folder": make_a_folder,
    "an empty folder": make_an_empty_folder,
    "a link to a copy": link_to_a_copy,
    "a link to nothing": link_to_nothing,
    "a link in a circle": link_in_a_circle,
    "a pipe": make_a_pipe,
}
