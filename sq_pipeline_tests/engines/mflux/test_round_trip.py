"""The round trip, with the real engines: trained here, remapped, put on, taken off.

With the adapter the same seed gives another picture, and without it again the same file as before, byte for byte.
"""

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.keymap_files import select_keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory, versions
from sq_pipeline.engines.mflux import ready_stacks
from sq_pipeline.pictures.applied import update_norm
from sq_pipeline.pictures.png_file import encode_png
from sq_pipeline.pictures.ports import RenderedImage, Renderer, RenderRequest
from sq_pipeline.pictures.rendering import render
from sq_pipeline.training.ports import TrainingExample, TrainRequest
from sq_pipeline_tests.engines.conftest import RECIPE, TRIGGER
from sq_pipeline_tests.spans import attributes, own_id, parent_id, recorded_spans

_LEAST_CHANGED = 0.001  # of the pixels
TINY = BASE_MODELS["tiny-flux"]
REQUEST = RenderRequest("tiny-flux", f"{TRIGGER}, a church on the right of the desert at dusk", 11, 4, 128, 96, None)


@pytest.fixture(scope="module")
def adapter(
    shipped: DataDir, examples: tuple[TrainingExample, ...], tmp_path_factory: pytest.TempPathFactory
) -> AdapterUse:
    folder: Path = tmp_path_factory.mktemp("round trip")
    trained, remapped = folder / "mlx.safetensors", folder / "mflux.safetensors"
    factory.trainer(shipped).train(TrainRequest("tiny-flux", examples, RECIPE, trained), lambda _: None)
    version = versions.describe_renderer().versions["mflux"]
    remap_adapter(trained, remapped, select_keymap(shipped.keymaps_root, "mflux", version), TINY)
    return AdapterUse(remapped, 1.0)


def file_of(image: RenderedImage) -> bytes:
    return encode_png(image.pixels, {"sq.place": "a/b/c"})


def test_an_adapter_changes_the_picture_and_leaves_no_trace(renderer: Renderer, adapter: AdapterUse) -> None:
    before = render(renderer, REQUEST)
    styled = render(renderer, replace(REQUEST, adapters=(adapter,)))
    after = render(renderer, REQUEST)
    (applied,) = styled.applied
    assert applied.is_whole
    assert (applied.keys_matched, applied.layers_patched) == (TINY.adapter_tensors, TINY.patched_layers)
    changed = (before.pixels != styled.pixels).any(axis=-1).mean()
    assert changed >= _LEAST_CHANGED
    assert np.array_equal(before.pixels, after.pixels)
    assert file_of(before) == file_of(after)
    assert file_of(before) != file_of(styled)
    norm = update_norm(adapter.path)
    assert norm is not None
    assert norm > 0


def test_swaps_are_told_inside_the_render_that_needs_them(
    renderer: Renderer, adapter: AdapterUse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready_stacks, "_YOUNG_NS", 0)  # the file was just written, and would be read each time
    render(renderer, REQUEST)
    with recorded_spans() as spans:
        for uses in ((adapter,), (adapter,), ()):
            render(renderer, replace(REQUEST, adapters=uses))
    renders, swaps = spans.named("flux_mlx.render"), spans.named("flux_mlx.swap_stack")
    assert [attributes(item)["render.lora.matched_keys"] for item in renders] == [(64,), (64,), ()]
    assert [attributes(item)["lora.stack_size"] for item in swaps] == [1, 0]
    assert [parent_id(item) for item in swaps] == [own_id(renders[0]), own_id(renders[2])]


@pytest.mark.parametrize("name", sorted(BASE_MODELS))
def test_the_scheduler_on_record_is_the_one_that_mflux_uses_unasked(name: str) -> None:
    from mflux.models.flux.variants.txt2img.flux import Flux1
    from mflux.models.flux2.variants.txt2img.flux2_klein import Flux2Klein
    from mflux.models.z_image.variants.z_image import ZImage

    base_model = BASE_MODELS[name]
    families = {"flux1": Flux1, "z-image": ZImage, "flux2": Flux2Klein}
    default = inspect.signature(families[base_model.family].generate_image).parameters["scheduler"].default
    if base_model.family == "z-image":  # decided there by whether the model takes a guidance
        assert default is None
        default = "linear" if base_model.guidance is None else "flow_match_euler_discrete"
    assert base_model.scheduler == default
