"""Tests of what `adapter inspect` says of each loader: the published loaders themselves are the judges.

Every dialect is written in many ways, given to every loader, and the verdict must be what came of it: the whole update,
or not. Which loaders there are, and how they are run, is in `sq_pipeline_tests.loaders`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mflux.models.flux.weights.flux_lora_mapping import FluxLoRAMapping

from sq_pipeline.adapters.inspect import loader_verdicts
from sq_pipeline.adapters.inspect.inspect import report_adapter
from sq_pipeline.adapters.inspect.loader_names import unread_names
from sq_pipeline.adapters.inspect.loader_verdicts import LOADERS
from sq_pipeline.common.errors import SelectionError
from sq_pipeline_tests.adapters.files import SMALL, load_bits, mlx_tensors, save, to_bits
from sq_pipeline_tests.loaders.apply import applied_updates
from sq_pipeline_tests.loaders.dialect_files import DIALECTS
from sq_pipeline_tests.loaders.factors import Alpha, Built, Recipe
from sq_pipeline_tests.loaders.outcomes import (
    DIFFUSERS,
    KOHYA,
    MFLUX_0_17,
    MFLUX_0_18,
    MFLUX_0_19,
    MFLUX_LOCKED,
    Applied,
    Loader,
    NotRun,
    Outcome,
)
from sq_pipeline_tests.parts import rest_is_long

# how `adapter inspect --loader` calls the loaders of the harness
WORDS = {
    **{loader: str(loader) for loader in (MFLUX_0_17, MFLUX_0_18, MFLUX_0_19, MFLUX_LOCKED, DIFFUSERS)},
    KOHYA: "sd-scripts",
}
# alphas and ranks that are tried together, and whether parts have matrices of their own. Ranks that the old mflux cuts
# in four, in three, in neither
CASES: tuple[tuple[Alpha, int | tuple[int, ...], bool], ...] = (
    *(("none", rank, False) for rank in (4, 5, 6, (4, 5))),
    ("rank", (4, 5), False),
    ("half", 4, False),
    ("some", 4, False),
    ("none", (4, 5), True),
    ("half", 5, True),
)


def recipes() -> Iterator[tuple[str, str, Recipe]]:
    """Name, dialect and recipe of every file."""
    for dialect, (_, has_alpha, has_parts) in DIALECTS.items():
        for alpha, ranks, own_parts in CASES:
            if (has_alpha or alpha == "none") and (has_parts or not own_parts):
                recipe = Recipe(ranks=ranks, alpha=alpha, own_parts=own_parts)
                yield f"{dialect}-{alpha}-{ranks}{'-parts' if own_parts else ''}", dialect, recipe
    attention = Recipe(ranks=4, alpha="half", only=r"attn|linear1\.[qkv]", own_parts=True)
    yield "onetrainer-attention", "onetrainer", attention
    yield "onetrainer-attention-none", "onetrainer", Recipe(ranks=4, only="_attn", own_parts=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    folder = tmp_path_factory.mktemp("verdicts")
    built = {name: DIALECTS[dialect][0](folder / f"{name}.safetensors", recipe) for name, dialect, recipe in recipes()}
    first = built["diffusers-half-4"]
    both = folder / "both.safetensors"
    metadata = {"lora_adapter_metadata": '{"transformer.r": 4, "transformer.lora_alpha": 2}'}
    return {**built, "alphas twice": Built(save(both, load_bits(first.path), metadata), first.wanted)}


def is_right(outcome: Outcome, built: Built) -> bool:
    """True when the loader added the whole update that the file means, and nothing else."""
    if not isinstance(outcome, Applied):
        return False
    return all(np.allclose(outcome[module], update, rtol=1e-5, atol=1e-6) for module, update in built.wanted.items())


@pytest.mark.parametrize("loader", rest_is_long(WORDS, str(MFLUX_LOCKED), str(DIFFUSERS), str(KOHYA)))
def test_a_verdict_is_what_the_loader_does(loader: Loader, files: dict[str, Built], monkeypatch: pytest.MonkeyPatch):
    # the harness gives every loader the small model's widths; published ones know FLUX.1's alone
    monkeypatch.setattr(loader_verdicts, "_REAL_HIDDEN_SIZE", SMALL.hidden_size)
    outcomes = applied_updates(loader, [(built.path, SMALL) for built in files.values()])
    if isinstance(outcomes[0], NotRun):
        pytest.skip(outcomes[0].reason)
    wrong: list[str] = []
    for (name, built), outcome in zip(files.items(), outcomes, strict=True):
        faults = report_adapter(built.path, loader=WORDS[loader], base_models=(SMALL,)).faults
        said = next((fault for fault in faults if "does not load it rightly" in fault), "")
        if is_right(outcome, built) == bool(said):
            wrong.append(f"{name}: {said or 'said to be right'}, but {getattr(outcome, 'reason', 'applied')}")
    assert wrong == []
    assert {is_right(outcome, built) for outcome, built in zip(outcomes, files.values(), strict=True)} == {True, False}


def test_the_names_that_mflux_reads_are_those_of_the_installed_one():
    patterns = [
        pattern
        for target in FluxLoRAMapping.get_mapping()
        if "{block}" in target.model_path
        for pattern in (*target.possible_up_patterns, *target.possible_down_patterns)
    ]
    names = {pattern.format(block=7) for pattern in patterns}
    names |= {name.removesuffix(".weight") for name in names}
    assert len(names) > 200
    assert unread_names("mflux >=0.19", names) == []
    others = [name.replace("transformer_blocks", "blocks") for name in names] + [f"x.{name}" for name in names]
    others += [name.replace("lora_", "lokr_").replace("unet", "uvit") for name in names]
    assert sorted(unread_names("mflux >=0.19", others)) == sorted(name for name in others if name not in names)


@pytest.mark.parametrize("loader", LOADERS)
def test_what_is_faulty_is_right_nowhere(tmp_path: Path, loader: str):
    tensors = mlx_tensors(SMALL)
    del tensors["double_blocks.0.img_attn.qkv.lora_b"]
    report = report_adapter(save(tmp_path / "a.safetensors", tensors), base_models=(SMALL,))
    (verdict,) = [verdict for verdict in report.loads_in if verdict.loader == loader]
    assert not verdict.is_right
    assert verdict.reason == "the file is faulty: double_blocks.0.img_attn.qkv: its up matrix is missing"


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        ("mflux 0.18.1", "mflux 0.18.1 does not load it rightly: it cuts the fused down matrix"),
        ("mflux 0.17", "mflux 0.17 does not load it rightly: it cuts the fused down matrix"),
        ("mflux 0.19.0", ""),
        ("mflux 0.24.0", ""),
        ("kohya", "sd-scripts does not load it rightly: it needs an alpha for every module, and 13 have none"),
    ],
)
def test_a_loader_that_is_asked_for_makes_a_fault(tmp_path: Path, wanted: str, word: str):
    tensors = {
        f"lora_unet_{name.replace('.layers', '').replace('.lora_', '|').replace('.', '_')}": both
        for name, both in mlx_tensors(SMALL, rank=4).items()
    }
    kohya = {
        f"{name[:-2]}.lora_{'down' if name.endswith('a') else 'up'}.weight": (dtype, bits.T)
        for name, (dtype, bits) in tensors.items()
    }
    path = save(tmp_path / "a.safetensors", kohya)
    plain = report_adapter(path, base_models=(SMALL,)).faults
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader_verdicts, "_REAL_HIDDEN_SIZE", SMALL.hidden_size)
        asked = report_adapter(path, loader=wanted, base_models=(SMALL,)).faults
    assert asked[: len(plain)] == plain
    assert len(asked) - len(plain) == bool(word)
    assert asked[-1].startswith(word or plain[-1])


@pytest.mark.parametrize("wanted", ["mflux", "mflux new", "torch 2.0", "", "0.18.1"])
def test_a_loader_that_is_not_known_is_an_error(tmp_path: Path, wanted: str):
    path = save(tmp_path / "a.safetensors", {"x": ("F32", to_bits([1.0]))})
    with pytest.raises(SelectionError, match="no loader"):
        report_adapter(path, loader=wanted)
