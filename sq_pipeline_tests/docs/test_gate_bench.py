"""The page of the bench and the shipped limits are of one calibration."""

import re
from pathlib import Path

from sq_pipeline.calibration.candidates import candidates
from sq_pipeline.verification.gate_files import load_shipped

PAGE = Path(__file__).parents[2] / "docs/gate-bench.md"
_LIMIT = re.compile(r"^\| ([a-z ]+) \| [≤≥] ([0-9.]+) \|", re.MULTILINE)


def test_the_page_has_the_shipped_limits() -> None:
    shipped = load_shipped("tiny-flux")
    assert shipped is not None
    told = {name.replace(" ", "_"): float(limit) for name, limit in _LIMIT.findall(PAGE.read_text(encoding="utf-8"))}
    assert told == {name: round(limit.limit, 3) for name, limit in shipped.tiers["landscape"].items()}


def test_the_page_has_every_adapter_of_the_bench() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [candidate.name for candidate in candidates() if f"| {candidate.name} | " not in text] == []
