"""The environment of every child process that trains. Not here: running one (engines)."""

import os
from collections.abc import Mapping

OFFLINE = "HF_HUB_OFFLINE"
_TRUE = ("1", "ON", "YES", "TRUE")  # the words that the Hugging Face hub knows


def child_environment() -> dict[str, str]:
    """This process's own, its output not held back, and offline for the hub unless a person set that otherwise.

    An empty HF_HUB_OFFLINE is one that is not set, as it is for the hub.
    """
    return {**os.environ, OFFLINE: os.environ.get(OFFLINE) or "1", "PYTHONUNBUFFERED": "1"}


def may_download(environment: Mapping[str, str]) -> bool:
    """True where a person allowed downloads from the hub, as with HF_HUB_OFFLINE=0."""
    return environment[OFFLINE].upper() not in _TRUE
