"""What a file is that is no safetensors file, told by how it begins. Nothing is unpacked, and nothing unpickled.

Not here: reading safetensors files, or what is wrong with one (`adapters.safetensors_file`).
"""

import struct
from pathlib import Path

HEAD_BYTES = 512  # as many as the farthest mark needs: tar's, at 257
_PICKLE_SUFFIXES = {".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle"}
_UNFINISHED_SUFFIXES = {".part", ".crdownload", ".incomplete", ".aria2", ".download"}
_PICKLE = "is a pickle or checkpoint archive, which can run code when loaded"
_EXPORT = "export it as .safetensors"
_UNPACK = "unpack it, and name the .safetensors file in it"
_DOWNLOAD = "download the file itself"

# how it begins, what it is, what to do
_MARKS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"SQLite format 3\0",
        "is an SQLite file (Draw Things keeps its checkpoints so), which nothing here loads",
        _EXPORT,
    ),
    (
        b"version https://git-lfs.github.com/spec/",
        "is a Git LFS pointer: the weights were never downloaded",
        "run `git lfs pull` in its repository",
    ),
    (b"GGUF", "is a GGUF file, a quantized model for llama.cpp and its like", "get the adapter as .safetensors"),
    (b"PK\x03\x04", _PICKLE, _EXPORT),
    (b"PK\x05\x06", "is an empty zip archive", _UNPACK),
    *((b"\x80" + bytes([protocol]), _PICKLE, _EXPORT) for protocol in range(2, 6)),
    (b"\x1f\x8b", "is gzip-compressed", _UNPACK),
    (b"BZh", "is bzip2-compressed", _UNPACK),
    (b"\xfd7zXZ\0", "is xz-compressed", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "is zstd-compressed", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive", _UNPACK),
    (b"Rar!", "is a RAR archive", _UNPACK),
    (b"\x93NUMPY", "is a NumPy array file", "get the adapter as .safetensors"),
    (b"\x89HDF\r\n", "is an HDF5 file", "get the adapter as .safetensors"),
    (b"\x89PNG", "is a PNG picture", "name the .safetensors file"),
    (b"\xff\xd8\xff", "is a JPEG picture", "name the .safetensors file"),
    (b"%PDF", "is a PDF document", "name the .safetensors file"),
)
_HTML_STARTS = (b"<!doctype", b"<html", b"<head", b"<?xml")
_JSON_STARTS = (b"{", b"[")


def name_kind(path: Path, head: bytes, size_bytes: int) -> tuple[str, str] | None:
    """What a file is and what to do about it; None for what may be a safetensors file. `head`: its first HEAD_BYTES."""
    if _begins_a_header(head, size_bytes):
        # a header of 640 bytes begins like a pickle, one of 559,903 like gzip: what follows tells them apart
        return (_PICKLE, _EXPORT) if path.suffix.lower() in _PICKLE_SUFFIXES else None
    for start, problem, hint in _MARKS:
        if head.startswith(start):
            return problem, hint
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_HTML_STARTS):
        return "is an HTML page: what was downloaded is a page about the file, or an error", f"{_DOWNLOAD}, logged in"
    if text.startswith(_JSON_STARTS) and _is_text(head):
        return "is JSON text: an index, a configuration or an error message, not weights", _DOWNLOAD
    if path.suffix.lower() in _PICKLE_SUFFIXES:
        return _PICKLE, _EXPORT
    if head[257:262] == b"ustar":
        return "is a tar archive", _UNPACK
    if size_bytes == 0:
        return "is 0 bytes long, too short for a safetensors file: nothing was downloaded or written", "get it again"
    if path.suffix.lower() in _UNFINISHED_SUFFIXES:
        return "is a download that is not finished", "let it finish, or start it again"
    if len(head) == HEAD_BYTES and not any(head):
        return "begins with zeros: space was reserved for it, and never filled", "get it again"
    if size_bytes >= 8 and _is_text(head):
        return "is a text file, not weights", _DOWNLOAD
    return None


def _begins_a_header(head: bytes, size_bytes: int) -> bool:
    """True when eight bytes of a length that fits the file come before a `{`."""
    return head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= size_bytes - 8


def _is_text(head: bytes) -> bool:
    try:
        text = head[:-3].decode() if len(head) == HEAD_BYTES else head.decode()  # not in the middle of a character
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\t\r\n" for letter in text)
