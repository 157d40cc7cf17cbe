"""Which programs of others a person allowed to be run: kept in the user's own configuration, by place and hash.

A data directory may come from anybody, so nothing in it can say yes. Not here: what such a program is, and running it.
"""

import json
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sq_pipeline.common.archive import archive_edited
from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import Fault, StorageError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.hints import command
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.user_folders import config_folder

_FILE = "allowed-programs.json"


@dataclass(frozen=True)
class Program:
    """What would be run: the hash of every file that decides what happens, by its name."""

    command: tuple[str, ...]
    files: Mapping[str, str]

    @property
    def identity(self) -> str:
        """`sha256:…` over the command and its files."""
        return fingerprint({"command": list(self.command), "files": dict(self.files)})


def allowed_file() -> Path:
    """Where the user's yes is kept; raises StorageError without a home folder."""
    try:
        return config_folder() / _FILE
    except RuntimeError as error:
        fault = Fault("", "HOME", "no home folder is known", "set HOME or XDG_CONFIG_HOME")
        raise StorageError(fault) from error


def not_allowed(program: Program, data: DataDir, field: str) -> Iterator[Fault]:
    """What stands against running it now: nothing, or one fault with the command that allows it."""
    known = _read()
    if program.identity in known:
        return
    is_changed = any(entry.get("command") == list(program.command) for entry in known.values())
    why = "has changed since you allowed it" if is_changed else "you have not allowed yet"
    problem = f"a training would run `{shlex.join(program.command)}`, which {why}"
    hint = f"look at it, then {command('allow', '--data', data.root.resolve())}"
    yield Fault(data.relative(data.settings_file), field, problem, hint)


def allow(program: Program) -> Path:
    """Keep a person's yes to this program as it is now; the file that it is kept in. Raises StorageError.

    A file that says anything else than we would write, such as a damaged one, is kept in `archive/` beside it.
    """
    file, known = allowed_file(), _read()
    archive_edited(file, _text(known))
    known[program.identity] = {"command": list(program.command), "since": time.strftime("%Y-%m-%d")}
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_text(file, _text(known))
    return file


def _text(known: Mapping[str, Mapping[str, Any]]) -> str:
    return json.dumps(known, indent=1, ensure_ascii=False) + "\n"


def _read() -> dict[str, dict[str, Any]]:
    """By identity. What cannot be read allows nothing."""
    try:
        found = json.loads(allowed_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, StorageError):
        return {}
    if not isinstance(found, dict):
        return {}
    entries = cast(dict[str, Any], found)
    return {name: cast(dict[str, Any], entry) for name, entry in entries.items() if isinstance(entry, dict)}
