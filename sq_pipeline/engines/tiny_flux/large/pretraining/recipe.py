"""Every number of the pretraining. Not here: the steps that read them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PretrainRecipe:
    """`iterations` are optimizer steps, `batch` pictures or texts a step over all processes.

    The transformer learns in two stages: pictures of half size (a quarter of the tokens), then whole ones.
    """

    seed: int = 3
    tokenizer_captions: int = 40_000
    text_iterations: int = 1600
    text_batch: int = 128
    text_rate: float = 3e-3
    codec_pictures: int = 2400
    codec_iterations: int = 1000
    codec_batch: int = 8
    codec_rate: float = 1e-3
    codec_noise: float = 0.1
    pictures: int = 20_000
    half_iterations: int = 3600
    half_batch: int = 32
    half_rate: float = 1.3e-3
    half_shift: float = 1.5
    whole_iterations: int = 2800
    whole_batch: int = 16
    whole_rate: float = 9e-4
    warmup: int = 150
    weight_decay: float = 0.01
    ema_decay: float = 0.997
    vague_share: float = 0.12
    short_share: float = 0.6
    checkpoint_every: int = 100
