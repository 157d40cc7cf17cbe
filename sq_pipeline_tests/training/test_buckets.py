"""Aspect buckets and the order of drawing: the arithmetic of what a training sees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.engines.trainers.mlx.draw_order import DrawOrder
from sq_pipeline.training.buckets import bucket_sizes, choose_bucket, training_sizes
from sq_pipeline.training.recipe import Recipe

SIDES = st.integers(2, 64).map(lambda tokens: 16 * tokens)


@given(SIDES, SIDES)
def test_all_buckets_have_about_the_area_of_the_resolution(width_px: int, height_px: int) -> None:
    resolution = SizePx(width_px, height_px)
    sizes = bucket_sizes(resolution)
    assert resolution in sizes
    assert len(set(sizes)) == len(sizes)
    for size in sizes:
        assert size.width_px % 16 == size.height_px % 16 == 0
        area = size.width_px * size.height_px
        assert area <= width_px * height_px
        assert area + 16 * size.width_px > width_px * height_px or size == resolution  # no further row would fit


@given(st.integers(1, 4000), st.integers(1, 4000), SIDES, SIDES)
def test_the_chosen_bucket_is_never_larger_than_the_picture(width: int, height: int, w: int, h: int) -> None:
    sizes = bucket_sizes(SizePx(w, h))
    found = choose_bucket(width, height, sizes)
    fitting = [size for size in sizes if size.width_px <= width and size.height_px <= height]
    assert (found is None) == (not fitting)
    if found is not None:
        assert found in fitting
        assert choose_bucket(width * 2, height * 2, [found]) == found


@pytest.mark.parametrize(
    ("picture", "bucket"),
    [
        ((1024, 1024), (512, 512)),
        ((1920, 1080), (672, 384)),
        ((1080, 1920), (384, 672)),
        ((4000, 1000), (704, 368)),  # the widest there is
        ((600, 520), (544, 480)),
        ((520, 500), None),
    ],
)
def test_a_picture_goes_to_the_bucket_of_its_shape(picture: tuple[int, int], bucket: tuple[int, int] | None) -> None:
    found = choose_bucket(*picture, bucket_sizes(SizePx(512, 512)))
    assert (found and (found.width_px, found.height_px)) == bucket


def test_without_buckets_there_is_the_resolution_alone() -> None:
    size = SizePx(512, 512)
    assert training_sizes(Recipe(), size) == (size,)
    assert training_sizes(Recipe(resolution=(768, 512)), size) == (SizePx(768, 512),)
    several = training_sizes(Recipe(resolution=(768, 512), aspect_buckets=True), size)
    assert several[0] == SizePx(768, 512)
    assert set(several) == set(bucket_sizes(SizePx(768, 512)))


COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=4)


@given(COUNTS, st.integers(1, 5), st.integers(0, 2**32), st.integers(1, 30))
def test_every_view_is_drawn_as_often_as_any_other(counts: list[int], size: int, seed: int, rounds: int) -> None:
    order = DrawOrder(counts, np.random.default_rng(seed))
    drawn = {(bucket, view): 0 for bucket, count in enumerate(counts) for view in range(count)}
    for _ in range(rounds):
        bucket, crops = order.next_batch(size)
        assert len(crops) == size
        for view in crops:
            drawn[bucket, view] += 1
    # all but what waits for its batch, and the part of a round that is under way
    assert max(drawn.values()) - min(drawn.values()) <= 1 + size


@given(COUNTS, st.integers(1, 5), st.integers(0, 2**32), st.integers(0, 20))
def test_an_order_goes_on_where_it_was(counts: list[int], size: int, seed: int, before: int) -> None:
    numbers = np.random.default_rng(seed)
    order = DrawOrder(counts, numbers)
    for _ in range(before):
        order.next_batch(size)
    later = np.random.default_rng(0)
    later.bit_generator.state = numbers.bit_generator.state
    other = DrawOrder(counts, later)
    other.restore(*order.state())
    assert [order.next_batch(size) for _ in range(20)] == [other.next_batch(size) for _ in range(20)]


@pytest.mark.parametrize(("order", "waiting"), [((7,), ()), ((), (-1,)), ((0, 7), (1,))])
def test_an_order_of_another_dataset_is_refused(order: tuple[int, ...], waiting: tuple[int, ...]) -> None:
    mine = DrawOrder([3, 4], np.random.default_rng(0))
    with pytest.raises(ValueError, match="draws views that there are not"):
        mine.restore(order, waiting)
