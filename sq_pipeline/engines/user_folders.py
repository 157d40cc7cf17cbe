"""Where this user's programs keep their things, by the XDG rules; ours is `sq-pipeline` in each.

A relative path in a variable does not count: https://specifications.freedesktop.org/basedir-spec/latest/
"""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/sq-pipeline`, else `~/.cache/sq-pipeline`: what can be made again. Not made.

    Raises RuntimeError without a home folder.
    """
    return _folder("XDG_CACHE_HOME", ".cache")


def config_folder() -> Path:
    """`$XDG_CONFIG_HOME/sq-pipeline`, else `~/.config/sq-pipeline`: what the user decided. Not made.

    Raises RuntimeError without a home folder.
    """
    return _folder("XDG_CONFIG_HOME", ".config")


def _folder(variable: str, otherwise: str) -> Path:
    given = os.environ.get(variable, "")
    return (Path(given) if Path(given).is_absolute() else Path.home() / otherwise) / "sq-pipeline"
