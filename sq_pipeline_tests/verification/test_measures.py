"""What is measured of pictures: what nothing gives, what arriving gives, and that each measure is blind to the rest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.painter.scenes import paint, random_scene
from sq_pipeline.painter.styles import STYLES
from sq_pipeline.verification.measures.change import mean_change
from sq_pipeline.verification.measures.features import GROUPS, Pixels
from sq_pipeline.verification.measures.style import StyleTarget
from sq_pipeline.verification.measures.subject import subject_kept

Scenes = list[Pixels]


def _scenes(count: int, seed: int) -> Scenes:
    import random

    rng = random.Random(seed)
    return [np.asarray(paint(random_scene(rng))) for _ in range(count)]


def _styled(scenes: Scenes, style: str, share: float = 1.0) -> Scenes:
    from PIL import Image

    rng = np.random.default_rng(0)
    found = [np.asarray(STYLES[style](Image.fromarray(scene), rng)) for scene in scenes]
    mixed = [(1 - share) * plain + share * mine for plain, mine in zip(scenes, found, strict=True)]
    return [np.clip(np.round(each), 0, 255).astype(np.uint8) for each in mixed]


PLAIN, OTHERS = _scenes(8, 1), _scenes(24, 2)


@pytest.mark.parametrize("style", STYLES)
def test_nothing_goes_no_way_and_the_style_itself_arrives(style: str) -> None:
    target = StyleTarget(_styled(OTHERS, style), PLAIN)
    nothing, arrived = target.measure(PLAIN, PLAIN), target.measure(_styled(PLAIN, style), PLAIN)
    assert (nothing.share, nothing.direction) == (0, 0)
    # a group of less difference than its spread is measured by that spread
    assert all(nothing.groups[name].distance == pytest.approx(1) for name in nothing.counting)
    assert arrived.share > 0.5
    assert arrived.direction > 0.8
    assert arrived.distance < 0.6


@pytest.mark.parametrize("style", STYLES)
def test_half_of_a_style_is_about_half_of_the_way(style: str) -> None:
    target = StyleTarget(_styled(OTHERS, style), PLAIN)
    shares = [target.measure(_styled(PLAIN, style, part), PLAIN).share for part in (0.15, 0.5, 1.0)]
    assert shares == sorted(shares)
    assert shares[0] < 0.3 < shares[2]


@pytest.mark.parametrize("style", STYLES)
def test_another_style_is_not_this_one(style: str) -> None:
    for other in STYLES.keys() - {style}:
        figures = StyleTarget(_styled(OTHERS, other), PLAIN).measure(_styled(PLAIN, style), PLAIN)
        assert figures.share < 0.2 or figures.direction < 0.7 or figures.distance > 0.82


def test_plain_pictures_are_of_no_style_and_a_texture_alone_is_one() -> None:
    """Softer pictures in the base model's place, as it draws them: what they lack is no style of the dataset's."""
    from PIL import Image, ImageFilter

    soft = [np.asarray(Image.fromarray(each).filter(ImageFilter.GaussianBlur(0.7))) for each in OTHERS]
    assert StyleTarget(OTHERS, soft).measure(soft, soft).counting == ()
    columns = np.where(np.arange(soft[0].shape[1]) % 4 < 2, 1.21, 0.79)[:, None]
    threads = [np.clip(each * columns, 0, 255).astype(np.uint8) for each in soft]
    assert StyleTarget(threads, soft).measure(soft, soft).counting == ("texture",)


def test_a_style_needs_two_pictures_to_vary() -> None:
    with pytest.raises(ValueError, match="two pictures"):
        StyleTarget(PLAIN[:1], PLAIN)


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("size", [(96, 128), (17, 16), (64, 200)])
@pytest.mark.parametrize("value", [0, 255])
def test_features_of_a_flat_picture_are_numbers(name: str, size: tuple[int, int], value: int) -> None:
    found = GROUPS[name](np.full((*size, 3), value, np.uint8))
    assert np.isfinite(found).all()
    assert found.shape == GROUPS[name](PLAIN[0]).shape


# --- the subject


def test_the_base_model_itself_keeps_all_and_one_picture_of_all_keeps_nothing() -> None:
    assert subject_kept(PLAIN, PLAIN) == pytest.approx(1)
    assert subject_kept([PLAIN[0]] * len(PLAIN), PLAIN) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_leaves_to_each_picture_its_own_composition(style: str) -> None:
    assert subject_kept(_styled(PLAIN, style), PLAIN) > 0.5


def test_confetti_and_exchanged_prompts_keep_nothing() -> None:
    rng = np.random.default_rng(3)
    confetti = [rng.integers(0, 256, picture.shape, dtype=np.uint8) for picture in PLAIN]
    assert abs(subject_kept(confetti, PLAIN)) < 0.3
    assert subject_kept(PLAIN[1:] + PLAIN[:1], PLAIN) < 0.1


@given(st.permutations(range(4)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_prompts_is_nothing_to_it(order: list[int]) -> None:
    mine = _styled(PLAIN[:4], "neon")
    first = subject_kept(mine, PLAIN[:4])
    again = subject_kept([mine[n] for n in order], [PLAIN[n] for n in order])
    assert again == pytest.approx(first)


@pytest.mark.parametrize("numbers", [(0, 0), (1, 1), (2, 3)])
def test_prompts_are_told_apart_by_two_or_more(numbers: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="two or more"):
        subject_kept(PLAIN[: numbers[0]], PLAIN[: numbers[1]])


def test_flat_pictures_keep_nothing_and_are_no_fault() -> None:
    flat = [np.full((96, 128, 3), value, np.uint8) for value in (10, 200)]
    assert subject_kept(flat, flat) == 0


# --- change


def test_change_is_zero_for_equal_pictures_and_grows() -> None:
    assert mean_change(PLAIN, PLAIN) == 0
    changes = [mean_change(_styled(PLAIN, "neon", share), PLAIN) for share in (0.1, 0.5, 1.0)]
    assert changes == sorted(changes)
    assert changes[0] > 0.5
