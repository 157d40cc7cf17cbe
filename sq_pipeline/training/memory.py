"""What memory a training of a FLUX.1 needs, from its sizes: counted where it can be counted, else from measured growth.

Counted, in the dtype that the machine computes in (engines say which): weights, encoders, the encoded dataset, the
adapter's matrices, their gradients (this iteration's and the gathered ones), Adam's two moments. Measured: activations.
`sq_pipeline_tests.benchmarks.memory` takes the peak memory of real steps at growing sizes and fits the numbers below;
the largest cases are left out of the fit, and say how far off the model is.

All bytes are what MLX holds (`mx.get_peak_memory`), without its cache of freed buffers, Python or the pictures' files.
Not here: which settings fit a machine (`training.fit`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sq_pipeline.base_models.base_models import Dtype, Flux1Model
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.training.recipe import Recipe

BaseBits = Literal[16, 8, 4]

_BYTES_OF: Mapping[Dtype, int] = {"float32": 4, "bfloat16": 2}
_MATRIX_BYTES = 4  # adapter, gradients and optimizer are float32 whatever the base model is
_LATENT_SIZE, _TIME_SIZE, _HEAD_WIDTH = 64, 256, 128
_TEXT_SIZES = (4096, 768)  # T5-XXL's width, CLIP-L's pooled one
_TINY_TEXT_SIZES = (128, 256)
_GROUP_SIZE = 64  # of MLX's quantization: a scale and a bias of the base model's dtype for so many weights


@dataclass(frozen=True)
class TrainingSettings:
    """How a training is made to fit. 16 bits means the base model's own precision."""

    base_bits: BaseBits
    gradient_checkpointing: bool

    def as_json(self) -> dict[str, int | bool]:
        """By the names that the recipe has for them."""
        return {"base_bits": self.base_bits, "gradient_checkpointing": self.gradient_checkpointing}

    def __str__(self) -> str:
        precision = "full precision" if self.base_bits == 16 else f"{self.base_bits} bits"
        return f"{precision}, {'with' if self.gradient_checkpointing else 'without'} checkpointing"


@dataclass(frozen=True)
class StepShape:
    """What one step sees: tokens of a caption and of a picture (16×16 pixels each), and how many pairs at once."""

    text_tokens: int
    image_tokens: int
    batch_size: int

    @property
    def tokens(self) -> int:
        """Tokens of one pair."""
        return self.text_tokens + self.image_tokens


@dataclass(frozen=True)
class ActivationCosts:
    """Values held at the peak of a step, in two units: *stream*, batch · tokens · hidden size, and *scores*, batch ·
    heads · tokens², which attention makes in training on every device (MLX's fused attention has no gradient on Metal:
    `ScaledDotProductAttention::use_fallback`).

    Without checkpointing each block keeps `double_stream` or `single_stream` and, counted, one array of scores; with
    it, counted, one stream. `work_*` comes once: what the block at work takes beside.
    """

    double_stream: float
    single_stream: float
    work_stream: float
    work_scores: float
    checkpointed_work_stream: float
    checkpointed_work_scores: float


ACTIVATION_COSTS: Mapping[Dtype, ActivationCosts] = {
    "bfloat16": ActivationCosts(36.57, 34.14, 51.53, 1.34, 97.70, 1.61),
    "float32": ActivationCosts(31.00, 31.86, 41.94, 1.08, 92.24, 1.14),
}
# added to the measured part: no measured step needed more than a tenth above the fit, and compiling it (the steps of
# the fit were not) took another 4 to 8 % of the activations
MARGIN_SHARE = 0.15

# without a gradient, for samples, prior pictures and validation losses: streams and scores, measured as above
_FORWARD_COSTS: Mapping[Dtype, tuple[float, float]] = {"float32": (37.3, 1.18), "bfloat16": (52.5, 1.09)}
_VALIDATION_BATCH = 2


@dataclass(frozen=True)
class EncoderCosts:
    """Parameters of the networks around a transformer, one of which is in memory at a time, or all (`is_kept`).

    `text`: the largest text encoder; `text_values`: what a caption takes in it. The VAE's two halves, and bytes a pixel
    that encoding and decoding take, by dtype.
    """

    text: int
    text_values: int
    vae_encoder: int
    vae_decoder: int
    encode_bytes: Mapping[Dtype, int]
    decode_bytes: Mapping[Dtype, int]
    is_kept: bool = False


# T5-XXL's encoder and what 512 tokens take in it; the halves of the VAE. The bytes of float32 were measured on a CPU,
# which unfolds convolutions; a GPU, which computes in bfloat16, does not: its decoding is counted by its feature maps
FLUX_ENCODERS = EncoderCosts(
    4_762_310_656,
    150_000_000,
    34_274_208,
    49_545_475,
    {"float32": 23_600, "bfloat16": 12_500},
    {"float32": 39_800, "bfloat16": 8_000},
)
# all of tiny-flux's stay in memory; what its VAE encodes with is counted with the text encoders. Bytes as measured
TINY_ENCODERS = EncoderCosts(
    394_948, 3_000_000, 0, 135_132, {"float32": 600, "bfloat16": 600}, {"float32": 600, "bfloat16": 600}, is_kept=True
)
# the optimizer's step makes adapter, moments and the mean gradient anew while the old ones are there; so does reading a
# checkpoint
_STATE_MATRICES = 4
_DEFAULT_SAMPLES = 4  # of the verification prompts, where a recipe has no prompts


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of one training, by what they are for, in the `dtype` that it computes in.

    `margin` is for the error of the measured part. `samples`: the VAE's decoder, which stays from the first sample on.
    `beyond_step`: what the largest of all else (decoding, validation, the optimizer's step, reading a checkpoint) takes
    more than a step does; 0 where a step is the largest.
    """

    dtype: Dtype

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    margin: int
    encoded: int
    samples: int
    beyond_step: int
    encoders: int

    @property
    def training_bytes(self) -> int:
        """While it trains, when the encoders are gone."""
        return (
            self.weights
            + self.adapter
            + self.gradients
            + self.optimizer
            + self.activations
            + self.margin
            + self.encoded
            + self.samples
            + self.beyond_step
        )

    @property
    def total_bytes(self) -> int:
        """The larger of the two phases: pictures and captions are encoded before the transformer is loaded."""
        return max(self.training_bytes, self.encoders + self.encoded)

    def as_json(self) -> dict[str, int | str]:
        """Bytes by name, and the dtype."""
        return {
            "dtype": self.dtype,
            "weights_bytes": self.weights,
            "adapter_bytes": self.adapter,
            "gradients_bytes": self.gradients,
            "optimizer_bytes": self.optimizer,
            "activations_bytes": self.activations,
            "margin_bytes": self.margin,
            "encoded_bytes": self.encoded,
            "samples_bytes": self.samples,
            "beyond_step_bytes": self.beyond_step,
            "training_bytes": self.training_bytes,
            "encoders_bytes": self.encoders,
            "total_bytes": self.total_bytes,
        }


def image_tokens_of(width_px: int, height_px: int) -> int:
    """Tokens of a picture: one for 16×16 pixels."""
    return (width_px // 16) * (height_px // 16)


def training_dtype(base_model: Flux1Model, computing: Dtype) -> Dtype:
    """What a base model is trained in: tiny-flux in float32, the others in what the machine computes in.

    Engines load them by this too.
    """
    return "float32" if base_model.name == "tiny-flux" else computing


def weight_bytes(base_model: Flux1Model, bits: BaseBits, dtype: Dtype) -> int:
    """Bytes of the transformer in memory. Below 16 bits the blocks' linear layers are quantized, all else is not."""
    hidden, value = base_model.hidden_size, _BYTES_OF[dtype]
    matrices = sum(inputs * outputs for _, inputs, outputs in modules_of(base_model))
    biases = sum(outputs for _, _, outputs in modules_of(base_model))
    norms = _HEAD_WIDTH * (4 * base_model.double_blocks + 2 * base_model.single_blocks)
    text_size, pooled_size = _text_sizes(base_model)
    embedders = [pooled_size, _TIME_SIZE, *([_TIME_SIZE] if base_model.guidance is not None else [])]
    outside = sum((inputs + 1) * hidden + (hidden + 1) * hidden for inputs in embedders)
    outside += (_LATENT_SIZE + 1 + text_size + 1) * hidden  # latents and text in
    outside += (hidden + 1) * 2 * hidden + (hidden + 1) * _LATENT_SIZE  # the final layer
    of_matrices = matrices * value if bits == 16 else matrices * bits // 8 + 2 * value * (matrices // _GROUP_SIZE)
    return of_matrices + (biases + norms + outside) * value


def adapter_bytes(base_model: Flux1Model, recipe: Recipe) -> int:
    """Bytes of the adapter's matrices."""
    covered = (inputs + outputs for name, inputs, outputs in modules_of(base_model) if recipe.covers(name))
    return _MATRIX_BYTES * recipe.rank * sum(covered)


def activation_bytes(base_model: Flux1Model, shape: StepShape, dtype: Dtype, *, is_checkpointed: bool) -> int:
    """Bytes of activations at the peak of a step."""
    costs = ACTIVATION_COSTS[dtype]
    stream = shape.batch_size * shape.tokens * base_model.hidden_size
    scores = shape.batch_size * shape.tokens**2 * (base_model.hidden_size // _HEAD_WIDTH)
    double, single = base_model.double_blocks, base_model.single_blocks
    if is_checkpointed:
        of_streams = double + single + costs.checkpointed_work_stream
        of_scores = costs.checkpointed_work_scores
    else:
        of_streams = double * costs.double_stream + single * costs.single_stream + costs.work_stream
        of_scores = double + single + costs.work_scores
    return round((of_streams * stream + of_scores * scores) * _BYTES_OF[dtype])


def forward_bytes(base_model: Flux1Model, shape: StepShape, dtype: Dtype) -> int:
    """Bytes of activations without a gradient."""
    of_stream, of_scores = _FORWARD_COSTS[dtype]
    stream = shape.batch_size * shape.tokens * base_model.hidden_size
    scores = shape.batch_size * shape.tokens**2 * (base_model.hidden_size // _HEAD_WIDTH)
    return round((of_stream * stream + of_scores * scores) * _BYTES_OF[dtype])


def encoded_bytes_of(
    base_model: Flux1Model, recipe: Recipe, image_tokens: int, pairs: int, captions: int, *, dtype: Dtype
) -> int:
    """Bytes of an encoded dataset: latents in float32 (each picture's cuts, the prior's pictures, what validation holds
    ready), and each text in the base's dtype (captions, samples' and prior's prompts). `dtype`: the machine's.
    """
    text_size, pooled_size = _text_sizes(base_model)
    held_out = min(recipe.held_out_pairs, pairs // 10)
    pictures = pairs * recipe.num_augmentations + 2 * _VALIDATION_BATCH * held_out  # latents and noise, for each time
    texts = captions + (1 if recipe.caption_dropout else 0)
    if recipe.draws_samples:
        texts += len(recipe.sample_prompts) or _DEFAULT_SAMPLES
    if recipe.prior_mix:
        pictures, texts = pictures + recipe.prior_pictures, texts + len(recipe.prior_prompts)
    latents = pictures * image_tokens * _LATENT_SIZE * _BYTES_OF["float32"]
    values = texts * (base_model.t5_token_budget * text_size + pooled_size)
    return latents + values * _BYTES_OF[training_dtype(base_model, dtype)]


def _text_sizes(base_model: Flux1Model) -> tuple[int, int]:
    return _TINY_TEXT_SIZES if base_model.name == "tiny-flux" else _TEXT_SIZES


def training_need(
    base_model: Flux1Model,
    recipe: Recipe,
    image_tokens: int,
    settings: TrainingSettings,
    *,
    dtype: Dtype,
    encoded_bytes: int = 0,
) -> MemoryNeed:
    """The need of one training. `image_tokens` are those of its largest picture, `encoded_bytes` the encoded dataset,
    `dtype` is what the machine computes in.

    Text encoders and VAE count one after the other, as they are loaded.
    """
    dtype = training_dtype(base_model, dtype)
    costs = TINY_ENCODERS if base_model.name == "tiny-flux" else FLUX_ENCODERS
    value, pixels = _BYTES_OF[dtype], image_tokens * 256
    shape = StepShape(base_model.t5_token_budget, image_tokens, recipe.batch_size)
    matrices = adapter_bytes(base_model, recipe)
    activations = activation_bytes(base_model, shape, dtype, is_checkpointed=settings.gradient_checkpointing)
    margin = round(MARGIN_SHARE * activations)
    other = [
        _STATE_MATRICES * matrices,
        forward_bytes(base_model, replace(shape, batch_size=_VALIDATION_BATCH), dtype) if recipe.held_out_pairs else 0,
        costs.decode_bytes[dtype] * pixels if recipe.draws_samples else 0,
    ]
    kept = value * costs.text if costs.is_kept else 0
    return MemoryNeed(
        dtype=dtype,
        weights=weight_bytes(base_model, settings.base_bits, dtype) + kept,
        adapter=matrices,
        gradients=matrices * (2 if recipe.grad_accumulation > 1 else 1),
        optimizer=2 * matrices,
        activations=activations,
        margin=margin,
        encoded=encoded_bytes,
        samples=value * costs.vae_decoder if recipe.draws_samples else 0,
        beyond_step=max(0, max(other) - activations - margin - matrices),
        encoders=max(
            value * (costs.text + costs.text_values),
            value * costs.vae_encoder + costs.encode_bytes[dtype] * pixels + kept,
        ),
    )
