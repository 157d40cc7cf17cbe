"""The MLX LoRA trainer over FLUX.1 in the BFL layout. Implements `core.protocols.Trainer`.

Here: encoding once, the course of a training, its result. Not here: an iteration (`training_loop`), the layers and
the file (`lora_layers`), the network (`flux.network`), preflight and reports (`stages`).
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
from PIL import Image, ImageOps

from sq_pipeline.core.base_models import BaseModel, SizePx, resolve_base_model
from sq_pipeline.core.errors import BaseModelError, Fault, TrainingError
from sq_pipeline.core.fingerprints import fingerprint
from sq_pipeline.core.lineage import trained_values
from sq_pipeline.core.loss_watch import describe_fault, is_doubtful
from sq_pipeline.core.protocols import (
    EngineDescription,
    TrainingExample,
    TrainProgress,
    TrainRequest,
    TrainResult,
)
from sq_pipeline.core.recipe import Recipe
from sq_pipeline.engines import registry
from sq_pipeline.engines.checkpoints import Checkpoint, CheckpointFolder
from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.lora_layers import add_lora, save_adapter
from sq_pipeline.engines.tiny_flux import model as tiny_model
from sq_pipeline.engines.tiny_flux import vae as tiny_vae
from sq_pipeline.engines.tiny_flux.text import PAD, load_tokenizer
from sq_pipeline.engines.training_loop import EncodedDataset, LoopState, TrainingLoop
from sq_pipeline.storage.layout import DataDir

_log = logging.getLogger(__name__)
_ENCODE_BATCH = 32


class MlxLoraTrainer:
    """The `Trainer` of `core.protocols`, for the base models of a data directory."""

    def __init__(self, data: DataDir) -> None:
        self._data = data

    def describe(self) -> EngineDescription:
        """Name, versions and chip; see `registry.describe_trainer`."""
        return registry.describe_trainer()

    def train(self, request: TrainRequest, on_progress: Callable[[TrainProgress], None]) -> TrainResult:
        """Train one adapter; raises BaseModelError, TrainingError, StorageError. Interrupted, it leaves no adapter."""
        start = time.perf_counter()
        mx.reset_peak_memory()
        network, dataset = self._prepare(request)
        mx.eval(dataset.latents, dataset.text, dataset.pooled)
        encode_s = time.perf_counter() - start
        recipe = request.recipe
        mx.random.seed(recipe.seed)
        add_lora(network, recipe.rank)
        mx.eval(network.parameters())
        loop = TrainingLoop(network, dataset, recipe)
        folder = self._checkpoint_folder(request, dataset)
        losses, earlier_s, resumed_at = _resume(loop, folder)
        loop_start = time.perf_counter()
        while loop.iteration < recipe.iterations:
            losses.append(loop.advance())
            if problem := describe_fault(losses, loop.blank_loss):
                raise _stopped(problem, folder)
            elapsed_s = earlier_s + time.perf_counter() - loop_start
            on_progress(TrainProgress(loop.iteration, recipe.iterations, losses[-1], elapsed_s))
            if loop.iteration == recipe.iterations:
                _checked_state(loop, folder)
            elif (
                folder is not None
                and _is_due(folder, loop.iteration, recipe)
                and not is_doubtful(losses[-1], loop.blank_loss)
            ):
                elapsed_s = earlier_s + time.perf_counter() - loop_start
                folder.save(Checkpoint(_checked_state(loop, folder), tuple(losses), elapsed_s, resumed_at))
        tensors = save_adapter(request.output_path, network, recipe.rank)
        return TrainResult(
            losses=tuple(losses),
            wall_s=earlier_s + time.perf_counter() - start,
            encode_s=encode_s,
            tensors=tensors,
            peak_memory_bytes=mx.get_peak_memory(),
            resumed_at=resumed_at,
        )

    def _checkpoint_folder(self, request: TrainRequest, dataset: EncodedDataset) -> CheckpointFolder | None:
        if request.checkpoints is None:
            return None
        engine = self.describe()
        settled_by = {
            "request": request.checkpoints.identity,
            "recipe": trained_values(request.recipe),
            "base_model": request.base_model,
            "encoded": hash_encoded(dataset),
            "trainer": dict(engine.versions),
            "chip": engine.chip,  # another one's arithmetic would continue another run
        }
        return CheckpointFolder(request.checkpoints.folder, fingerprint(settled_by))

    def _prepare(self, request: TrainRequest) -> tuple[Flux, EncodedDataset]:
        base_model = resolve_base_model(request.base_model)
        folder = registry.base_model_folder(base_model, self._data)
        if base_model.name != "tiny-flux":
            raise BaseModelError(
                Fault(
                    "lora.yaml",
                    "base_model",
                    f"training over {base_model.name} is not built in",
                    "use tiny-flux",
                )
            )
        parts = tiny_model.load_parts(folder, fast_activations=mx.default_device() == mx.Device(mx.cpu))
        return parts.transformer, _encode(request.examples, parts, folder, base_model)


def _encode(
    examples: Sequence[TrainingExample],
    parts: tiny_model.TinyFluxParts,
    folder: Path,
    base_model: BaseModel,
) -> EncodedDataset:
    """Encode every image once and every distinct caption once."""
    size = base_model.training_size
    latents: list[mx.array] = []
    for first in range(0, len(examples), _ENCODE_BATCH):
        pixels = np.stack([read_image(e.image_path, size) for e in examples[first : first + _ENCODE_BATCH]])
        batch = mx.array(pixels.astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2)
        latents.append(tiny_vae.pack(parts.vae.encode(batch)))
        mx.eval(latents[-1])
    captions = sorted({example.caption for example in examples})
    index = {caption: number for number, caption in enumerate(captions)}
    tokenizer = load_tokenizer(folder / tiny_model.TOKENIZER_FILE)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(PAD), pad_token=PAD)
    tokenizer.enable_truncation(base_model.t5_token_budget)
    ids = mx.array([encoding.ids for encoding in tokenizer.encode_batch(captions)])
    return EncodedDataset(
        latents=mx.concatenate(latents),
        text=parts.t5(ids),
        pooled=parts.clip(ids),
        caption_of=mx.array([index[example.caption] for example in examples]),
        grid=(size.height_px // 16, size.width_px // 16),
    )


def read_image(path: Path, size: SizePx) -> np.ndarray:
    """RGB pixels of the training size; a larger image is scaled down to cover it and cut around its middle."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    wanted = (size.width_px, size.height_px)
    if image.size != wanted:
        image = ImageOps.fit(image, wanted, Image.Resampling.LANCZOS)
    return np.asarray(image)


def hash_encoded(dataset: EncodedDataset) -> str:
    """`sha256:…` of what training sees of the pictures and captions, bit by bit."""
    digest = hashlib.sha256(repr(dataset.grid).encode())
    for array in (dataset.latents, dataset.text, dataset.pooled, dataset.caption_of):
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(np.array(array.view(mx.uint8)).reshape(-1).data)
    return f"sha256:{digest.hexdigest()}"


def _resume(loop: TrainingLoop, folder: CheckpointFolder | None) -> tuple[list[float], float, tuple[int, ...]]:
    """Bring the loop to the last checkpoint: the losses so far, the time they took, where it was resumed (seconds)."""
    found = folder.resume(loop) if folder is not None else None
    if found is None:
        return [], 0.0, ()
    _log.info("resumed after iteration %d", loop.iteration)
    return list(found.losses), found.elapsed_s, (*found.resumed_at, loop.iteration)


def _is_due(folder: CheckpointFolder, iteration: int, recipe: Recipe) -> bool:
    # by intervals, not by distance: one that came late, for a doubtful loss, delays no other
    return iteration // recipe.checkpoint_interval > (folder.last_iteration or 0) // recipe.checkpoint_interval


def _checked_state(loop: TrainingLoop, folder: CheckpointFolder | None) -> LoopState:
    state = loop.state()
    if not state.is_finite():
        raise _stopped(f"the adapter's numbers became nan or inf at iteration {loop.iteration}", folder)
    return state


def _stopped(problem: str, folder: CheckpointFolder | None) -> TrainingError:
    last = folder.last_iteration if folder is not None else None
    kept = f" (the checkpoint after iteration {last} is kept)" if last is not None else ""
    return TrainingError(Fault("lora.yaml", "learning_rate", problem, f"lower it{kept}"))
