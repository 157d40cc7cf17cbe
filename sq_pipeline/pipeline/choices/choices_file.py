"""Writing `choices.yaml`: sorted, one line a choice, and every line that is not meant stays as it is.

Not here: what a line means (`content.choices`).
"""

from collections.abc import Callable
from typing import Any

from sq_pipeline.common.archive import archive_edited
from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import ContentError, Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import hold_choices_lock
from sq_pipeline.common.strict_yaml import dump_line, is_list, is_mapping, parse_yaml, read_text
from sq_pipeline.common.tiers import TIERS, Tier, find_tier
from sq_pipeline.content.choices import HEAD, is_of_others, line_of, of_merge
from sq_pipeline.content.records import Choice

Line = Any  # as it stands in the file: a mapping, if nothing is wrong with it


def insist_ours(data: DataDir, genre: str) -> None:
    """Raise ContentError where nothing can be written down: the file is somebody's, or cannot be read."""
    _read(data, genre)


def enter_choice(data: DataDir, genre: str, picture: str, tier: Tier, choice: Choice) -> None:
    """Write down a choice of `WORLD/SLUG`, in place of what stands against it: a pick of another pick, what is kept
    of what was kept before. Lines of this picture that cannot be understood go too. Raises ContentError.
    """
    acts = ("pick",) if choice.act == "pick" else ("lock", "adopt")

    def edit(lines: list[Line]) -> list[Line]:
        others = [line for line in lines if not (_is_of(line, picture, tier) and _stands_against(line, acts))]
        return [*others, line_of(picture, tier, choice)]

    _edit(data, genre, edit)


def drop_choices(data: DataDir, genre: str, picture: str, tier: Tier, acts: tuple[str, ...]) -> None:
    """Take out the choices of a picture with these acts, and its lines that cannot be understood."""
    _edit(
        data,
        genre,
        lambda lines: [line for line in lines if not (_is_of(line, picture, tier) and _stands_against(line, acts))],
    )


def move_choices(data: DataDir, genre: str, picture: str, tier: Tier, to: str) -> int:
    """Let the choices of a picture be another's, as they are; returns how many."""
    moved: list[Line] = []

    def edit(lines: list[Line]) -> list[Line]:
        moved.extend(line for line in lines if _is_of(line, picture, tier))
        return [{**line, "picture": to} if line in moved else line for line in lines]

    _edit(data, genre, edit)
    return len(moved)


def _is_of(line: Line, picture: str, tier: Tier) -> bool:
    return is_mapping(line) and line.get("picture") == picture and (line.get("tier") or "landscape") == tier


def _stands_against(line: Line, acts: tuple[str, ...]) -> bool:
    return line.get("act") in acts or line.get("act") not in ("pick", "lock", "adopt")


def _edit(data: DataDir, genre: str, edit: Callable[[list[Line]], list[Line]]) -> None:
    """Change the lines. A file that holds more than its lines, as comments, is kept in the archive first."""
    path = data.picture_choices(genre)
    with hold_choices_lock(data):
        lines = _read(data, genre)
        new = edit(lines)
        if new == lines:
            return
        archive_edited(path, _text(lines))
        if new:
            write_text(path, _text(new))
        else:
            path.unlink(missing_ok=True)


def _read(data: DataDir, genre: str) -> list[Line]:
    path = data.picture_choices(genre)
    file = data.relative(path)
    if not path.exists():
        return []
    if is_of_others(path):
        problem = "holds no choices of pictures, and is not written over"
        raise ContentError(Fault(file, "", problem, "rename it, or move it away"))
    try:
        value = parse_yaml(read_text(path, file), file)
    except ContentError as error:
        raise ContentError([of_merge(path, fault) for fault in error.faults]) from None
    lines: Any = value.get("choices") if is_mapping(value) else value
    if lines is not None and not is_list(lines):
        raise ContentError(Fault(file, "", "holds no list of choices", "put it back as it was, or move it away"))
    return list(lines or ())


def _text(lines: list[Line]) -> str:
    return HEAD + "choices:\n" + "".join(f"- {dump_line(line)}\n" for line in sorted(lines, key=_place))


def _place(line: Line) -> tuple[str, ...]:
    if not is_mapping(line):
        return ("", str(line))
    tier = find_tier(str(line.get("tier") or "landscape"))
    return (str(line.get("picture")), f"{TIERS.index(tier) if tier else 9}", str(line.get("act")), str(line))
