"""The MLX LoRA trainer over FLUX.1 in the BFL layout. Implements `core.protocols.Trainer`.

Here: encoding once, the training loop, the result. Not here: the layers and the file (`lora_layers`), the
network (`flux.network`), preflight and reports (`stages`).
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx import optimizers as optim
from mlx.nn.utils import value_and_grad
from mlx.utils import tree_map
from PIL import Image, ImageOps

from sq_pipeline.core.base_models import BaseModel, SizePx, resolve_base_model
from sq_pipeline.core.errors import BaseModelError, Fault, TrainingError
from sq_pipeline.core.protocols import (
    EngineDescription,
    TrainingExample,
    TrainProgress,
    TrainRequest,
    TrainResult,
)
from sq_pipeline.core.recipe import Recipe
from sq_pipeline.engines import registry
from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.lora_layers import add_lora, save_adapter
from sq_pipeline.engines.tiny_flux import model as tiny_model
from sq_pipeline.engines.tiny_flux import vae as tiny_vae
from sq_pipeline.engines.tiny_flux.text import PAD, load_tokenizer
from sq_pipeline.storage.layout import DataDir

_ENCODE_BATCH = 32


@dataclass(frozen=True)
class EncodedDataset:
    """What training sees. Latent tokens (images, tokens, 64); text per distinct caption; `caption_of` (images,)."""

    latents: mx.array
    text: mx.array
    pooled: mx.array
    caption_of: mx.array
    grid: tuple[int, int]


class MlxLoraTrainer:
    """The `Trainer` of `core.protocols`, for the base models of a data directory."""

    def __init__(self, data: DataDir) -> None:
        self._data = data

    def describe(self) -> EngineDescription:
        """Name, versions and chip; see `registry.describe_trainer`."""
        return registry.describe_trainer()

    def train(self, request: TrainRequest, on_progress: Callable[[TrainProgress], None]) -> TrainResult:
        """Train one adapter; raises BaseModelError, TrainingError. Interrupted, it leaves no file."""
        start = time.perf_counter()
        mx.reset_peak_memory()
        network, dataset = self._prepare(request)
        mx.eval(dataset.latents, dataset.text, dataset.pooled)
        encode_s = time.perf_counter() - start
        mx.random.seed(request.recipe.seed)
        add_lora(network, request.recipe.rank)
        mx.eval(network.parameters())
        losses: list[float] = []
        loop_start = time.perf_counter()
        for loss in training_steps(network, dataset, request.recipe):
            if not math.isfinite(loss):
                raise TrainingError(
                    Fault(
                        "lora.yaml",
                        "learning_rate",
                        f"the loss became {loss} at iteration {len(losses) + 1}",
                        "lower it",
                    )
                )
            losses.append(loss)
            elapsed_s = time.perf_counter() - loop_start
            on_progress(TrainProgress(len(losses), request.recipe.iterations, loss, elapsed_s))
        tensors = save_adapter(request.output_path, network, request.recipe.rank)
        return TrainResult(
            losses=tuple(losses),
            wall_s=time.perf_counter() - start,
            encode_s=encode_s,
            tensors=tensors,
            peak_memory_bytes=mx.get_peak_memory(),
        )

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


def learning_rate_schedule(recipe: Recipe) -> Callable[[mx.array], mx.array] | float:
    """Linear warm-up to the recipe's rate, then a cosine to zero; counted in optimizer steps."""
    steps = max(1, recipe.iterations // recipe.grad_accumulation)
    warmup = min(recipe.warmup_steps, steps - 1)
    cosine = optim.cosine_decay(recipe.learning_rate, max(1, steps - warmup))
    if not warmup:
        return cosine
    return optim.join_schedules([optim.linear_schedule(0.0, recipe.learning_rate, warmup), cosine], [warmup])


def flow_matching_loss(
    network: Flux,
    latents: mx.array,
    noise: mx.array,
    times: mx.array,
    text: mx.array,
    pooled: mx.array,
    grid: tuple[int, int],
) -> mx.array:
    """mean((prediction + picture − noise)²) at `(1 − t)·picture + t·noise`, as in mlx-examples."""
    t = times[:, None, None]
    prediction = network((1 - t) * latents + t * noise, text, pooled, times, grid)
    return ((prediction + latents - noise) ** 2).mean()


def training_steps(network: Flux, dataset: EncodedDataset, recipe: Recipe) -> Iterator[float]:
    """Run the recipe; yields each iteration's loss. The gradient is averaged over `grad_accumulation` iterations.

    Times are drawn as in tiny-flux's own training. Random numbers come from the recipe's seed alone.
    """
    numbers = np.random.default_rng(recipe.seed)
    optimizer = optim.Adam(learning_rate_schedule(recipe))
    loss_and_gradient = value_and_grad(network, flow_matching_loss)
    order = _epochs(len(dataset.latents), numbers)
    gathered = None
    for iteration in range(1, recipe.iterations + 1):
        chosen = mx.array([next(order) for _ in range(recipe.batch_size)])
        latents, captions = dataset.latents[chosen], dataset.caption_of[chosen]
        noise = mx.array(numbers.standard_normal(latents.shape).astype(np.float32))
        times = _draw_times(numbers, recipe.batch_size)
        loss, gradient = loss_and_gradient(
            network,
            latents,
            noise,
            times,
            dataset.text[captions],
            dataset.pooled[captions],
            dataset.grid,
        )
        gathered = gradient if gathered is None else tree_map(lambda a, b: a + b, gathered, gradient)
        is_step = iteration % recipe.grad_accumulation == 0 or iteration == recipe.iterations
        if is_step:
            parts = (iteration - 1) % recipe.grad_accumulation + 1
            if parts > 1:
                gathered = tree_map(lambda a, parts=parts: a / parts, gathered)
            optimizer.update(network, gathered)
            gathered = None
        mx.eval(loss, gathered, network.trainable_parameters(), optimizer.state)
        yield loss.item()


def _draw_times(numbers: np.random.Generator, count: int) -> mx.array:
    drawn = numbers.normal(tiny_model.TIME_SHIFT, tiny_model.TIME_SPREAD, count)
    return mx.array((1 / (1 + np.exp(-drawn))).astype(np.float32))


def _epochs(count: int, numbers: np.random.Generator) -> Iterator[int]:
    """Indices of all images in a new random order, again and again."""
    while True:
        yield from numbers.permutation(count).tolist()
