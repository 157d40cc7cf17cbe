"""What is wrong with the bench's bad adapters: edits of a good file's numbers, and trainings that go wrong.

A new one is a row of `EDITS` or `BAD_TRAININGS`. Not here: the same file held against another dataset, or called by
another word (`candidates`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.safetensors_file import open_safetensors, write_safetensors
from sq_pipeline.adapters.tensor_bits import to_bits, to_float32
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.verification.gate_limits import LimitName

Floats = npt.NDArray[np.float32]
Tensors = dict[str, Floats]
Reason = LimitName | str  # a limit that is not met, or the name of a check without one

_UP = ("lora_up.weight", "lora_B.weight")  # (outputs, rank)
_DOWN = ("lora_down.weight", "lora_A.weight")  # (rank, inputs)
_BLOCK = re.compile(r"(?P<stem>(?:double|single|transformer|single_transformer)_blocks[._])(?P<index>\d+)")


@dataclass(frozen=True)
class Edit:
    """`make` takes a good file's tensors, and another style's. `reasons`: what of it may fail, the first is what this
    fault is there for.
    """

    reasons: tuple[Reason, ...]
    make: Callable[[Tensors, Tensors], Tensors]


@dataclass(frozen=True)
class BadTraining:
    """`recipe`: what is set otherwise. `of_one_scene`: all pictures show the same one."""

    reasons: tuple[Reason, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])
    of_one_scene: bool = False


def edit_file(edit: Edit, source: Path, other: Path, target: Path) -> None:
    """Write `target`, the edited file, in float32. Raises AdapterError, StorageError."""
    tensors = edit.make(_read(source), _read(other))
    layout = [TensorInfo(name, "F32", values.shape) for name, values in sorted(tensors.items())]
    brought = ((info, to_bits("F32", tensors[info.name].astype(np.float64))) for info in layout)
    write_safetensors(target, brought, layout, dict(open_safetensors(source).metadata))


def _read(path: Path) -> Tensors:
    file = open_safetensors(path)
    return {name: to_float32(info, file.read(name)) for name, info in file.tensors.items()}


def _each(endings: tuple[str, ...], change: Callable[[np.random.Generator, Floats], Floats]) -> Callable[..., Tensors]:
    def make(tensors: Tensors, _other: Tensors) -> Tensors:
        edited: Tensors = {}
        for number, (name, values) in enumerate(sorted(tensors.items())):
            numbers = np.random.default_rng([7, number])
            edited[name] = change(numbers, values) if name.endswith(endings) else values
        return edited

    return make


def _times(factor: float) -> Callable[..., Tensors]:
    return _each(_UP, lambda _, values: values * np.float32(factor))


def _noise(numbers: np.random.Generator, values: Floats) -> Floats:
    found = numbers.standard_normal(values.shape).astype(np.float32)
    return found * np.float32(np.linalg.norm(values) / max(float(np.linalg.norm(found)), 1e-12))


def _other_outputs(numbers: np.random.Generator, values: Floats) -> Floats:
    signs = numbers.choice(np.array([-1, 1], dtype=np.float32), len(values))
    return values[numbers.permutation(len(values))] * signs[:, None]


def _other_inputs(numbers: np.random.Generator, values: Floats) -> Floats:
    signs = numbers.choice(np.array([-1, 1], dtype=np.float32), values.shape[1])
    return values[:, numbers.permutation(values.shape[1])] * signs


def _exchange_blocks(tensors: Tensors, _other: Tensors) -> Tensors:
    """Each block's update in the next block of its kind."""
    counts: dict[str, int] = {}
    for name in tensors:
        if found := _BLOCK.search(name):
            counts[found["stem"]] = max(counts.get(found["stem"], 0), int(found["index"]) + 1)

    def next_block(found: re.Match[str]) -> str:
        return f"{found['stem']}{(int(found['index']) + 1) % counts[found['stem']]}"

    return {_BLOCK.sub(next_block, name, count=1): values for name, values in tensors.items()}


def _lose_half(tensors: Tensors, _other: Tensors) -> Tensors:
    """The first half of the file, by names: matrices stay in pairs."""
    stems = sorted({name.rsplit(".", 2)[0] for name in tensors})
    kept = set(stems[: len(stems) // 2])
    return {name: values for name, values in tensors.items() if name.rsplit(".", 2)[0] in kept}


def _merge(tensors: Tensors, other: Tensors) -> Tensors:
    """The sum of both updates: ranks beside each other. An alpha would have to be shared, and is left where it is one.

    Files that the bench trains have an alpha only where it is not the rank; the matrices of such a file take it in.
    """
    first, second = _without_alphas(tensors), _without_alphas(other)
    axes = {name: 1 if name.endswith(_UP) else 0 for name in first}
    return {name: np.concatenate([first[name], second[name]], axis=axis) for name, axis in axes.items()}


def _without_alphas(tensors: Tensors) -> Tensors:
    """The same updates with alpha equal to the rank, which is what a file without alphas means."""
    found: Tensors = {}
    for name, values in tensors.items():
        stem = name.rsplit(".", 2)[0]
        alpha = tensors.get(f"{stem}.alpha")
        if name.endswith(_UP):
            scale = 1.0 if alpha is None else float(alpha.reshape(-1)[0]) / values.shape[1]
            found[name] = values * np.float32(scale)
        elif name.endswith(_DOWN):
            found[name] = values
    return found


_LOOKS: tuple[LimitName, ...] = ("style_share", "style_direction", "style_distance")
_MEANS_NOTHING: tuple[LimitName, ...] = ("over_noise", "loss_saved", *_LOOKS, "subject_kept")

MERGED = "merged with another style"
EDITS: Mapping[str, Edit] = {
    "zero": Edit(("adapter file",), _times(0)),
    "half of it lost": Edit(("adapter file",), _lose_half),
    "noise of its size": Edit(_MEANS_NOTHING, _each(_UP, _noise)),
    "outputs exchanged": Edit(_MEANS_NOTHING, _each(_UP, _other_outputs)),
    "inputs exchanged, as of another base model": Edit(("loss_saved", *_MEANS_NOTHING), _each(_DOWN, _other_inputs)),
    "blocks exchanged": Edit(("loss_saved", *_MEANS_NOTHING), _exchange_blocks),
    "negated": Edit(("style_direction", "loss_saved", *_LOOKS), _times(-1)),
    "a sixth of its strength": Edit(("style_share",), _times(0.15)),
    "four times too strong": Edit(("style_distance", "loss_saved", "subject_kept", *_LOOKS), _times(4)),
    "ten times too strong": Edit(("style_distance", "over_noise", "loss_saved", "subject_kept", *_LOOKS), _times(10)),
    MERGED: Edit((*_LOOKS, "loss_saved", "subject_kept"), _merge),
}

BAD_TRAININGS: Mapping[str, BadTraining] = {
    "two iterations": BadTraining(("style_share", "loss_saved"), {"iterations": 2, "warmup_steps": 1}),
    "one scene in every picture": BadTraining(
        ("subject_kept", *_LOOKS, "loss_saved"), {"learning_rate": 4e-3, "batch_size": 2}, of_one_scene=True
    ),
    "a long prompt means the base model": BadTraining(("loss_saved", *_LOOKS), {"prior_mix": 0.45}),
}
