"""The shipped tiny-flux draws what it is asked for. The same pictures and bounds as `benchmarks.quality`."""

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline_tests.benchmarks.quality import WANTED, WANTED_BORDER_STEP, measure

pytestmark = [pytest.mark.long, pytest.mark.takes(s=50)]


def test_follows_its_prompts_without_a_visible_grid(shipped: DataDir) -> None:
    figures = measure(shipped, pictures=200, seed=77, sheet=None)
    for word, wanted in WANTED.items():
        share, own = figures[word]
        assert share >= wanted, f"{word}: {share:.1%}"
        assert own >= wanted
    assert figures["border step"][0] <= WANTED_BORDER_STEP
