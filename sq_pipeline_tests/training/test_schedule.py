"""The learning rate's course, held to a formula of its own and to mlx-examples'."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.schedule import schedule_of


def formula(iterations: int, accumulation: int, warmup: int) -> list[float]:
    """The share of the peak at each applied step, in other words: a line that starts one step late, then sin²."""
    steps = len(range(0, iterations, accumulation))
    warmup = warmup if warmup < steps else steps - 1
    rising = [1 - (warmup - step) / (warmup + 1) for step in range(warmup)]
    falling = [math.sin(math.pi / 2 * (1 - step / steps)) ** 2 for step in range(steps - warmup)]
    return rising + falling


def shares(iterations: int, accumulation: int, warmup: int) -> list[float]:
    return schedule_of(Recipe(iterations=iterations, grad_accumulation=accumulation, warmup_steps=warmup)).shares()


@given(st.integers(1, 3000), st.integers(1, 12), st.integers(0, 400))
def test_every_step_has_its_rate(iterations: int, accumulation: int, warmup: int) -> None:
    found = shares(iterations, accumulation, warmup)
    assert found == pytest.approx(formula(iterations, accumulation, warmup), rel=1e-9, abs=1e-12)
    assert min(found) > 0
    assert max(found) == 1
    top = found.index(1)
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


@pytest.mark.parametrize(
    ("iterations", "accumulation", "warmup", "first", "end"),
    [
        (600, 4, 100, 1 / 101, 0.7590),  # the defaults
        (1500, 1, 50, 1 / 51, 0.00285),
        (100, 1, 10, 1 / 11, 0.0296),  # the demo's
        (200, 4, 100, 1 / 50, 1),  # all is warm-up but the last step
        (1, 1, 100, 1, 1),
        (9, 4, 0, 1, 0.25),  # three steps: the last of one iteration
    ],
)
def test_where_it_begins_and_ends(iterations: int, accumulation: int, warmup: int, first: float, end: float) -> None:
    found = shares(iterations, accumulation, warmup)
    assert (found[0], found[-1]) == (pytest.approx(first), pytest.approx(end, abs=5e-5))


@pytest.mark.parametrize(("iterations", "accumulation", "warmup"), [(600, 4, 100), (100, 1, 10), (40, 2, 1)])
def test_after_the_warm_up_it_is_mlx_examples(iterations: int, accumulation: int, warmup: int) -> None:
    """Theirs begins the warm-up at a rate of 0, a step that trains nothing."""
    import mlx.core as mx
    from mlx import optimizers as optim

    rising = optim.linear_schedule(0, 1.0, warmup)
    theirs = optim.join_schedules([rising, optim.cosine_decay(1.0, iterations // accumulation)], [warmup])
    found = shares(iterations, accumulation, warmup)
    assert theirs(mx.array(0)).item() == 0
    for step, share in enumerate(found):
        most = 1 / warmup if step < warmup else 1e-6
        assert abs(share - theirs(mx.array(step)).item()) <= most, step
