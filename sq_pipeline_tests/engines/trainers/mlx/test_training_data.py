"""What a training sees and shows: crops, buckets, validation losses, the prior, samples, kept adapters."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from PIL import Image

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.base_models.base_models import BASE_MODELS, SizePx
from sq_pipeline.common.errors import DatasetError, TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.engines.tiny_flux.encoders import TinyEncoders
from sq_pipeline.engines.trainers.mlx.base import TrainingBase, open_training_base
from sq_pipeline.engines.trainers.mlx.crops import plan_crops, plan_plain_crops
from sq_pipeline.engines.trainers.mlx.dataset_encoding import add_prior, encode_dataset
from sq_pipeline.engines.trainers.mlx.encoded_dataset import Bucket, EncodedDataset
from sq_pipeline.engines.trainers.mlx.loop import TrainingLoop
from sq_pipeline.engines.trainers.mlx.lora_layers import add_recipe_lora
from sq_pipeline.engines.trainers.mlx.validation_loss import MlxValidationMeter, ValidationLoss
from sq_pipeline.pictures.ports import Renderer, RenderRequest
from sq_pipeline.training.memory import TrainingSettings
from sq_pipeline.training.plan import TrainingPlan, crops_of, plan_training
from sq_pipeline.training.ports import (
    CheckpointPlace,
    TrainingExample,
    TrainProgress,
    TrainRequest,
    TrainResult,
    ValidationRequest,
)
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.engines.conftest import RECIPE
from sq_pipeline_tests.parts import rest_is_long

Examples = tuple[TrainingExample, ...]
TINY = BASE_MODELS["tiny-flux"]


@pytest.fixture(scope="module")
def base(shipped: DataDir) -> TrainingBase:
    return open_training_base(TINY, shipped)


def _recipe(**changes: object) -> Recipe:
    return RECIPE.model_validate({**RECIPE.model_dump(), **changes})


def _plan(examples: Sequence[TrainingExample], recipe: Recipe) -> TrainingPlan:
    return plan_training(recipe, "tiny-flux", [example.caption for example in examples])


def _picture(folder: Path, name: str, width_px: int, height_px: int) -> Path:
    """A ramp across and a ramp down, so that a cut tells where it is from."""
    across, down = np.meshgrid(np.linspace(0, 255, width_px), np.linspace(0, 255, height_px))
    pixels = np.stack([across, down, np.full_like(across, 128)], axis=-1)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
    return folder / name


# --- views


def test_views_are_cuts_of_four_fifths_to_all_of_a_picture(tmp_path: Path) -> None:
    path = _picture(tmp_path, "a.png", 640, 480)
    crops = crops_of(Recipe(num_augmentations=40), TINY.training_size)
    (picture,) = plan_crops([path], crops, np.random.default_rng(1))
    widths = [view.box[2] - view.box[0] for view in picture.crops]
    assert len(picture.crops) == 40
    assert all(0 <= view.box[0] <= view.box[2] <= 640 for view in picture.crops)
    assert all(0 <= view.box[1] <= view.box[3] <= 480 for view in picture.crops)
    assert min(widths) >= 0.8 * 640 - 1e-6
    assert max(widths) - min(widths) > 0.1 * 640
    assert [pixels.shape for pixels in picture.pixels()] == [(96, 128, 3)] * 40
    assert plan_crops([path], crops, np.random.default_rng(1)) == [picture]


def test_a_picture_of_the_training_size_has_one_view_and_is_not_touched(tmp_path: Path) -> None:
    path = _picture(tmp_path, "a.png", 128, 96)
    (picture,) = plan_crops([path], crops_of(Recipe(), TINY.training_size), np.random.default_rng(1))
    assert len(picture.crops) == 1
    assert (picture.pixels()[0] == np.asarray(Image.open(path))).all()


def test_a_flip_shows_pictures_both_ways(tmp_path: Path) -> None:
    path = _picture(tmp_path, "a.png", 128, 96)
    crops = crops_of(Recipe(flip=True, num_augmentations=8), TINY.training_size)
    (picture,) = plan_crops([path], crops, np.random.default_rng(1))
    as_it_is, mirrored = sorted(picture.pixels(), key=lambda pixels: pixels[0, 0, 0])
    assert (mirrored == as_it_is[:, ::-1]).all()


def test_buckets_cut_off_less(tmp_path: Path) -> None:
    wide, high = _picture(tmp_path, "wide.png", 400, 200), _picture(tmp_path, "high.png", 200, 400)
    planned = plan_plain_crops([wide, high], crops_of(Recipe(aspect_buckets=True), TINY.training_size))
    sizes = [picture.crops[0].size for picture in planned]
    assert sizes == [SizePx(144, 80), SizePx(80, 144)]
    for picture, whole in zip(planned, ((400, 200), (200, 400)), strict=True):
        left, top, right, bottom = picture.crops[0].box
        assert (right - left) * (bottom - top) > 0.85 * whole[0] * whole[1]


def test_pictures_that_would_be_scaled_up_are_all_named(tmp_path: Path) -> None:
    paths = [_picture(tmp_path, f"{width}.png", width, 96) for width in (120, 128, 127)]
    with pytest.raises(DatasetError) as caught:
        plan_crops(paths, crops_of(Recipe(), TINY.training_size), np.random.default_rng(0))
    assert [Path(fault.file).name for fault in caught.value.faults] == ["120.png", "127.png"]


# --- encoding


def test_a_hundred_and_fifty_pictures_with_one_caption_encode_the_text_once(
    base: TrainingBase, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    encode = TinyEncoders.encode_captions

    def count(self: TinyEncoders, captions: Sequence[str]):
        asked.append(len(captions))
        return encode(self, captions)

    monkeypatch.setattr(TinyEncoders, "encode_captions", count)
    many = tuple(TrainingExample(examples[n % 12].image_path, "one caption") for n in range(150))
    dataset = encode_dataset(base, many, _plan(many, RECIPE), ())
    assert asked == [1]
    assert dataset.text.shape[0] == 1
    assert len(dataset.validation[0].latent_of) == 8
    assert len(dataset.buckets[0].latent_of) == 142


def _described(examples: Examples) -> Examples:
    return tuple(replace(example, caption=f"test_print, scene {n}") for n, example in enumerate(examples))


def _drawn(base: TrainingBase, dataset: EncodedDataset, recipe: Recipe, batches: int = 60) -> list[int]:
    """The numbers of the captions that a training draws."""
    drawn: list[int] = []

    class Noting(TrainingLoop):
        def _draw_crops(self) -> tuple[Bucket, mx.array, list[int]]:
            found = super()._draw_crops()
            drawn.extend(found[2])
            return found

    network = base.load_network(TrainingSettings(16, False))
    add_recipe_lora(network, recipe)
    loop = Noting(network, dataset, recipe, base.time_curve)
    for _ in range(batches):
        loop._draw()
    return drawn


def test_with_both_styles_half_of_the_draws_show_the_bare_trigger(base: TrainingBase, examples: Examples) -> None:
    prior = {"prior_mix": 0.4, "prior_prompts": ("a lake at noon", "a mill"), "prior_pictures": 2}
    recipe, given = _recipe(caption_styles=("trigger", "sentence"), **prior), _described(examples)
    plan = _plan(given, recipe)
    dataset = encode_dataset(base, given, plan, ())
    dataset = add_prior(dataset, base, base.load_network(TrainingSettings(16, False)), plan)
    assert dataset.bare is not None
    assert dataset.text.shape[0] == plan.captions + 2 == 12 + 1 + 2
    drawn = _drawn(base, dataset, recipe)
    bare, prior_draws = drawn.count(dataset.bare), sum(n in dataset.prior_texts for n in drawn)
    assert len(drawn) == 240
    assert 0.25 < prior_draws / 240 < 0.55
    assert 0.35 < bare / (240 - prior_draws) < 0.65  # of the dataset's; the base model's are never under it
    assert len(set(drawn)) == 11 + 1 + 2  # one of twelve is held out


@pytest.mark.parametrize("styles", [("trigger",), ("sentence",)])
def test_with_one_style_each_picture_has_its_caption(
    styles: tuple[str, ...], base: TrainingBase, examples: Examples
) -> None:
    recipe, given = _recipe(caption_styles=styles), _described(examples)
    dataset = encode_dataset(base, given, _plan(given, recipe), ())
    assert dataset.bare is None
    (bucket,) = dataset.buckets
    assert sorted(set(_drawn(base, dataset, recipe))) == sorted(bucket.caption_of)


def test_the_validation_loss_is_of_captions_as_they_are_trained(
    train: Callable[..., tuple[TrainResult, list[TrainProgress]]],
    base: TrainingBase,
    shipped: DataDir,
    examples: Examples,
    tmp_path: Path,
) -> None:
    # one sentence for all: tiny-flux's texts are padded to the longest of those that are encoded together
    given = tuple(replace(example, caption="test_print, a mill at noon") for example in examples)
    losses: dict[tuple[str, ...], float] = {}
    for styles in (("trigger", "sentence"), ("sentence",)):
        recipe = _recipe(caption_styles=styles, iterations=1, batch_size=1)
        result, _ = train(tmp_path / str(len(styles)), recipe, given=given)
        measured = MlxValidationMeter(shipped).measure(ValidationRequest("tiny-flux", given, recipe, ()))
        assert measured is not None
        losses[styles] = measured.base
        assert measured.base == pytest.approx(result.validation[0][1], rel=1e-5)
    # of two looks at a picture one has the bare trigger
    recipe = _recipe(caption_styles=("trigger", "sentence"))
    dataset = encode_dataset(base, given, _plan(given, recipe), ())
    ((*_, captions, _grid),) = ValidationLoss(dataset, recipe, base.time_curve)._looks
    assert captions.tolist() == [dataset.bare, dataset.validation[0].caption_of[0]]
    assert len(set(losses.values())) == 2


def test_each_picture_counts_alike_however_many_views_it_has(base: TrainingBase, tmp_path: Path) -> None:
    paths = [_picture(tmp_path, "large.png", 640, 480), _picture(tmp_path, "exact.png", 128, 96)]
    examples = [TrainingExample(path, path.stem) for path in paths]
    (bucket,) = encode_dataset(base, examples, _plan(examples, Recipe(num_augmentations=4)), ()).buckets
    assert bucket.latents.shape == (5, 48, 64)
    assert bucket.latent_of == (0, 1, 2, 3, 4, 4, 4, 4)
    assert bucket.caption_of == (1, 1, 1, 1, 0, 0, 0, 0)  # texts are in order of the alphabet


def test_the_prior_is_what_the_renderer_makes_of_its_prompts(
    base: TrainingBase, examples: Examples, renderer: Renderer
) -> None:
    prompts = ("a tower in the snow at night", "a lake at noon")
    recipe = _recipe(prior_mix=0.5, prior_prompts=prompts, prior_pictures=3, seed=5)
    plan = _plan(examples, recipe)
    network = base.load_network(TrainingSettings(16, False))
    dataset = add_prior(encode_dataset(base, examples, plan, ()), base, network, plan)
    (bucket,) = dataset.prior
    assert [dataset.prior_texts.index(caption) for caption in bucket.caption_of] == [0, 1, 0]
    for number in (0, 2):  # the longest text, which needs no padding
        mine = base.encoders.decode(bucket.latents[number : number + 1], bucket.grid)[0]
        request = RenderRequest("tiny-flux", prompts[0], 5 + number, 8, 128, 96, None)
        theirs = renderer.render(request).pixels
        assert np.abs(mine.astype(int) - theirs.astype(int)).max() <= 1


# --- a whole training


@pytest.fixture(scope="module")
def train(shipped: DataDir, examples: Examples) -> Callable[..., tuple[TrainResult, list[TrainProgress]]]:
    def run(folder: Path, recipe: Recipe, prompts: tuple[str, ...] = (), given: Examples = examples):
        told: list[TrainProgress] = []
        place = CheckpointPlace(folder / "checkpoints", "sha256:this")
        request = TrainRequest("tiny-flux", given, recipe, folder / "a.safetensors", place, prompts)
        return factory.trainer(shipped).train(request, told.append), told

    return run


@pytest.mark.long
def test_samples_validation_losses_and_kept_adapters_change_nothing(
    train: Callable[..., tuple[TrainResult, list[TrainProgress]]],
    shipped: DataDir,
    examples: Examples,
    renderer: Renderer,
    tmp_path: Path,
) -> None:
    recipe = _recipe(checkpoint_interval=2, sample_interval=3, kept_checkpoints=3)
    prompts = ("a stone tower in the snow in the centre at night", "a church at noon")
    result, told = train(tmp_path / "told", recipe, prompts)
    plain = TrainRequest("tiny-flux", examples, RECIPE, tmp_path / "plain.safetensors")
    factory.trainer(shipped).train(plain, lambda _: None)
    assert (tmp_path / "told" / "a.safetensors").read_bytes() == plain.output_path.read_bytes()

    assert [at for at, _ in result.validation] == [0, 2, 4, 6]
    assert [progress.iteration for progress in told if progress.validation_loss is not None] == [2, 4, 6]
    assert [at for at, _ in result.samples] == [0, 3, 6]
    assert [progress.sample for progress in told if progress.sample] == [path for _, path in result.samples[1:]]
    assert all(progress.memory_bytes for progress in told)
    assert [kept.iteration for kept in result.kept] == [2, 4, 6]
    assert result.kept[-1].path == tmp_path / "told" / "a.safetensors"

    # the first sample is what mflux renders without an adapter
    with Image.open(result.samples[0][1]) as image:
        strip = np.asarray(image)
    assert strip.shape == (96, 128 + 4 + 128, 3)
    request = RenderRequest("tiny-flux", prompts[0], 0, 8, 128, 96, None)
    assert np.abs(strip[:, :128].astype(int) - renderer.render(request).pixels.astype(int)).max() <= 1

    # the meter says of the files what the training said of itself
    uses = tuple(AdapterUse(kept.path, 1.0) for kept in result.kept)
    asked = ValidationRequest("tiny-flux", examples, recipe, (*uses, AdapterUse(uses[-1].path, 0.0)))
    measured = MlxValidationMeter(shipped).measure(asked)
    assert measured is not None
    assert measured.pairs == 1
    assert [measured.base, *measured.losses[:3]] == pytest.approx([loss for _, loss in result.validation], rel=1e-5)
    assert measured.losses[3] == pytest.approx(measured.base, rel=1e-6)


def test_too_small_a_dataset_holds_nothing_out(
    train: Callable[..., tuple[TrainResult, list[TrainProgress]]],
    shipped: DataDir,
    examples: Examples,
    tmp_path: Path,
) -> None:
    result, _ = train(tmp_path, _recipe(iterations=2), given=examples[:9])
    assert result.validation == ()
    assert MlxValidationMeter(shipped).measure(ValidationRequest("tiny-flux", examples[:9], RECIPE, ())) is None


@pytest.mark.parametrize(
    "changes",
    rest_is_long(
        [
            {"aspect_buckets": True},
            {"flip": True, "num_augmentations": 3},
            {"caption_dropout": 0.5},
            {"caption_styles": ("trigger", "sentence")},
            {"prior_mix": 0.5, "prior_prompts": ("a lake at noon",), "prior_pictures": 2},
            {"resolution": (96, 96)},
            {"alpha": 2.0},
            {"modules": ("single_blocks.*", "*.img_attn.qkv")},
        ],
        "flip",
        "alpha",
        name=lambda changes: next(iter(changes)),
    ),
)
def test_what_a_recipe_asks_for_changes_the_adapter_and_can_be_continued(
    train: Callable[..., tuple[TrainResult, list[TrainProgress]]],
    shipped: DataDir,
    tmp_path: Path,
    changes: dict[str, object],
) -> None:
    shapes = [(160, 96), (128, 144), (128, 96), (200, 150), (96, 160), (160, 120)]
    pairs = []
    for number, (width_px, height_px) in enumerate(shapes):
        is_small = min(width_px, height_px) < 96 or width_px < 128
        if is_small and "aspect_buckets" not in changes and "resolution" not in changes:
            width_px, height_px = 200, 120
        path = _picture(tmp_path, f"{number}.png", width_px, height_px)
        pairs.append(TrainingExample(path, f"picture {number}"))
    given = tuple(pairs)
    recipe = _recipe(**changes, iterations=4, batch_size=2, checkpoint_interval=1)
    same = dict.fromkeys(changes)
    without = Recipe.model_validate({k: v for k, v in recipe.model_dump().items() if k not in same})
    result, _ = train(tmp_path / "asked", recipe, given=given)
    names = set(open_safetensors(tmp_path / "asked" / "a.safetensors").tensors)
    assert all(np.isfinite(result.losses))
    if "aspect_buckets" not in changes and "resolution" not in changes:
        train(tmp_path / "without", without, given=given)
        assert (tmp_path / "asked/a.safetensors").read_bytes() != (tmp_path / "without/a.safetensors").read_bytes()
    if "modules" in changes:
        kinds = {name.rpartition(".")[0].split(".", 2)[2] for name in names}
        assert kinds == {"linear1", "linear2", "modulation.lin", "img_attn.qkv"}

    def interrupt(progress: TrainProgress) -> None:
        if progress.iteration == 3:
            raise KeyboardInterrupt

    place = CheckpointPlace(tmp_path / "cut" / "checkpoints", "sha256:this")
    request = TrainRequest("tiny-flux", given, recipe, tmp_path / "cut" / "a.safetensors", place)
    with pytest.raises(KeyboardInterrupt):
        factory.trainer(shipped).train(request, interrupt)
    continued = factory.trainer(shipped).train(request, lambda _: None)
    assert continued.resumed_at == (2,)
    assert request.output_path.read_bytes() == (tmp_path / "asked" / "a.safetensors").read_bytes()


def test_modules_that_are_none_are_all_named(
    train: Callable[..., tuple[TrainResult, list[TrainProgress]]], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError) as caught:
        train(tmp_path, _recipe(modules=("*.qkv", "triple_blocks.*", "nothing")))
    assert [fault.field for fault in caught.value.faults] == ["modules[1]", "modules[2]"]


def test_a_continued_training_encodes_nothing_again(
    train: Callable[..., tuple[TrainResult, list[TrainProgress]]],
    shipped: DataDir,
    examples: Examples,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = CheckpointPlace(tmp_path / "checkpoints", "sha256:this")
    request = TrainRequest("tiny-flux", examples, RECIPE, tmp_path / "a.safetensors", place)

    def interrupt(progress: TrainProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        factory.trainer(shipped).train(request, interrupt)
    monkeypatch.delattr(TinyEncoders, "encode_pictures")
    monkeypatch.delattr(TinyEncoders, "encode_captions")
    assert len(factory.trainer(shipped).train(request, lambda _: None).losses) == RECIPE.iterations


def test_captions_that_would_be_cut_are_all_named(base: TrainingBase, examples: Examples) -> None:
    long = [TrainingExample(examples[n].image_path, f"{n} " + "a tower by the lake " * 40) for n in range(2)]
    with pytest.raises(TrainingError) as caught:
        encode_dataset(base, [*long, examples[2]], _plan([*long, examples[2]], RECIPE), ())
    assert len(caught.value.faults) == 2
    assert all("96 are read" in fault.problem for fault in caught.value.faults)
