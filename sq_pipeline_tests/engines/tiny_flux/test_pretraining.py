"""The pretraining from nothing, with numbers so small that it ends: its files, its going on, two processes."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from sq_pipeline.engines.tiny_flux.large import model, text
from sq_pipeline.engines.tiny_flux.large.pretraining import pretrain, text_step
from sq_pipeline.engines.tiny_flux.large.pretraining.kinds import KINDS, caption_of
from sq_pipeline.engines.tiny_flux.large.pretraining.pictures import HALF, WHOLE, draw_pictures
from sq_pipeline.engines.tiny_flux.large.pretraining.recipe import PretrainRecipe
from sq_pipeline.engines.tiny_flux.large.pretraining.transformer_step import train_transformer

pytestmark = [pytest.mark.long, pytest.mark.takes(s=60)]

SMALL = PretrainRecipe(
    tokenizer_captions=400, text_iterations=2, text_batch=4, codec_pictures=6, codec_iterations=2, codec_batch=2,
    pictures=24, half_iterations=2, half_batch=4, whole_iterations=2, whole_batch=4, warmup=1, checkpoint_every=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model's folder and a work folder, ready for the transformer."""
    out, work = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("work")
    pretrain.prepare(SMALL, out, work)
    return out, work


def _trained(begun: tuple[Path, Path], folder: Path, *, cut_off_after: int | None = None) -> dict[str, mx.array]:
    out, work = begun
    recipe = SMALL
    if cut_off_after is not None:
        recipe = replace(SMALL, half_iterations=cut_off_after, whole_iterations=0)
    parts = pretrain.prepare(SMALL, out, work)
    group = mx.distributed.init(backend="any")
    tokenizer = text.load_tokenizer(out / model.TOKENIZER_FILE)
    learned = draw_pictures(SMALL, parts.vae, tokenizer, work, 0, 1)
    folder.mkdir(exist_ok=True)
    train_transformer(recipe, parts, learned, folder, group)
    return dict(tree_flatten(parts.transformer.parameters()))


def test_kinds_share_all_pictures_and_have_the_shapes_of_the_tiers() -> None:
    assert sum(kind.share for kind in KINDS) == pytest.approx(1)
    assert [kind.size_px for kind in KINDS] == [(256, 192), (192, 256), (224, 224)]


def test_pictures_are_kept_with_their_captions(begun: tuple[Path, Path]) -> None:
    out, work = begun
    parts = pretrain.prepare(SMALL, out, work)
    tokenizer = text.load_tokenizer(out / model.TOKENIZER_FILE)
    drawn = draw_pictures(SMALL, parts.vae, tokenizer, work, 0, 1)
    again = draw_pictures(SMALL, parts.vae, tokenizer, work, 0, 1)
    for one, two in zip(drawn, again, strict=True):
        rows, columns = one.grid(WHOLE)
        assert one.rows == two.rows
        assert one.latents[WHOLE].shape == (len(one.rows), rows * columns, 64)
        assert one.latents[HALF].shape == (len(one.rows), np.prod(one.grid(HALF)), 64)
        assert np.array_equal(one.latents[WHOLE], two.latents[WHOLE])


def test_a_training_that_was_cut_off_goes_on(begun: tuple[Path, Path], tmp_path: Path) -> None:
    _trained(begun, tmp_path / "cut", cut_off_after=1)
    saved = mx.load(str(tmp_path / "cut/transformer.checkpoint.safetensors"))
    assert isinstance(saved, dict)
    assert saved["iteration"].item() == 1
    _trained(begun, tmp_path / "cut")
    saved = mx.load(str(tmp_path / "cut/transformer.checkpoint.safetensors"))
    assert isinstance(saved, dict)
    assert saved["iteration"].item() == SMALL.half_iterations + SMALL.whole_iterations


def test_two_processes_make_one_model_that_can_be_read(tmp_path: Path) -> None:
    options = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in SMALL.__dict__.items()
        if value != getattr(PretrainRecipe(), name)
    ]
    command = [
        sys.executable,
        "-m",
        pretrain.MODULE,
        str(tmp_path / "model"),
        "--work",
        str(tmp_path / "work"),
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    parts = model.load_parts(tmp_path / "model")
    for module in parts.modules().values():
        for name, array in tree_flatten(module.parameters()):
            assert mx.isfinite(array).all().item(), name
    told = json.loads((tmp_path / "model/config.json").read_text())
    assert (told["version"], told["trained_with"]["half_iterations"]) == (2, SMALL.half_iterations)
    size = sum((tmp_path / "model" / name).stat().st_size for name in ("model.safetensors", "tokenizer.json"))
    assert size <= 20_000_000


def test_every_list_of_words_is_asked_of_the_reader(begun: tuple[Path, Path]) -> None:
    out, work = begun
    reader = text_step.Reader(pretrain.prepare(SMALL, out, work))
    assert len(reader.heads) == 1 + sum(len(kind.words) for kind in KINDS)


def test_a_vague_caption_leaves_words_open() -> None:
    rng = random.Random(2)
    for kind in KINDS:
        told = [caption_of(kind, kind.random_scene(rng), rng, 1.0, is_short=True)[1] for _ in range(30)]
        open_words = [word == "" for words in told for word in words.values()]
        assert 0.4 < np.mean(open_words) < 0.8
