"""Where the gallery that `ui` shows can be opened: a note in the store, for links to it. In no fingerprint.

A link that leads nowhere later does no harm. Not here: the gallery (`sq_pipeline.gallery`), the asset of that name.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import quote

from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import StorageError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.plain_file import read_plain_text

_BEGINS = "http://127.0.0.1:"  # where the gallery listens, and nowhere else


@contextmanager
def told_as_gallery(data: DataDir, address: str) -> Iterator[None]:
    """While the block runs, `gallery_address` gives this one. Where the disk refuses, nobody is told."""
    with suppress(StorageError):
        write_text(data.gallery_note, f"{address}\n")
    try:
        yield
    finally:
        forget_gallery(data)


def forget_gallery(data: DataDir) -> None:
    """From now on there is no address; one that was killed left its own."""
    with suppress(OSError):
        data.gallery_note.unlink(missing_ok=True)


def gallery_address(data: DataDir) -> str | None:
    """The page's address, with a slash at its end; None where nobody says one."""
    try:
        said = read_plain_text(data.gallery_note).strip()
    except (OSError, ValueError):
        return None
    return said if said.startswith(_BEGINS) else None


def picture_address(address: str, *place: str) -> str:
    """The address of one picture's panel: of its genre, world, tier and slug."""
    return f"{address}#/{'/'.join(quote(part, safe='') for part in place)}"
