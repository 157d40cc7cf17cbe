"""Rendering tiny-flux through mflux: the same request, the same picture; what would be wrong is an error."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.keymap_files import select_keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.errors import BaseModelError, RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.pictures.ports import Renderer, RenderRequest
from sq_pipeline.training.ports import TrainingExample, TrainRequest
from sq_pipeline.verification.ssim import ssim
from sq_pipeline_tests.engines.conftest import RECIPE, TRIGGER

REQUEST = RenderRequest(
    base_model="tiny-flux",
    positive_prompt="an old windmill on the left of the meadow at noon",
    seed=7,
    num_inference_steps=4,
    width_px=128,
    height_px=96,
    guidance=None,
)


@pytest.fixture(scope="session")
def adapter(
    shipped: DataDir, examples: tuple[TrainingExample, ...], tmp_path_factory: pytest.TempPathFactory
) -> AdapterUse:
    """A really trained and remapped adapter."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = RECIPE.model_copy(update={"iterations": 12})
    request = TrainRequest("tiny-flux", examples, recipe, folder / "mlx.safetensors")
    factory.trainer(shipped).train(request, lambda progress: None)
    keymap = select_keymap(shipped.keymaps_root, "mflux", "0.24.0")
    remap_adapter(folder / "mlx.safetensors", folder / "a.safetensors", keymap, BASE_MODELS["tiny-flux"])
    return AdapterUse(folder / "a.safetensors", 1.0)


def test_same_request_same_pixels(renderer: Renderer) -> None:
    first, second = renderer.render(REQUEST).pixels, renderer.render(REQUEST).pixels
    assert first.shape == (96, 128, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    "change",
    [{"seed": 8}, {"positive_prompt": "a church in the snow at night, on the right"}, {"num_inference_steps": 5}],
)
def test_each_input_counts(change: dict[str, object], renderer: Renderer) -> None:
    assert not np.array_equal(renderer.render(REQUEST).pixels, renderer.render(replace(REQUEST, **change)).pixels)


def test_the_negative_prompt_is_not_read(renderer: Renderer) -> None:
    """FLUX.1 takes none; `base_models.base_models` says so, and a change of it makes no picture again."""
    asked = renderer.render(replace(REQUEST, negative_prompt="text, watermark, modern buildings"))
    assert np.array_equal(renderer.render(REQUEST).pixels, asked.pixels)
    assert not BASE_MODELS["tiny-flux"].reads_negative_prompt


def test_an_adapter_changes_the_picture_and_comes_off_again(renderer: Renderer, adapter: AdapterUse) -> None:
    plain = renderer.render(REQUEST)
    styled = renderer.render(replace(REQUEST, adapters=(adapter,), positive_prompt=f"{TRIGGER}, a windmill at noon"))
    again = renderer.render(REQUEST)
    assert plain.applied == ()
    assert styled.applied[0].is_whole
    assert np.array_equal(plain.pixels, again.pixels)
    same_text = renderer.render(replace(REQUEST, adapters=(adapter,)))
    assert ssim(plain.pixels, same_text.pixels) < 0.999


def test_scale_counts(renderer: Renderer, adapter: AdapterUse) -> None:
    weak, strong = (
        renderer.render(replace(REQUEST, adapters=(replace(adapter, lora_scale=lora_scale),))).pixels
        for lora_scale in (0.2, 1.0)
    )
    none = renderer.render(replace(REQUEST, adapters=(replace(adapter, lora_scale=0.0),))).pixels
    plain = renderer.render(REQUEST).pixels
    assert np.array_equal(none, plain)
    assert ssim(plain, strong) < ssim(plain, weak)


def test_one_load_serves_all(shipped: DataDir, adapter: AdapterUse) -> None:
    own = factory.renderer(shipped)
    assert own.model_loads == 0
    for adapters in ((), (adapter,), (), (replace(adapter, lora_scale=0.5),)):
        own.render(replace(REQUEST, adapters=adapters))
    assert own.model_loads == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width_px": 130}, "width_px: 130 is not a multiple of 16"),
        ({"height_px": 8}, "height_px: 8 is not a multiple of 16"),
        ({"positive_prompt": "a tower " * 100}, r"positive_prompt: \d+ tokens, 96 are read"),
    ],
)
def test_what_mflux_would_bend_silently_is_refused(change: dict[str, object], message: str, renderer: Renderer) -> None:
    with pytest.raises(RenderError, match=message):
        renderer.render(replace(REQUEST, **change))


def test_a_base_model_that_is_not_here_says_how_to_get_it(data: DataDir) -> None:
    with pytest.raises(BaseModelError, match=r"hf download black-forest-labs/FLUX.1-schnell"):
        factory.renderer(data).render(replace(REQUEST, base_model="schnell"))


@pytest.mark.parametrize("damage", ["missing", "cut", "renamed"])
def test_a_damaged_tiny_flux_is_one_clear_error(damage: str, shipped: DataDir, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "models" / "tiny-flux"
    folder.mkdir(parents=True)
    source = shipped.models_root / "tiny-flux"
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    weights = folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes((source / "model.safetensors").read_bytes()[:50_000])
    elif damage == "renamed":
        tensors = load_file(source / "model.safetensors")
        tensors["transformer.img_on.weight"] = tensors.pop("transformer.img_in.weight")
        save_file(tensors, weights)
    with pytest.raises(BaseModelError, match="restore"):
        factory.renderer(DataDir(tmp_path)).render(REQUEST)
