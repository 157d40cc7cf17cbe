"""The loss that the gate measures: of any dialect, over any captions, at noise and times that never change."""

from pathlib import Path

import numpy as np
import pytest

from sq_pipeline.adapters.reading import AS_LOADERS_MEAN
from sq_pipeline.adapters.source import AdapterSource, open_adapter
from sq_pipeline.base_models.base_models import BASE_MODELS, FLUX1_MODELS, SizePx
from sq_pipeline.common.errors import AdapterError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.trainers.mlx.validation_loss import MlxValidationMeter
from sq_pipeline.verification.ports import LossRequest
from sq_pipeline_tests.builders import make_image
from sq_pipeline_tests.loaders.dialect_files import DIALECTS
from sq_pipeline_tests.loaders.factors import Recipe

TINY = FLUX1_MODELS["tiny-flux"]
CAPTIONS = ("old_west", "a mill at noon")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = tuple(folder / f"{number}.png" for number in range(2))
    for number, path in enumerate(paths):
        make_image(number).save(path)
    return paths


def _measure(
    shipped: DataDir, pictures: tuple[Path, ...], *adapters: tuple[AdapterSource, float], model: str = "tiny-flux"
) -> np.ndarray:
    """(captions, 1 + adapters)."""
    request = LossRequest(
        BASE_MODELS[model],
        pictures,
        tuple((caption,) * len(pictures) for caption in CAPTIONS),
        adapters,
        SizePx(64, 48),
        4.0,
    )
    found = MlxValidationMeter(shipped).measure_losses(request)
    assert found is not None
    return np.array(found)


def _open(dialect: str, folder: Path) -> AdapterSource:
    built = DIALECTS[dialect][0](folder / f"{dialect}.safetensors", Recipe(base_model=TINY, seed=3))
    return open_adapter(built.path, options=AS_LOADERS_MEAN)


def test_one_update_costs_the_same_in_every_dialect_and_none_costs_nothing(
    shipped: DataDir, pictures: tuple[Path, ...], tmp_path: Path
) -> None:
    dialects = ("mlx", "bfl", "diffusers", "xlabs", "mflux-train")
    adapters = [(_open(dialect, tmp_path), 1.0) for dialect in dialects]
    losses = _measure(shipped, pictures, *adapters, (adapters[0][0], 0.0))
    assert losses.shape == (2, 7)
    base, *mine, none = losses.T
    np.testing.assert_array_equal(none, base)
    for dialect, loss in zip(dialects[1:3], mine[1:3], strict=True):
        np.testing.assert_allclose(loss, mine[0], rtol=1e-5, err_msg=dialect)
    assert (np.abs(mine[0] - base) > 1e-4).all()
    assert base[0] != base[1]  # captions count


def test_it_is_the_same_again_and_what_it_is_measured_beside_makes_no_difference(
    shipped: DataDir, pictures: tuple[Path, ...], tmp_path: Path
) -> None:
    adapter = (_open("mlx", tmp_path), 1.0)
    alone, beside = _measure(shipped, pictures), _measure(shipped, pictures, adapter)
    np.testing.assert_array_equal(alone[:, 0], beside[:, 0])
    np.testing.assert_array_equal(beside, _measure(shipped, pictures, adapter))


def test_an_adapter_of_other_widths_is_a_fault(shipped: DataDir, pictures: tuple[Path, ...], tmp_path: Path) -> None:
    built = DIALECTS["mlx"][0](tmp_path / "other.safetensors", Recipe())  # of a smaller model
    source = open_adapter(built.path, options=AS_LOADERS_MEAN)
    with pytest.raises(AdapterError, match="is no layer of this base model"):
        _measure(shipped, pictures, (source, 1.0))


def test_a_family_without_the_measure_says_none(shipped: DataDir, pictures: tuple[Path, ...]) -> None:
    request = LossRequest(BASE_MODELS["z-image-turbo"], pictures, (("a", "b"),), (), SizePx(64, 48), 4.0)
    assert MlxValidationMeter(shipped).measure_losses(request) is None
