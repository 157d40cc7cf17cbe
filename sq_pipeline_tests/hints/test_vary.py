"""What a grid of takes is refused for is not refused any more, once its hint is carried out."""

import pytest

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_vary import add_paper, grid

TWO = "two adapters"  # in the world's stack

CASES = (
    ("scale=big", "write e.g. 0.8", "scale=0.8", ""),
    ("scale=40", "write e.g. 0.8", "scale=0.8", ""),
    ("scale=0", "to see it without, write --vary adapter=none", "adapter=none", ""),
    ("scale=", "write e.g. --vary scale=0.6,0.8", "scale=0.6,0.8", ""),
    ("adapter=", "write e.g. --vary adapter=none,previous", "adapter=none", ""),
    ("steps=2", "write it as --vary scale=0.6,0.8", "scale=0.6,0.8", ""),
    ("scal=0.8", "did you mean scale?", "scale=0.8", ""),
    ("scale=0.8,0.8", "write it once", "scale=0.8", ""),
    ("base_model:west_land=tiny-flux", "write base_model=…", "base_model=tiny-flux", ""),
    ("scale:west=0.8", "write scale:west_land=…", "scale:west_land=0.8", ""),
    ("scale=0.8", "write one of scale:west_land=…, scale:paper_land=…", "scale:paper_land=0.8", TWO),
    ("adapter:west_land=paper_land", "vary it with --vary adapter:paper_land=none", "adapter:paper_land=none", TWO),
    ("scale=0.7 scale=0.8", "write all its values after one `=`", "scale=0.7,0.8", ""),
    ("scale=1 adapter=none base_model=tiny-flux", "name 2 at most", "scale=1 adapter=none", ""),
    ("scale=1,2", "name fewer values, or ask for fewer seeds with --count 1", "--count 1 scale=1,2", ""),
)


def _refusal(game: Game, words: str, count: int | None) -> str:
    vary = [word for word in words.split() if "=" in word]
    try:
        grid(game, *vary, count=1 if "--count 1" in words else count)
    except SqPipelineError as error:
        return "\n".join(map(str, error.faults))
    return ""


@pytest.mark.parametrize(("words", "hint", "then", "stack"), CASES)
def test_what_a_grid_is_refused_for_goes_with_its_hint(
    done: Game, words: str, hint: str, then: str, stack: str
) -> None:
    if stack == TWO:
        add_paper(done)
    told = _refusal(done, words, 40)
    assert told.splitlines()
    assert any(line.endswith(f"; {hint}") for line in told.splitlines()), told
    assert _refusal(done, then, 1) == ""
