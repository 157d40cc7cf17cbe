"""Every case of what people bring has its right answer in a test."""

import re
from pathlib import Path

import pytest
import yaml

TESTS = Path(__file__).parents[1]
TABLE: dict[str, list[str]] = yaml.safe_load((Path(__file__).parent / "table.yaml").read_text(encoding="utf-8"))
KINDS = range(1, 13)


@pytest.mark.parametrize("place", TABLE)
def test_the_test_of_a_case_is_there(place: str) -> None:
    """A whole test, or the case's name in a file of cases, with its kind or without."""
    file, _, test = place.partition("::")
    text = (TESTS / file).read_text(encoding="utf-8")
    if test:
        assert f"def {test}(" in text
        return
    names = {case: case.partition("-")[2] for case in TABLE[place]}
    lost = [case for case, name in names.items() if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)]
    assert [case for case in lost if case not in text] == []


def test_no_case_is_lost() -> None:
    cases = [case for group in TABLE.values() for case in group]
    assert len(cases) == len(set(cases)) >= 226
    assert {int(case.partition("-")[0]) for case in cases} == set(KINDS)
