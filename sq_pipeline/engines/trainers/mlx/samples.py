"""Samples of a training: the same prompts and seeds at each interval, as a strip. Not here: all strips."""

import logging
from pathlib import Path

import mlx.core as mx
import numpy as np
from PIL import Image

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.common.atomic import atomic_path
from sq_pipeline.common.errors import StorageError
from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.flux.sampler import sample_tokens
from sq_pipeline.engines.trainers.mlx.base import TrainingBase
from sq_pipeline.engines.trainers.mlx.encoded_dataset import EncodedDataset
from sq_pipeline.training.recipe import Recipe

_log = logging.getLogger(__name__)

_GAP_PX = 4
_MARK = "sample.drawing"  # the iteration whose strip is being drawn


class SampleStrips:
    """Draws a strip of the dataset's sample prompts, side by side, into `folder` as `sample-<iteration>.png`."""

    def __init__(self, folder: Path, base: TrainingBase, dataset: EncodedDataset, recipe: Recipe, size: SizePx) -> None:
        self._folder, self._base, self._dataset, self._recipe, self._size = folder, base, dataset, recipe, size

    def is_due(self, iteration: int) -> bool:
        """At the start, at each interval, and at the end; never where there are no prompts."""
        if self._dataset.sample_text is None:
            return False
        return iteration % self._recipe.sample_interval == 0 or iteration == self._recipe.iterations

    def try_to_draw(self, network: Flux, iteration: int) -> Path | None:
        """As `draw`; what is in the way is a warning, since an adapter is the same without samples.

        One in which the process was ended before is not tried again: it may end it each time.
        """
        mark = self._folder / _MARK
        try:
            if mark.exists() and mark.read_text() == str(iteration):
                _log.warning(
                    "warning: no sample after iteration %d: the last process ended while it drew it", iteration
                )
                mark.unlink()
                return None
            mark.write_text(str(iteration))
            try:
                return self.draw(network, iteration)
            finally:
                mark.unlink()
        except (MemoryError, RuntimeError, OSError, StorageError) as error:  # MLX has RuntimeError for most
            told = str(error).splitlines()[0] if str(error) else "memory ran out"
            _log.warning("warning: no sample after iteration %d (%s); the training goes on without it", iteration, told)
            self._base.encoders.free()
            mx.clear_cache()
            return None

    def draw(self, network: Flux, iteration: int) -> Path:
        """Draw and write one strip, whole or not at all. Raises StorageError."""
        text, pooled = self._dataset.sample_text, self._dataset.sample_pooled
        assert text is not None
        assert pooled is not None
        grid = (self._size.height_px // 16, self._size.width_px // 16)
        sigmas = self._base.sigmas(self._size)
        pictures: list[np.ndarray] = []
        for number in range(text.shape[0]):
            one = slice(number, number + 1)
            tokens = sample_tokens(
                network,
                text[one],
                pooled[one],
                seed=number,
                sigmas=sigmas,
                grid=grid,
                guidance=self._base.base_model.guidance,
            )
            pictures.append(self._base.encoders.decode(tokens, grid)[0])
            mx.clear_cache()
        gap = np.full((self._size.height_px, _GAP_PX, 3), 255, np.uint8)
        parts = [part for picture in pictures for part in (gap, picture)][1:]
        path = self._folder / f"sample-{iteration:07d}.png"
        with atomic_path(path) as part:
            Image.fromarray(np.concatenate(parts, axis=1)).save(part, format="PNG")
        return path

    def drawn(self, until: int) -> tuple[tuple[int, Path], ...]:
        """The strips that are there, up to an iteration, by iteration."""
        found = ((int(path.stem.partition("-")[2]), path) for path in sorted(self._folder.glob("sample-*.png")))
        return tuple((iteration, path) for iteration, path in found if iteration <= until)
