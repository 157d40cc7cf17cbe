"""Which cases of a table are in the quick part of the tests; the others are in the long one."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def rest_is_long(cases: Iterable[Any], *quick: str, name: Callable[[Any], str] = str) -> list[Any]:
    """Parameters of one value each, with `name` of it as its id; those whose ids are not in `quick` are `long`.

    Raises ValueError for a name that no case has, so that a renamed case does not leave the quick part unseen.
    """
    named = {name(case): case for case in cases}
    if unknown := set(quick) - named.keys():
        raise ValueError(f"no case is called {sorted(unknown)}")
    return [pytest.param(case, id=key, marks=() if key in quick else pytest.mark.long) for key, case in named.items()]
