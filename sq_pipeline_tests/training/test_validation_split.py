"""Which pictures are held out: the rule that all trainers share."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sq_pipeline.training.validation_split import validation_indices


@given(st.integers(0, 3000), st.integers(0, 400))
def test_at_most_a_tenth_spread_evenly(pairs: int, wanted: int) -> None:
    indices = validation_indices(pairs, wanted)
    assert len(indices) == min(wanted, pairs // 10)
    assert list(indices) == sorted(set(indices))
    assert all(0 <= index < pairs for index in indices)
    gaps = [after - before for before, after in pairwise(indices)]
    assert not gaps or max(gaps) - min(gaps) <= 1
    if indices:
        share = pairs / len(indices)
        assert abs(indices[0] - share / 2) <= 1
        assert abs(pairs - indices[-1] - share / 2) <= 1


def test_the_rule_itself() -> None:
    """Losses that are on record are only comparable while it stays."""
    assert validation_indices(150, 8) == (9, 28, 46, 65, 84, 103, 121, 140)
    assert validation_indices(10, 8) == (5,)
    assert validation_indices(9, 8) == ()
