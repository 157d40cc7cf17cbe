"""The painter: its words, its pictures, the demo's styles and datasets, and the judge over them."""

import itertools
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from sq_pipeline.painter import datasets
from sq_pipeline.painter.datasets import DEMO_DATASETS, draw_demo_datasets
from sq_pipeline.painter.judge import WORDS, Judge, _vote, border_step_ratio
from sq_pipeline.painter.scenes import Scene, paint, random_scene
from sq_pipeline.painter.styles import STYLES, paint_random_grade
from sq_pipeline.painter.subjects import DRAW
from sq_pipeline.painter.vocabulary import GROUNDS, PLACES, SUBJECTS, TIMES, write_caption, write_vague_caption
from sq_pipeline.training.dataset import check_dataset
from sq_pipeline.verification.ssim import ssim
from sq_pipeline_tests.builders import names_below, write_pair

Pixels = npt.NDArray[np.uint8]
VOCABULARY = (TIMES, GROUNDS, SUBJECTS, PLACES)
SCENE = Scene("noon", "desert", "windmill", "left", 7)


def _pixels(scene: Scene) -> Pixels:
    return np.asarray(paint(scene))


# --- words


@pytest.mark.parametrize(
    ("words", "least"),
    [(TIMES, 4), (GROUNDS, 5), (SUBJECTS, 12), (PLACES, 3)],
    ids="times grounds subjects places".split(),
)
def test_the_vocabulary_is_large_enough(words: dict[str, tuple[str, ...]], least: int) -> None:
    assert len(words) >= least
    for word, synonyms in words.items():
        assert any(word in synonym for synonym in synonyms)


def test_a_word_means_one_thing() -> None:
    synonyms = [synonym for words in VOCABULARY for group in words.values() for synonym in group]
    assert len(synonyms) == len(set(synonyms))


def test_every_subject_can_be_drawn() -> None:
    assert set(DRAW) == set(SUBJECTS)


@pytest.mark.parametrize("is_short", [False, True])
def test_a_caption_names_all_four_words(is_short: bool) -> None:
    rng = random.Random(1)
    for _ in range(300):
        scene = random_scene(rng)
        words = (scene.time, scene.ground, scene.subject, scene.place)
        caption = write_caption(*words, rng, is_short=is_short)
        for word, group in zip(words, VOCABULARY, strict=True):
            assert any(synonym in caption for synonym in group[word]), (caption, word)


def test_a_short_caption_is_the_core_of_a_long_one() -> None:
    words = ("dusk", "snow", "cabin", "right")
    for seed in range(50):
        short = write_caption(*words, random.Random(seed), is_short=True)
        assert short in write_caption(*words, random.Random(seed))


def test_a_scene_s_caption_is_settled_by_its_seed() -> None:
    assert SCENE.caption() == Scene("noon", "desert", "windmill", "left", 7).caption()
    captions = {Scene("noon", "desert", "windmill", "left", seed).caption() for seed in range(40)}
    assert len(captions) > 30


def test_a_vague_caption_names_what_it_is_given_and_is_never_empty() -> None:
    rng = random.Random(2)
    for _ in range(50):
        told = write_vague_caption("noon", "", "windmill", "", rng)
        assert any(synonym in told for synonym in SUBJECTS["windmill"])
        assert any(synonym in told for synonym in TIMES["noon"])
        assert not any(synonym in told for synonym in GROUNDS["desert"])
        assert write_vague_caption("", "", "", "", rng).strip()


def test_a_mood_settles_the_horizon_and_nothing_of_the_four_words() -> None:
    """The same seed with another mood is another picture; with the same mood it is the same."""
    low, high = (_pixels(replace(SCENE, mood=(level, 0.5, 0.5))) for level in (0.0, 1.0))
    assert not np.array_equal(low, high)
    assert np.array_equal(low, _pixels(replace(SCENE, mood=(0.0, 0.5, 0.5))))


# --- pictures


def test_a_picture_is_128_by_96_rgb() -> None:
    picture = paint(SCENE)
    assert picture.size == (128, 96)
    assert picture.mode == "RGB"


def test_equal_scenes_give_equal_pictures() -> None:
    first, second = random_scene(random.Random(3)), random_scene(random.Random(3))
    assert first == second
    assert paint(first).tobytes() == paint(second).tobytes()


def test_four_hundred_scenes_all_differ() -> None:
    rng = random.Random(4)
    assert len({paint(random_scene(rng)).tobytes() for _ in range(400)}) == 400


@pytest.mark.parametrize(
    "other",
    [
        Scene("night", "desert", "windmill", "left", 7),
        Scene("noon", "snow", "windmill", "left", 7),
        Scene("noon", "desert", "church", "left", 7),
        Scene("noon", "desert", "windmill", "right", 7),
    ],
    ids="time ground subject place".split(),
)
def test_each_word_alone_changes_the_picture_plainly(other: Scene) -> None:
    assert ssim(_pixels(SCENE), _pixels(other)) < 0.97


def test_every_combination_of_words_can_be_painted() -> None:
    for time, ground in itertools.product(TIMES, GROUNDS):
        assert _pixels(Scene(time, ground, "arch", "centre", 1)).std() > 5
    for subject, place in itertools.product(SUBJECTS, PLACES):
        assert _pixels(Scene("noon", "rock", subject, place, 1)).std() > 5


# --- styles


def _scenes(count: int) -> list[Scene]:
    rng = random.Random(5)
    return [random_scene(rng) for _ in range(count)]


@pytest.mark.parametrize("style", STYLES)
def test_a_style_changes_every_picture_plainly_and_keeps_its_size(style: str) -> None:
    for scene in _scenes(20):
        plain = paint(scene)
        styled = STYLES[style](plain, np.random.default_rng(1))
        assert (styled.size, styled.mode) == (plain.size, plain.mode)
        assert ssim(np.asarray(plain), np.asarray(styled)) < 0.8


@pytest.mark.parametrize(("first", "second"), itertools.combinations(STYLES, 2))
def test_styles_differ_from_each_other(first: str, second: str) -> None:
    for scene in _scenes(20):
        pictures = [np.asarray(STYLES[name](paint(scene), np.random.default_rng(1))) for name in (first, second)]
        assert ssim(*pictures) < 0.8


@pytest.mark.parametrize("style", [*STYLES.values(), paint_random_grade])
def test_a_style_is_settled_by_its_numbers_and_leaves_the_plain_picture(style: Callable[..., object]) -> None:
    plain = paint(SCENE)
    before = plain.tobytes()
    first, second = (np.asarray(style(plain, np.random.default_rng(9))) for _ in range(2))
    assert (first == second).all()
    assert plain.tobytes() == before


# --- the demo's datasets


def test_three_datasets_of_160_pairs_that_pass_the_preflight(demo_datasets: Path) -> None:
    assert len(DEMO_DATASETS) == 3
    assert len({dataset.trigger for dataset in DEMO_DATASETS}) == 3
    versions: set[str] = set()
    for demo in DEMO_DATASETS:
        dataset = check_dataset(demo_datasets / demo.folder, demo.folder, "tiny-flux")
        assert len(dataset.images) == 160
        assert dataset.recipe.trigger == demo.trigger
        assert dataset.recipe.iterations == demo.iterations
        assert dataset.warnings == ()
        versions.add(dataset.data_version)
    assert len(versions) == 3
    assert not [name for name in names_below(demo_datasets) if ".part" in name]


def test_a_second_call_draws_nothing(demo_datasets: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo_datasets.rglob("*")}
    assert draw_demo_datasets(demo_datasets) == 0
    assert {path: path.stat().st_mtime_ns for path in demo_datasets.rglob("*")} == before


@pytest.fixture
def short_demo(monkeypatch: pytest.MonkeyPatch) -> tuple[datasets.DemoDataset, ...]:
    """The demo's datasets with two pictures each."""
    short = tuple(
        datasets.DemoDataset(demo.folder, demo.style, demo.trigger, demo.seed, pictures=2) for demo in DEMO_DATASETS
    )
    monkeypatch.setattr(datasets, "DEMO_DATASETS", short)
    return short


@pytest.mark.parametrize("has_recipe", [False, True])
def test_a_person_s_folder_is_left_alone(
    tmp_path: Path, short_demo: tuple[datasets.DemoDataset, ...], has_recipe: bool
) -> None:
    folder = tmp_path / short_demo[0].folder
    folder.mkdir(parents=True)
    picture = write_pair(folder, "000", 1, "mine")
    if has_recipe:
        (folder / "lora.yaml").write_text("trigger: mine\n")
    before, names = picture.read_bytes(), names_below(folder)
    assert draw_demo_datasets(tmp_path) == 2
    assert names_below(folder) == names
    assert picture.read_bytes() == before


def test_an_empty_folder_is_filled(tmp_path: Path, short_demo: tuple[datasets.DemoDataset, ...]) -> None:
    (tmp_path / short_demo[1].folder).mkdir(parents=True)
    assert draw_demo_datasets(tmp_path) == 3
    assert names_below(tmp_path / short_demo[1].folder) == ["000.png", "000.txt", "001.png", "001.txt", "lora.yaml"]


def test_an_interrupted_drawing_leaves_nothing_and_is_drawn_again(
    tmp_path: Path, short_demo: tuple[datasets.DemoDataset, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        painted = itertools.count()

        def interrupt(scene: Scene) -> object:
            if next(painted) == 3:  # in the midst of the second dataset
                raise KeyboardInterrupt
            return paint(scene)

        patch.setattr(datasets, "paint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            draw_demo_datasets(tmp_path)
    drawn = {path.parent for path in tmp_path.rglob("*.png")}
    assert len(drawn) < 3
    assert [len(list(folder.iterdir())) for folder in drawn] == [5] * len(drawn)
    assert not [name for name in names_below(tmp_path) if ".part" in name]
    for folder in drawn:
        shutil.rmtree(folder)
    # as if the process had been killed
    left = tmp_path / short_demo[1].folder
    killed = left.with_name(f".{left.name}.part")
    killed.mkdir(parents=True)
    (killed / "999.png").write_bytes(b"half")
    assert draw_demo_datasets(tmp_path) == 3
    assert "999.png" not in names_below(left)
    assert not killed.exists()


def test_an_interrupted_drawing_ends_the_others_at_their_next_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted = itertools.count()

    def interrupt(scene: Scene) -> object:
        if next(painted) == 3:
            raise KeyboardInterrupt
        return paint(scene)

    monkeypatch.setattr(datasets, "paint", interrupt)
    with pytest.raises(KeyboardInterrupt):
        draw_demo_datasets(tmp_path)
    assert next(painted) < 3 * 160 / 2
    assert not list(tmp_path.rglob("*.png"))


# --- the judge


def test_the_judge_names_the_painter_s_own_pictures(small_judge: Judge) -> None:
    rng = random.Random(6)
    right = dict.fromkeys(WORDS, 0)
    for _ in range(60):
        scene = random_scene(rng)
        verdict = small_judge.name(_pixels(scene))
        for word in WORDS:
            right[word] += getattr(verdict, word) == getattr(scene, word)
    # one reference a combination; guessing would give a quarter, a fifth, a third and a twelfth
    assert right["time"] >= 57
    assert right["ground"] >= 54
    assert right["place"] >= 48
    assert right["subject"] >= 24


def test_the_judge_knows_its_own_references(small_judge: Judge) -> None:
    for scene in small_judge._scenes[::97]:
        verdict = small_judge.name(_pixels(scene), neighbours=1)
        assert [getattr(verdict, word) for word in WORDS] == [getattr(scene, word) for word in WORDS]


@pytest.mark.parametrize(("words", "word"), [("abb", "b"), ("aba", "a"), ("abc", "a"), ("cbaab", "b"), ("a", "a")])
def test_most_references_win_and_the_nearest_decides_a_tie(words: str, word: str) -> None:
    assert _vote(words) == word


def _gradient() -> Pixels:
    ramp = np.linspace(20, 220, 128).round().astype(np.uint8)
    return np.broadcast_to(ramp[None, :, None], (96, 128, 3)).copy()


def test_a_smooth_gradient_has_no_grid() -> None:
    assert border_step_ratio(_gradient()) == pytest.approx(1, abs=0.3)


def test_painted_skies_have_no_grid() -> None:
    rng = random.Random(8)
    ratios = [border_step_ratio(_pixels(random_scene(rng))) for _ in range(40)]
    assert np.median(ratios) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("step", [4, 12])
def test_a_patch_grid_is_seen(step: int) -> None:
    grid = np.kron(np.indices((6, 8)).sum(0) % 2, np.ones((16, 16), dtype=np.int64))[..., None] * step
    ratio = border_step_ratio((_gradient().astype(np.int64) + grid).clip(0, 255).astype(np.uint8))
    assert ratio > 2


def test_a_grid_between_the_patches_is_none() -> None:
    shifted = np.roll(_gradient(), 8, axis=1)
    assert border_step_ratio(shifted) < 1.3
