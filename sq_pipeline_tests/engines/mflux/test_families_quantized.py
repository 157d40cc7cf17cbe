"""Z-Image and FLUX.2 at 8 and 4 bits, through mflux's own loading, at the least widths that can be quantized."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.base_models import RenderBits, quantized
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.pictures.ports import Renderer, RenderRequest
from sq_pipeline.verification.thresholds import FidelityThresholds
from sq_pipeline.verification.verdicts import judge_fidelity

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
from mflux.models.common.config.model_config import ModelConfig
from mflux.models.z_image.variants.z_image import ZImage
from mflux.models.z_image.weights.z_image_weight_definition import ZImageWeightDefinition

from sq_pipeline.engines.mflux.families import shapes_of
from sq_pipeline.engines.mflux.pipelines import open_pipeline
from sq_pipeline_tests.engines.mflux.small_families import QUANTIZABLE, small, small_sizes, write_folder
from sq_pipeline_tests.engines.mflux.test_families import FAMILIES, measure, write_adapter


@pytest.fixture(scope="module")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataDir]:
    """As in `test_families`, at the other widths."""
    root = tmp_path_factory.mktemp("families")
    for name in FAMILIES:
        write_folder(small(name, QUANTIZABLE), root / "models" / name, QUANTIZABLE)
    mx.disable_compile()
    try:
        with small_sizes(QUANTIZABLE):
            yield DataDir(root)
    finally:
        mx.enable_compile()


@pytest.mark.long
@pytest.mark.parametrize(("name", "bits"), [("z-image", 4), ("flux2-klein-4b", 8)])
def test_a_quantized_model_makes_almost_the_picture_and_takes_an_adapter_whole(
    name: str, bits: RenderBits, small_data: DataDir, tmp_path: Path
) -> None:
    renderer: Renderer = factory.renderer(small_data)
    base_model = quantized(small(name, QUANTIZABLE), bits)
    request = RenderRequest(base_model.name, "a mill at noon", 3, 2, 48, 32, base_model.guidance)
    plain = renderer.render(replace(request, base_model=name)).pixels.astype(int)
    rough = renderer.render(request).pixels
    assert 0 < np.abs(rough - plain).mean() < {8: 1, 4: 12}[bits]  # of 255
    use = AdapterUse(write_adapter(small(name, QUANTIZABLE), tmp_path / "a.safetensors"), 1.0)
    styled = renderer.render(replace(request, adapters=(use,)))
    assert (styled.applied[0].is_whole, styled.applied[0].layers_patched) == (True, len(shapes_of(base_model)))
    assert np.abs(styled.pixels - plain).mean() > 3
    assert np.array_equal(rough, renderer.render(request).pixels)
    report = measure(base_model, use.path)
    assert (report.mode, report.base_model) == (f"unbaked over {bits}-bit weights, float32", f"{name}-{bits}bit")
    assert judge_fidelity(report, FidelityThresholds()).outcome == "passed"


def test_files_that_are_stored_at_other_bits_are_not_taken_for_these(small_data: DataDir, tmp_path: Path) -> None:
    """mflux keeps the bits of the files, and says so to a standard output that nobody sees."""
    base_model, folder = small("z-image", QUANTIZABLE), small_data.models_root / "z-image"
    with patch.object(ZImageWeightDefinition, "get_tokenizers", list):
        ZImage(quantize=8, model_path=str(folder), model_config=ModelConfig.z_image()).save_model(str(tmp_path))
    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    open_pipeline(quantized(base_model, 8), tmp_path)
    with pytest.raises(BaseModelError, match=r"have not the 4 bits of z-image-4bit \(.*: 8 bits\).*use z-image, or"):
        open_pipeline(quantized(base_model, 4), tmp_path)
