"""The linear modules of FLUX.1's blocks that adapters cover, by their BFL names, and their widths.

A double block has ten, a single block three: thirteen kinds, twenty-six with `lora_a` and `lora_b`.
Source of names: Black Forest Labs' FLUX.1 and mlx-examples' adapters; widths in units of the hidden size.
"""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline.common.errors import Fault

# kind of module: (inputs, outputs) in hidden sizes
DOUBLE_MODULES: Mapping[str, tuple[int, int]] = {
    f"{stream}_{part}": widths
    for stream in ("img", "txt")
    for part, widths in {
        "attn.qkv": (1, 3),
        "attn.proj": (1, 1),
        "mlp.layers.0": (1, 4),
        "mlp.layers.2": (4, 1),
        "mod.lin": (1, 6),
    }.items()
}
SINGLE_MODULES: Mapping[str, tuple[int, int]] = {"linear1": (1, 7), "linear2": (5, 1), "modulation.lin": (1, 3)}
MATRICES = ("lora_a", "lora_b")


def modules_of(base_model: Flux1Model) -> Iterator[tuple[str, int, int]]:
    """Every module of a base model's blocks: BFL name, inputs, outputs."""
    for stem, count, kinds in (
        ("double_blocks", base_model.double_blocks, DOUBLE_MODULES),
        ("single_blocks", base_model.single_blocks, SINGLE_MODULES),
    ):
        for index in range(count):
            for kind, (inputs, outputs) in kinds.items():
                name = f"{stem}.{index}.{kind}"
                yield name, inputs * base_model.hidden_size, outputs * base_model.hidden_size


def pattern_faults(patterns: Iterable[str], names: Iterable[str], file: str = "lora.yaml") -> Iterator[Fault]:
    """A fault for each pattern of a recipe's `modules` that matches none of the modules' names."""
    known = tuple(names)
    for index, pattern in enumerate(patterns):
        if not any(fnmatchcase(name, pattern) for name in known):
            problem = f"{pattern!r} matches no module of the base model"
            hint = "write one such as `single_blocks.*` or `*.img_attn.qkv`"
            yield Fault(file, f"modules[{index}]", problem, hint)


def sample_keys(index: int) -> Iterator[str]:
    """One MLX adapter key of each of the twenty-six kinds, for block `index`."""
    for stem, kinds in (("double_blocks", DOUBLE_MODULES), ("single_blocks", SINGLE_MODULES)):
        for kind in kinds:
            for matrix in MATRICES:
                yield f"{stem}.{index}.{kind}.{matrix}"
