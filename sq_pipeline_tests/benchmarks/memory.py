"""Memory of a training, measured and extrapolated: `python -m sq_pipeline_tests.benchmarks.memory` (15 minutes).

Steps of growing width, depth, tokens and batch are measured, each in a process of its own; `training.memory`'s
numbers are fitted again from them and shown beside the ones in use; the largest cases are left out of the fit and
predicted. Then the ratios that are wanted, and the table for FLUX.1-dev. Not here: a measurement (`memory_cases`).
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from sq_pipeline.base_models.base_models import FLUX1_MODELS, Dtype
from sq_pipeline.cli.printing import print_line, print_table, say
from sq_pipeline.training.memory import (
    ACTIVATION_COSTS,
    TrainingSettings,
    activation_bytes,
    adapter_bytes,
    image_tokens_of,
    training_need,
    weight_bytes,
)
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.benchmarks.memory_cases import Case, Measured, measure_apart

Pair = tuple[Case, Measured]
_GIB = 2**30
_ROUNDS = 5
_FIXED_MATRICES = 5  # adapter, two gradients, two moments

# hidden size, double blocks, single blocks, text tokens, side of the grid, batch
_COMMON = [(128, 1, 1, 64, 32, 1), (128, 2, 4, 64, 32, 1), (128, 1, 1, 64, 44, 1), (128, 1, 3, 64, 44, 1)]
_GROWING: dict[Dtype, list[tuple[int, int, int, int, int, int]]] = {
    "float32": [
        *_COMMON,
        (128, 3, 8, 64, 48, 1),
        (256, 1, 1, 64, 16, 1),
        (256, 4, 1, 64, 16, 1),
        (256, 1, 7, 64, 16, 1),
        (256, 2, 4, 64, 24, 1),
        (256, 1, 2, 64, 32, 1),
        (256, 2, 3, 256, 16, 2),
        (512, 2, 4, 64, 16, 1),
        (512, 2, 2, 64, 16, 2),
        (512, 2, 4, 128, 24, 1),
        (768, 1, 3, 64, 16, 1),
    ],
    # a CPU multiplies bfloat16 slowly
    "bfloat16": [
        *_COMMON,
        (256, 1, 1, 64, 8, 1),
        (256, 3, 1, 64, 8, 1),
        (256, 1, 4, 64, 8, 1),
        (256, 1, 1, 64, 16, 1),
        (256, 1, 2, 64, 16, 2),
        (256, 1, 2, 64, 24, 1),
        (512, 1, 1, 64, 8, 1),
        (512, 1, 2, 64, 12, 1),
    ],
}
_VALIDATED_ON: dict[Dtype, list[tuple[int, int, int, int, int, int]]] = {
    "float32": [(768, 3, 6, 128, 32, 1), (3072, 1, 1, 64, 16, 1)],
    "bfloat16": [(384, 2, 4, 64, 16, 1)],
}


def _cases(rows: Sequence[tuple[int, int, int, int, int, int]], dtype: Dtype, *, recomputes: bool) -> Iterator[Case]:
    for hidden, double, single, text, side, batch in rows:
        yield Case(hidden, double, single, text, (side, side), batch, dtype=dtype, recomputes=recomputes)


def _measure(cases: Iterator[Case]) -> list[Pair]:
    pairs: list[Pair] = []
    for case in cases:
        say(f"{case} …")
        pairs.append((case, measure_apart(case)))
    return pairs


def _activation_values(case: Case, measured: Measured) -> float:
    """What the step held beside weights, adapter, gradients and optimizer, in values of its dtype."""
    rest = measured.peak_bytes - measured.weights_bytes - _FIXED_MATRICES * measured.adapter_bytes
    return rest / (4 if case.dtype == "float32" else 2)


def _fit(pairs: Sequence[Pair]) -> list[float]:
    """The costs of `ActivationCosts` by least squares of relative errors: four without checkpointing, two with it."""
    rows: list[list[float]] = []
    wanted: list[float] = []
    for case, measured in pairs:
        tokens = case.shape.tokens
        stream = case.batch_size * tokens * case.hidden_size
        scores = case.batch_size * tokens**2 * (case.hidden_size // 128)
        blocks = case.double_blocks + case.single_blocks
        values = _activation_values(case, measured)
        if case.recomputes:
            row, counted = [stream, scores], blocks * stream
        else:
            row = [case.double_blocks * stream, case.single_blocks * stream, stream, scores]
            counted = blocks * scores
        rows.append([term / values for term in row])
        wanted.append((values - counted) / values)
    return [float(cost) for cost in np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]]


def _predicted_bytes(case: Case) -> int:
    recipe = Recipe(rank=case.rank)
    return (
        weight_bytes(case.base_model, case.bits, case.dtype)
        + _FIXED_MATRICES * adapter_bytes(case.base_model, recipe)
        + activation_bytes(case.base_model, case.shape, case.dtype, is_checkpointed=case.recomputes)
    )


def _errors(pairs: Sequence[Pair]) -> list[float]:
    return [_predicted_bytes(case) / measured.peak_bytes - 1 for case, measured in pairs]


def measure_growth() -> None:
    """Fit, and hold the model in use against what was measured."""
    rows: list[tuple[str, ...]] = []
    validation: list[tuple[str, ...]] = []
    for dtype in ("float32", "bfloat16"):
        for recomputes in (False, True):
            pairs = _measure(_cases(_GROWING[dtype], dtype, recomputes=recomputes))
            costs = ACTIVATION_COSTS[dtype]
            used = (
                [costs.checkpointed_work_stream, costs.checkpointed_work_scores]
                if recomputes
                else [costs.double_stream, costs.single_stream, costs.work_stream, costs.work_scores]
            )
            fitted = ", ".join(f"{cost:.2f}" for cost in _fit(pairs))
            errors = [f"{100 * error:+.1f}" for error in _errors(pairs)]
            kind = f"{dtype}, {'with' if recomputes else 'without'} checkpointing"
            rows.append((kind, fitted, ", ".join(f"{cost:.2f}" for cost in used), " ".join(errors)))
            for case, measured in _measure(_cases(_VALIDATED_ON[dtype], dtype, recomputes=recomputes)):
                sizes = f"{case.hidden_size}, {case.double_blocks}+{case.single_blocks}, {case.shape.tokens} tokens"
                error = _predicted_bytes(case) / measured.peak_bytes - 1
                peak = f"{measured.peak_bytes / _GIB:.2f} GiB"
                validation.append((kind, sizes, peak, f"{100 * error:+.1f} %"))
    print_table(("what", "fitted now", "in use", "total's error over the cases, %"), rows)
    print_table(("not in the fit", "hidden, blocks, tokens", "measured", "model's error"), validation)


def measure_terms() -> None:
    """Rank and bits, which are counted and not fitted."""
    base = Case(512, 1, 2, grid=(12, 12))
    cases = [replace(base, rank=64), replace(base, rank=128)]
    cases += [replace(base, bits=bits, recomputes=True) for bits in (16, 8, 4)]
    rows = [
        (
            f"rank {case.rank}, {case.bits} bits",
            f"{m.peak_bytes / _GIB:.3f} GiB",
            f"{100 * (_predicted_bytes(case) / m.peak_bytes - 1):+.1f} %",
        )
        for case, m in _measure(iter(cases))
    ]
    print_table(("counted", "measured", "model's error"), rows)


def measure_ratios() -> None:
    """What the two means give, in one run."""
    base = Case(384, 4, 8, grid=(24, 24))
    kept: list[Measured] = []
    again: list[Measured] = []
    for _ in range(_ROUNDS):
        kept.append(measure_apart(base))
        again.append(measure_apart(replace(base, recomputes=True)))
    slower = statistics.median(b.step_s / a.step_s for a, b in zip(kept, again, strict=True))
    sizes: list[Literal[16, 8, 4]] = [16, 8, 4]
    full, *quantized = (
        measure_apart(Case(512, 2, 4, grid=(4, 4), dtype="bfloat16", bits=bits)).weights_bytes for bits in sizes
    )
    rows = [
        (
            "peak with checkpointing, 12 blocks, over without",
            f"{again[0].peak_bytes / kept[0].peak_bytes:.3f}",
            "≤ 0.6",
        ),
        (f"time with checkpointing over without, median of {_ROUNDS}", f"{slower:.2f}", ""),
        ("weights in 8 bits over bfloat16 (hidden 512)", f"{quantized[0] / full:.3f}", ""),
        ("weights in 4 bits over bfloat16 (hidden 512)", f"{quantized[1] / full:.3f}", "≤ 0.4"),
    ]
    print_table(("what", "measured", "wanted"), rows)


def show_flux() -> None:
    """The table for FLUX.1-dev."""
    base_model, rows = FLUX1_MODELS["flux1-dev"], list[tuple[str, ...]]()
    for side in (512, 768):
        for rank in (8, 16):
            for is_checkpointed in (False, True):
                needs = [
                    training_need(
                        base_model,
                        Recipe(rank=rank),
                        image_tokens_of(side, side),
                        TrainingSettings(bits, is_checkpointed),
                        dtype="bfloat16",
                    )
                    for bits in (16, 8, 4)
                ]
                cells = (f"{need.training_bytes / _GIB:.1f}" for need in needs)
                rows.append((f"{side}²", str(rank), "yes" if is_checkpointed else "no", *cells))
    print_line("FLUX.1-dev, batch 1, accumulated gradients, GiB with the margin:")
    print_table(("size", "rank", "checkpointing", "bfloat16", "8 bits", "4 bits"), rows)


def main() -> None:
    """Print all figures."""
    measure_ratios()
    measure_terms()
    measure_growth()
    show_flux()


if __name__ == "__main__":
    import sq_pipeline.engines  # noqa: F401 - makes BLAS ready before MLX is loaded

    main()
