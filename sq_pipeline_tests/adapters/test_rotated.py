"""The null of an adapter: as strong as the file itself in every layer, and without its meaning."""

from pathlib import Path

import numpy as np
import pytest

from sq_pipeline.adapters.reading import AS_LOADERS_MEAN
from sq_pipeline.adapters.rotated import write_rotated
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.source import AdapterSource, open_adapter
from sq_pipeline_tests.loaders.dialect_files import DIALECTS
from sq_pipeline_tests.loaders.factors import Dtype, Recipe


def _updates(source: AdapterSource) -> dict[str, np.ndarray]:
    return {
        slot: source.numbers(patch.up).astype(np.float64) @ source.numbers(patch.down)
        for slot, patch in source.patches.items()
    }


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "mflux-tiled"])  # which no loader takes
def test_each_update_keeps_its_size_and_its_singular_values_and_loses_its_direction(
    dialect: str, dtype: Dtype, tmp_path: Path
) -> None:
    built = DIALECTS[dialect][0](tmp_path / "mine.safetensors", Recipe(dtype=dtype))
    source = open_adapter(built.path, options=AS_LOADERS_MEAN)
    target = tmp_path / "null.safetensors"
    write_rotated(source, target)
    null = open_adapter(target, options=AS_LOADERS_MEAN)
    assert null.patches == source.patches  # names, shapes, scales
    assert null.file.metadata == source.file.metadata
    before, after = _updates(source), _updates(null)
    for slot, update in before.items():
        sizes = [np.linalg.svd(each, compute_uv=False) for each in (update, after[slot])]
        np.testing.assert_allclose(*sizes, rtol=1e-3, atol=1e-6 * float(np.abs(update).max(initial=1)))
    overlaps = [np.sum(before[slot] * after[slot]) / np.sum(before[slot] ** 2) for slot in before]
    assert abs(float(np.mean(overlaps))) < 0.3


def test_equal_files_have_equal_nulls_and_what_a_layer_listens_to_stays(tmp_path: Path) -> None:
    built = DIALECTS["diffusers"][0](tmp_path / "mine.safetensors", Recipe())
    source = open_adapter(built.path, options=AS_LOADERS_MEAN)
    for name in ("one", "two"):
        write_rotated(source, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    null = open_safetensors(tmp_path / "one.safetensors")
    downs = {patch.down.key for patch in source.patches.values()}
    assert all((null.read(key) == source.file.read(key)).all() for key in downs)
