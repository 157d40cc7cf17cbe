"""A copy of a shared library whose exported names lack a prefix: `scipy_cblas_sgemm` becomes `cblas_sgemm`.

SciPy's build of OpenBLAS chooses its kernels by the processor it runs on, needs no Fortran runtime and is kept up to
date, but prefixes every name, so MLX would not find them. Here: the ELF file. Not here: loading it (`engines.blas`).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

# raised when the copy of a library becomes another one
REVISION = 1

# Formats: https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html (chapters 4 and 5)
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL_BYTES, _DYNAMIC = 24, struct.Struct("<qQ")
_SHT_DYNAMIC, _SHT_DYNSYM, _SHT_GNU_HASH = 6, 11, 0x6FFFFFF6
_DT_HASH, _DT_GNU_HASH = 4, 0x6FFFFEF5


@dataclass(frozen=True)
class _Section:
    offset: int
    byte_count: int
    link: int


def without_prefix(library: bytes, prefix: str) -> bytes:
    """The library (ELF, 64 bits, little-endian) with `prefix` gone from its symbols' names; raises OSError for others.

    A name's offset moves on by the prefix's length. The loader finds names by a hash table, so GNU's, which wants the
    symbols in the order of their hashes, gives its place to the older one, which takes them in any order.
    """
    if library[:6] != b"\x7fELF\x02\x01":
        raise OSError("it is no ELF file of 64 bits")
    image = bytearray(library)
    try:
        sections = _sections(library)
        symbols, table = sections[_SHT_DYNSYM], sections[_SHT_GNU_HASH]
        names = list(_strip(image, symbols, sections[symbols.link], prefix.encode()))
        _write_hash_table(image, table, names)
        _announce_hash_table(image, sections[_SHT_DYNAMIC])
    except (KeyError, ValueError, struct.error) as error:
        raise OSError("its tables are not where they were expected") from error
    return bytes(image)


def _sections(library: bytes) -> dict[int, _Section]:
    """The sections by their type, and each under `-number` less one too, as `link` names the strings."""
    (start,), (size, count) = struct.unpack_from("<Q", library, 0x28), struct.unpack_from("<HH", library, 0x3A)
    found: dict[int, _Section] = {}
    for number in range(count):
        _, kind, _, _, offset, byte_count, link, _, _, _ = _SECTION.unpack_from(library, start + number * size)
        found[-number - 1] = _Section(offset, byte_count, -link - 1)
        if kind in (_SHT_DYNAMIC, _SHT_DYNSYM, _SHT_GNU_HASH):
            found[kind] = found[-number - 1]
    return found


def _strip(image: bytearray, symbols: _Section, strings: _Section, prefix: bytes) -> Iterator[bytes]:
    """Move each symbol's name past the prefix; yields the names as they are now, in the table's order."""
    for at in range(symbols.offset, symbols.offset + symbols.byte_count, _SYMBOL_BYTES):
        (name,) = struct.unpack_from("<I", image, at)
        start = strings.offset + name
        if image.startswith(prefix, start):
            struct.pack_into("<I", image, at, name + len(prefix))
            start += len(prefix)
        yield bytes(image[start : image.index(0, start)])


def _write_hash_table(image: bytearray, place: _Section, names: list[bytes]) -> None:
    """Write the System V hash table of `names` over another table; raises ValueError where it has no room."""
    buckets = min(place.byte_count // 4 - 2 - len(names), len(names))
    if buckets < 1:
        raise ValueError("no room for a hash table")
    heads, chain = [0] * buckets, [0] * len(names)
    for number, name in enumerate(names[1:], start=1):  # the first symbol is none
        bucket = _hash(name) % buckets
        heads[bucket], chain[number] = number, heads[bucket]
    struct.pack_into(f"<{2 + buckets + len(names)}I", image, place.offset, buckets, len(names), *heads, *chain)


def _hash(name: bytes) -> int:
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high
    return value


def _announce_hash_table(image: bytearray, dynamic: _Section) -> None:
    for at in range(dynamic.offset, dynamic.offset + dynamic.byte_count, _DYNAMIC.size):
        tag, value = _DYNAMIC.unpack_from(image, at)
        if tag == _DT_GNU_HASH:
            _DYNAMIC.pack_into(image, at, _DT_HASH, value)
            return
    raise ValueError("no GNU hash table is announced")
