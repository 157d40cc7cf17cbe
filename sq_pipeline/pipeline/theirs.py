"""What a person made is never destroyed: whose a file at a published path is.

A file is ours when we can tell that we made all of it. Anything else is somebody's: what would replace it waits until
a person has put it away. Not here: which paths are published (`worlds.images`, `adapters.promoted_adapter`).
"""

import json
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from sq_pipeline.common.errors import PictureError
from sq_pipeline.common.fingerprints import hash_bytes
from sq_pipeline.common.tiers import Tier
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import read_any_provenance
from sq_pipeline.pipeline.context import Context

_KINDS = ((stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a folder"))


def why_not_ours(path: Path, is_ours: Callable[[Path], str | None]) -> str | None:
    """What is wrong with writing to `path`: something is there that is not ours. None where nothing of theirs is.

    `is_ours` is asked about a plain file, and answers as this does. Links are not followed.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no plain file")
        return f"is {kind}"
    return is_ours(path)


def why_no_picture_of_ours(context: Context, path: Path, tier: Tier, slug: str, pixels: Collection[str]) -> str | None:
    """Why a file is not a picture of this subject that we made and nobody changed; None where it is.

    `pixels`: hashes of the pixels of such pictures that are known, for a file that lost what it says of itself.
    """

    def look(file: Path) -> str | None:
        problem, of, hashed = _found(context, file)
        if of == f"{tier}/{slug}" or hashed in pixels:
            return None
        return problem or "is a picture of something else"

    return why_not_ours(path, look)


def pixels_of(context: Context, path: Path) -> str | None:
    """The hash of a picture's pixels, as records hold it; None for what is no such picture."""
    return _found(context, path)[2]


def _found(context: Context, path: Path) -> list[str | None]:
    return json.loads(context.files.remember(path, "whose", lambda: json.dumps(_look(path))))


def _look(path: Path) -> list[str | None]:
    """What is wrong with it, of which tier and slug it is a picture of ours, and the hash of its pixels."""
    try:
        png = read_png(path, "sq.")
    except PictureError:
        return ["is not a picture of ours", None, None]
    if png.pixels is None:
        return ["is not a picture of ours", None, None]
    hashed = hash_bytes(png.pixels.tobytes())
    try:
        said = read_any_provenance(png.texts, path.name)
    except PictureError:
        said = None
    if said is None:
        return ["is not a picture of ours", None, hashed]
    if said.pixels != hashed:
        return ["was changed since it was made", None, hashed]
    return [None, f"{said.tier}/{said.slug}", hashed]
