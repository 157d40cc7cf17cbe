"""What training sees of a dataset: pictures as latent tokens, captions as embeddings. And the file it is kept in.

The file lies beside a training's checkpoints, so that one that is continued loads no encoder. Format: safetensors with
`text`, `pooled` and `<bucket>.latents`; metadata `identity` (what it was encoded for), `content` (its hash) and
`structure` (JSON: grids and indices). Not here: encoding (`dataset_encoding`).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.common.errors import AdapterError
from sq_pipeline.engines.trainers.mlx.array_bits import array_of, tensors_of, write_tensors

_SAMPLE = "sample."


@dataclass(frozen=True)
class Bucket:
    """Views of one size. `latents` (distinct views, rows · columns, 64); each entry of `latent_of` is a view, and
    `caption_of` has the number of its text. `grid` is rows and columns of tokens.
    """

    grid: tuple[int, int]
    latents: mx.array
    latent_of: tuple[int, ...]
    caption_of: tuple[int, ...]

    def take(self, crops: Sequence[int]) -> tuple[mx.array, list[int]]:
        """The latents of some views, (views, tokens, 64), and the numbers of their texts."""
        return self.latents[mx.array([self.latent_of[view] for view in crops])], [self.caption_of[v] for v in crops]


@dataclass(frozen=True)
class EncodedDataset:
    """All that a training sees. `text` (captions, tokens, width) and `pooled` (captions, width) by caption.

    `buckets` are trained on, `prior` are the base model's own pictures of the texts `prior_texts`, `validation` is only
    looked at. `empty` is the number of the empty caption, where captions are dropped, and `bare` that of the bare
    trigger, where pictures are shown under it as often as under their own caption. `sample_text` and `sample_pooled`
    are those of the prompts that samples are drawn of.
    """

    buckets: tuple[Bucket, ...]
    text: mx.array
    pooled: mx.array
    validation: tuple[Bucket, ...] = ()
    prior: tuple[Bucket, ...] = ()
    empty: int | None = None
    bare: int | None = None
    prior_texts: tuple[int, ...] = ()
    sample_text: mx.array | None = None
    sample_pooled: mx.array | None = None

    def arrays(self) -> dict[str, mx.array]:
        """Every array, by name."""
        named = {f"{kind}{number}.latents": bucket.latents for kind, number, bucket in self._numbered()}
        if self.sample_text is not None and self.sample_pooled is not None:
            named |= {f"{_SAMPLE}text": self.sample_text, f"{_SAMPLE}pooled": self.sample_pooled}
        return {"text": self.text, "pooled": self.pooled, **named}

    def structure(self) -> str:
        """All that is no array, as JSON."""
        buckets = {
            f"{kind}{number}": [bucket.grid, bucket.latent_of, bucket.caption_of]
            for kind, number, bucket in self._numbered()
        }
        numbers = {"empty": self.empty, "bare": self.bare, "prior_texts": self.prior_texts}
        return json.dumps({"buckets": buckets, **numbers})

    def content_hash(self, *, with_samples: bool = True) -> str:
        """`sha256:…` of all of it, bit by bit; without the samples, of what settles a training."""
        digest = hashlib.sha256(self.structure().encode())
        for name, array in sorted(self.arrays().items()):
            if name.startswith(_SAMPLE) and not with_samples:
                continue
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(np.array(array.view(mx.uint8)).reshape(-1).data)
        return f"sha256:{digest.hexdigest()}"

    def _numbered(self) -> Iterator[tuple[str, int, Bucket]]:
        for kind, buckets in (("trained", self.buckets), ("held_out", self.validation), ("prior", self.prior)):
            for number, bucket in enumerate(buckets):
                yield kind, number, bucket


def save_encoded(path: Path, dataset: EncodedDataset, identity: str) -> None:
    """Write the file, whole or not at all. Raises StorageError."""
    metadata = {"identity": identity, "content": dataset.content_hash(), "structure": dataset.structure()}
    write_tensors(path, tensors_of(dataset.arrays()), metadata)


def load_encoded(path: Path, identity: str) -> EncodedDataset | None:
    """The dataset in the file; None where there is none, or it is damaged or of another identity."""
    if not path.is_file():
        return None
    try:
        file = open_safetensors(path)
        if file.metadata["identity"] != identity:
            return None
        arrays = {name: array_of(info, file.read(name)) for name, info in file.tensors.items()}
        dataset = _assemble(arrays, json.loads(file.metadata["structure"]))
        is_right = file.metadata["content"] == dataset.content_hash()
    except (AdapterError, OSError, ValueError, KeyError, TypeError):
        return None
    return dataset if is_right else None


def _assemble(arrays: Mapping[str, mx.array], structure: Mapping[str, Any]) -> EncodedDataset:
    def buckets(kind: str) -> tuple[Bucket, ...]:
        names = sorted((name for name in structure["buckets"] if name.rstrip("0123456789") == kind), key=_number)
        found: list[Bucket] = []
        for name in names:
            (rows, columns), latent_of, caption_of = structure["buckets"][name]
            found.append(
                Bucket((rows, columns), arrays[f"{name}.latents"], tuple(latent_of), tuple(caption_of)),
            )
        return tuple(found)

    return EncodedDataset(
        buckets("trained"),
        arrays["text"],
        arrays["pooled"],
        buckets("held_out"),
        buckets("prior"),
        structure["empty"],
        structure["bare"],
        tuple(structure["prior_texts"]),
        arrays.get(f"{_SAMPLE}text"),
        arrays.get(f"{_SAMPLE}pooled"),
    )


def _number(name: str) -> int:
    return int(name[len(name.rstrip("0123456789")) :])
