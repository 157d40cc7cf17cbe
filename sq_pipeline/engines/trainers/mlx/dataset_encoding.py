"""Encoding a dataset for a training: every view once, every distinct caption once.

Here: pictures and captions → `EncodedDataset`. Not here: which cuts are made (`mlx.crops`), the encoders.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import mlx.core as mx
import numpy as np

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.flux.sampler import sample_tokens
from sq_pipeline.engines.trainers.mlx.base import Encoders, TrainingBase
from sq_pipeline.engines.trainers.mlx.crops import Picture, plan_crops, plan_plain_crops
from sq_pipeline.engines.trainers.mlx.encoded_dataset import Bucket, EncodedDataset
from sq_pipeline.training.plan import Crops, TrainingPlan
from sq_pipeline.training.ports import TrainingExample
from sq_pipeline.training.recipe import Recipe

_PIXELS_AT_ONCE = 1 << 19  # of one call of the encoder: two pictures of 512², forty of tiny-flux's


def encode_dataset(
    base: TrainingBase, examples: Sequence[TrainingExample], plan: TrainingPlan, sample_prompts: Sequence[str]
) -> EncodedDataset:
    """Encode all that a training reads, evaluated; the prior's captions too, its pictures come with `add_prior`."""
    recipe, trained, measured = plan.recipe, plan.trained_of(examples), plan.validation_of(examples)
    bare = _bare(recipe)
    captions = sorted({example.caption for example in examples} | ({""} if recipe.caption_dropout else set()) | {*bare})
    prior = recipe.prior_prompts if recipe.prior_mix else ()
    texts = list(dict.fromkeys([*captions, *prior]))
    number_of = {text: number for number, text in enumerate(texts)}
    groups = [texts, list(sample_prompts)] if sample_prompts else [texts]
    (text, pooled), *samples = _encode_texts(base, groups)
    sample_text, sample_pooled = samples[0] if samples else (None, None)
    numbers = np.random.default_rng([recipe.seed, 1])  # not the loop's: how many are drawn here must not move it
    pictures = plan_crops([example.image_path for example in trained], plan.crops, numbers)
    return EncodedDataset(
        buckets=_encode(base.encoders, pictures, [number_of[example.caption] for example in trained]),
        text=text,
        pooled=pooled,
        validation=_encode_measured(base.encoders, measured, number_of, plan.crops),
        empty=number_of[""] if recipe.caption_dropout else None,
        bare=number_of[bare[0]] if bare else None,
        prior_texts=tuple(number_of[prompt] for prompt in prior),
        sample_text=sample_text,
        sample_pooled=sample_pooled,
    )


def encode_validation(
    base: TrainingBase, examples: Sequence[TrainingExample], plan: TrainingPlan
) -> EncodedDataset | None:
    """Only what a validation loss is measured on; None where the dataset is too small for that."""
    measured = plan.validation_of(examples)
    if not measured:
        return None
    bare = _bare(plan.recipe)
    texts = sorted({example.caption for example in measured} | {*bare})
    number_of = {text: number for number, text in enumerate(texts)}
    ((text, pooled),) = _encode_texts(base, [texts])
    looked_at = _encode_measured(base.encoders, measured, number_of, plan.crops)
    return EncodedDataset((), text, pooled, looked_at, bare=number_of[bare[0]] if bare else None)


def _bare(recipe: Recipe) -> tuple[str, ...]:
    """The bare trigger, where pictures are shown under it beside their own captions."""
    if not recipe.shows_both or recipe.trigger is None:
        return ()
    return (unicodedata.normalize("NFC", recipe.trigger),)  # no fingerprint tells how its é is written


def encode_looks(
    base: TrainingBase, pictures: Sequence[Path], captions: Sequence[Sequence[str]], crops: Crops
) -> list[EncodedDataset]:
    """Pictures that are only looked at, once for each list of their captions; every picture and text encoded once."""
    texts = sorted({text for each in captions for text in each})
    number_of = {text: number for number, text in enumerate(texts)}
    ((text, pooled),) = _encode_texts(base, [texts])
    plain = plan_plain_crops(pictures, crops)
    buckets = _encode(base.encoders, plain, range(len(plain)))
    return [
        EncodedDataset(
            (), text, pooled, tuple(_with_captions(bucket, [number_of[t] for t in each]) for bucket in buckets)
        )
        for each in captions
    ]


def _with_captions(bucket: Bucket, numbers: Sequence[int]) -> Bucket:
    """A bucket whose captions are the pictures' numbers, with the texts' numbers in their place."""
    return replace(bucket, caption_of=tuple(numbers[picture] for picture in bucket.caption_of))


def _encode_texts(base: TrainingBase, groups: Sequence[Sequence[str]]) -> list[tuple[mx.array, mx.array]]:
    """In what the transformer computes in: mflux's T5 gives float32 whatever its weights are, which is cast there."""
    encoded = [
        (text.astype(base.dtype), pooled.astype(base.dtype)) for text, pooled in base.encoders.encode_groups(groups)
    ]
    mx.eval(encoded)
    return encoded


def _encode_measured(
    encoders: Encoders,
    measured: Sequence[TrainingExample],
    number_of: Mapping[str, int],
    crops: Crops,
) -> tuple[Bucket, ...]:
    plain = plan_plain_crops([example.image_path for example in measured], crops)
    return _encode(encoders, plain, [number_of[example.caption] for example in measured])


def add_prior(dataset: EncodedDataset, base: TrainingBase, network: Flux, plan: TrainingPlan) -> EncodedDataset:
    """The dataset with the pictures that the base model itself makes of the recipe's prior prompts."""
    recipe, size = plan.recipe, plan.size
    if not recipe.prior_mix:
        return dataset
    grid = _grid(size)
    latents: list[mx.array] = []
    captions: list[int] = []
    for number in range(recipe.prior_pictures):
        caption = dataset.prior_texts[number % len(dataset.prior_texts)]
        one = slice(caption, caption + 1)
        latents.append(
            sample_tokens(
                network,
                dataset.text[one],
                dataset.pooled[one],
                seed=recipe.seed + number,
                sigmas=base.sigmas(size),
                grid=grid,
                guidance=base.base_model.guidance,
            )
        )
        captions.append(caption)
    bucket = Bucket(grid, mx.concatenate(latents), tuple(range(len(latents))), tuple(captions))
    return replace(dataset, prior=(bucket,))


def _encode(encoders: Encoders, pictures: Sequence[Picture], captions: Sequence[int]) -> tuple[Bucket, ...]:
    """A bucket for each size. Each picture counts alike, however many different views it has."""
    crops_each = max((len(picture.crops) for picture in pictures), default=0)
    latents: dict[SizePx, list[mx.array]] = {}
    latent_of: dict[SizePx, list[int]] = {}
    caption_of: dict[SizePx, list[int]] = {}
    for size, group in _by_size(pictures, captions).items():
        pixels = ((cut, index) for index, (picture, _) in enumerate(group) for cut in picture.pixels())
        at_once = max(1, _PIXELS_AT_ONCE // (size.width_px * size.height_px))
        found: list[mx.array] = []
        while batch := list(islice(pixels, at_once)):
            found.append(encoders.encode_pictures(np.stack([cut for cut, _ in batch])))
            mx.eval(found[-1])
        latents[size], latent_of[size], caption_of[size] = found, [], []
        start = 0
        for picture, caption in group:
            count = len(picture.crops)
            latent_of[size] += [start + view % count for view in range(crops_each)]
            caption_of[size] += [caption] * crops_each
            start += count
    return tuple(
        Bucket(_grid(size), mx.concatenate(latents[size]), tuple(latent_of[size]), tuple(caption_of[size]))
        for size in latents
    )


def _by_size(pictures: Sequence[Picture], captions: Sequence[int]) -> dict[SizePx, list[tuple[Picture, int]]]:
    groups: dict[SizePx, list[tuple[Picture, int]]] = {}
    for picture, caption in zip(pictures, captions, strict=True):
        groups.setdefault(picture.crops[0].size, []).append((picture, caption))
    return dict(sorted(groups.items(), key=lambda item: (item[0].width_px, item[0].height_px)))


def _grid(size: SizePx) -> tuple[int, int]:
    return size.height_px // 16, size.width_px // 16
