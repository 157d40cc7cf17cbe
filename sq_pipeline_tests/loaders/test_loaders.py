"""Tests of the harness itself: files whose answer is known, so that a wrong judge is found before it judges.

What needs a published wheel that cannot be had here is skipped as "not run", with the reason.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline_tests.adapters.files import SMALL, Tensors, load_bits, metadata_of, save, to_bits
from sq_pipeline_tests.loaders.apply import applied_updates
from sq_pipeline_tests.loaders.dialect_files import (
    write_ai_toolkit,
    write_bfl,
    write_bfl_down_up,
    write_diffusers,
    write_diffusers_with_metadata,
    write_kohya,
    write_mflux_tiled,
    write_mflux_train,
    write_mlx,
    write_onetrainer,
    write_onetrainer_omi,
    write_xlabs,
)
from sq_pipeline_tests.loaders.factors import Built, Recipe
from sq_pipeline_tests.loaders.layers import Update, no_update
from sq_pipeline_tests.loaders.matrix import EXACT, relative_error
from sq_pipeline_tests.loaders.outcomes import (
    DIFFUSERS,
    KOHYA,
    LOADERS,
    MFLUX_0_17,
    MFLUX_0_18,
    MFLUX_0_19,
    MFLUX_LOCKED,
    Applied,
    Loader,
    NotRun,
    Outcome,
    Refused,
)

OLD, NEW = (MFLUX_0_17, MFLUX_0_18), (MFLUX_0_19, MFLUX_LOCKED)
MFLUX = OLD + NEW
WIDE = replace(SMALL, double_blocks=2, single_blocks=2, hidden_size=16)
PROJ = "double_blocks.0.img_attn.proj"


def _by_hand(path: Path) -> Built:
    """Rank 2, alpha 1: half of up @ down, both matrices and the answer written out."""
    tensors: Tensors = {
        "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": ("F32", to_bits([[1, 2, 0, 0], [0, 0, 0, 4]])),
        "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight": ("F32", to_bits([[1, 0], [0, 0], [3, 0], [0, 0.5]])),
        "lora_unet_double_blocks_0_img_attn_proj.alpha": ("F32", to_bits(1.0)),
    }
    wanted = no_update(SMALL)
    wanted[PROJ] = np.array([[0.5, 1, 0, 0], [0, 0, 0, 0], [1.5, 3, 0, 0], [0, 0, 0, 1]])
    return Built(save(path, tensors), wanted)


def _block_diagonal(path: Path) -> Built:
    """q, k and v with a rank of their own inside one fused pair: diffusers cuts such a pair along the rank."""
    random = np.random.default_rng(0)
    down, up = random.standard_normal((6, 4)), np.zeros((12, 6))
    for part in range(3):
        up[4 * part : 4 * part + 4, 2 * part : 2 * part + 2] = random.standard_normal((4, 2))
    down, up = (matrix.astype(np.float32).astype(np.float64) for matrix in (down, up))
    name = "lora_unet_double_blocks_0_txt_attn_qkv"
    tensors: Tensors = {
        f"{name}.lora_down.weight": ("F32", to_bits(down)),
        f"{name}.lora_up.weight": ("F32", to_bits(up)),
        f"{name}.alpha": ("F32", to_bits(6.0)),
    }
    return Built(save(path, tensors), {**no_update(SMALL), "double_blocks.0.txt_attn.qkv": up @ down})


def _without_one_matrix(path: Path) -> Built:
    """A file in diffusers' names that lacks the `lora_B` of one layer: it has no known update, none is wanted."""
    built = write_diffusers(path, Recipe())
    tensors = load_bits(path)
    del tensors["transformer.transformer_blocks.0.attn.to_add_out.lora_B.weight"]
    return Built(save(path, tensors), {**built.wanted, "double_blocks.0.txt_attn.proj": np.zeros((4, 4))})


def _one_block_too_many(path: Path) -> Built:
    """Two blocks of each kind, for a base model that has one."""
    built = write_diffusers(path, Recipe(replace(SMALL, double_blocks=2, single_blocks=2)))
    return Built(path, {name: update for name, update in built.wanted.items() if name in no_update(SMALL)})


def _rank_stabilized(path: Path) -> Built:
    """PEFT's rsLoRA: alpha / √rank, told in the metadata alone."""
    built = write_diffusers_with_metadata(path, Recipe(ranks=5, alpha="half"))
    metadata = metadata_of(path)
    config = {**json.loads(metadata["lora_adapter_metadata"]), "transformer.use_rslora": True}
    save(path, load_bits(path), {**metadata, "lora_adapter_metadata": json.dumps(config)})
    return Built(path, {name: 5**0.5 * update for name, update in built.wanted.items()})


def _from(write: Callable[[Path, Recipe], Built], recipe: Recipe) -> Callable[[Path], Built]:
    return lambda path: write(path, recipe)


RANK_8 = Recipe(ranks=8)
MIXED = Recipe(ranks=(1, 2, 3, 4, 5), own_parts=True)
FILES: Mapping[str, Callable[[Path], Built]] = {
    "by hand": _by_hand,
    "block diagonal": _block_diagonal,
    "one matrix missing": _without_one_matrix,
    "one block too many": _one_block_too_many,
    "kohya": _from(write_kohya, replace(RANK_8, alpha="rank")),
    "kohya, half": _from(write_kohya, Recipe(ranks=5, alpha="half")),
    "kohya, no alpha": _from(write_kohya, RANK_8),
    "kohya, bf16": _from(write_kohya, Recipe(WIDE, ranks=5, alpha="half", dtype="BF16")),
    "kohya, f16, alpha 1": _from(write_kohya, Recipe(ranks=5, alpha="one", dtype="F16")),
    "tiled": _from(write_mflux_tiled, replace(RANK_8, base_model=WIDE)),
    "diffusers": _from(write_diffusers, RANK_8),
    "diffusers, half": _from(write_diffusers, replace(MIXED, alpha="half")),
    "diffusers, mixed ranks": _from(write_ai_toolkit, replace(MIXED, base_model=WIDE)),
    "diffusers, some alphas": _from(write_diffusers, Recipe(ranks=5, alpha="some")),
    "diffusers, metadata": _from(write_diffusers_with_metadata, Recipe(ranks=5, alpha="half")),
    "diffusers, rsLoRA": _rank_stabilized,
    "diffusers, bf16, alpha 1": _from(write_diffusers, Recipe(ranks=5, alpha="one", dtype="BF16")),
    "mflux-train": _from(write_mflux_train, RANK_8),
    "xlabs": _from(write_xlabs, RANK_8),
    "bfl": _from(write_bfl, RANK_8),
    "bfl-down-up": _from(write_bfl_down_up, Recipe(ranks=8, alpha="half")),
    "mlx": _from(write_mlx, RANK_8),
    "onetrainer": _from(write_onetrainer, replace(RANK_8, alpha="half")),
    "onetrainer, attention": _from(write_onetrainer, Recipe(ranks=8, alpha="half", only="attn")),
    "omi": _from(write_onetrainer_omi, replace(RANK_8, alpha="half")),
}
_BASE_MODELS = {"kohya, bf16": WIDE, "tiled": WIDE, "diffusers, mixed ranks": WIDE}


class Answers:
    """Every file of FILES, and each loader's outcome with it; a loader is asked once, when its first answer is read."""

    def __init__(self, folder: Path) -> None:
        self.built = {name: build(folder / f"{index}.safetensors") for index, (name, build) in enumerate(FILES.items())}
        self._outcomes: dict[Loader, dict[str, Outcome]] = {}

    def of(self, loader: Loader, name: str) -> Outcome:
        """The outcome; skips the test where the loader cannot be had."""
        if loader not in self._outcomes:
            files: list[tuple[Path, Flux1Model]] = [
                (built.path, _BASE_MODELS.get(name, SMALL)) for name, built in self.built.items()
            ]
            self._outcomes[loader] = dict(zip(FILES, applied_updates(loader, files), strict=True))
        outcome = self._outcomes[loader][name]
        if isinstance(outcome, NotRun):
            pytest.skip(f"not run: {outcome.reason}")
        return outcome

    def applied(self, loader: Loader, name: str) -> tuple[Applied, Mapping[str, Update]]:
        """What was applied, and what was wanted."""
        outcome = self.of(loader, name)
        assert isinstance(outcome, Applied), outcome
        return outcome, self.built[name].wanted


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """One for all tests: the processes are what costs."""
    return Answers(tmp_path_factory.mktemp("loaders"))


def _table(cases: Mapping[str, tuple[Loader, ...]]) -> list[object]:
    return [pytest.param(loader, name, id=f"{loader}-{name}") for name, loaders in cases.items() for loader in loaders]


APPLIED_WHOLE = {
    "by hand": tuple(LOADERS),
    "block diagonal": (*NEW, DIFFUSERS, KOHYA),
    "kohya": (*NEW, DIFFUSERS, KOHYA),
    "kohya, no alpha": (*NEW, DIFFUSERS),
    "kohya, half": tuple(LOADERS),  # on an old mflux too: its rank divides by neither 3 nor 4
    "kohya, bf16": tuple(LOADERS),
    "tiled": OLD,
    "diffusers": (*MFLUX, DIFFUSERS),
    "diffusers, half": (*MFLUX, DIFFUSERS),
    "diffusers, mixed ranks": (*MFLUX, DIFFUSERS),
    "diffusers, some alphas": MFLUX,
    "diffusers, metadata": (MFLUX_LOCKED, DIFFUSERS),
    "diffusers, rsLoRA": (MFLUX_LOCKED, DIFFUSERS),
    "mflux-train": MFLUX,
    "xlabs": (DIFFUSERS,),
    "bfl-down-up": (DIFFUSERS,),
    "onetrainer, attention": (DIFFUSERS,),
}


@pytest.mark.parametrize(("loader", "name"), _table(APPLIED_WHOLE))
def test_a_file_that_the_loader_reads_is_applied_whole(loader: Loader, name: str, answers: Answers) -> None:
    applied, wanted = answers.applied(loader, name)
    assert applied.keys() == wanted.keys()
    assert all(update.dtype == np.float64 for update in applied.values())
    assert relative_error(applied, wanted) < EXACT


REFUSED = {
    # an old mflux cuts the shared `down` along a rank that divides by 3, or by 4 for linear1
    ("kohya", OLD): "single_transformer_blocks.0.attn.to_q at first use: [matmul]",
    ("block diagonal", OLD): "transformer_blocks.0.attn.add_q_proj at first use: [matmul]",
    ("tiled", NEW): "transformer_blocks.0.attn.to_q at first use: [matmul]",
    ("tiled", (DIFFUSERS,)): "size mismatch for transformer_blocks.0.attn.to_q.lora_A.weight",
    ("kohya, no alpha", (KOHYA,)): "has no alpha",
    ("mlx", NEW): "No LoRA layers were applied",
    ("bfl", NEW): "No LoRA layers were applied",
    ("one matrix missing", NEW): "1 of the 20 layers",
    ("one block too many", NEW): "20 of the 40 layers",
    ("mflux-train", (DIFFUSERS,)): "one of its matrices was never loaded",
    ("onetrainer", (DIFFUSERS,)): "KeyError",
    ("omi", (DIFFUSERS,)): "not found in the base model",
}


@pytest.mark.parametrize(
    ("loader", "name", "reason"),
    [(loader, name, reason) for (name, loaders), reason in REFUSED.items() for loader in loaders],
    ids=str,
)
def test_a_file_that_the_loader_cannot_use_is_refused(loader: Loader, name: str, reason: str, answers: Answers) -> None:
    outcome = answers.of(loader, name)
    assert isinstance(outcome, Refused)
    assert reason in outcome.reason
    assert "\n" not in outcome.reason


NOTHING = {
    ("mlx", OLD): "26 unmatched keys",
    ("bfl", OLD): "26 unmatched keys",
    ("xlabs", OLD): "12 unmatched keys",
    ("omi", OLD): "60 unmatched keys",
    ("mlx", (DIFFUSERS,)): "No LoRA keys associated to FluxTransformer2DModel",
    ("bfl", (DIFFUSERS,)): "No LoRA keys associated to FluxTransformer2DModel",
    ("diffusers", (KOHYA,)): "unexpected keys: transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight",
}


@pytest.mark.parametrize(
    ("loader", "name", "complaint"),
    [(loader, name, complaint) for (name, loaders), complaint in NOTHING.items() for loader in loaders],
    ids=str,
)
def test_a_loader_that_goes_on_with_nothing_gives_zeros_and_its_complaint(
    loader: Loader, name: str, complaint: str, answers: Answers
) -> None:
    applied, wanted = answers.applied(loader, name)
    assert applied.keys() == wanted.keys()
    assert not any(update.any() for update in applied.values())
    assert any(complaint in said for said in applied.complaints)


@pytest.mark.parametrize("loader", [*OLD, MFLUX_0_19], ids=str)
def test_an_mflux_that_does_not_read_peft_metadata_applies_twice_the_update_of_alpha_half(
    loader: Loader, answers: Answers
) -> None:
    applied, wanted = answers.applied(loader, "diffusers, metadata")
    assert relative_error(applied, {name: 2 * update for name, update in wanted.items()}) < EXACT


def test_diffusers_gives_modules_without_an_alpha_that_of_another(answers: Answers) -> None:
    applied, wanted = answers.applied(DIFFUSERS, "diffusers, some alphas")
    scales = {name: np.linalg.norm(update) / np.linalg.norm(wanted[name]) for name, update in applied.items()}
    with_alpha = list(wanted)[1::2]
    assert scales == pytest.approx({name: 1.0 if name in with_alpha else 0.5 for name in wanted})


@pytest.mark.parametrize("loader", OLD, ids=str)
def test_an_old_mflux_that_leaves_a_layer_out_shows_the_rest_and_its_complaint(
    loader: Loader, answers: Answers
) -> None:
    applied, wanted = answers.applied(loader, "one matrix missing")
    assert relative_error(applied, wanted) < EXACT
    assert "❌ Missing required LoRA matrices for transformer_blocks.0.attn.to_add_out" in applied.complaints


@pytest.mark.parametrize("loader", OLD, ids=str)
def test_an_old_mflux_with_a_file_for_a_larger_model_says_what_it_could_not_find(
    loader: Loader, answers: Answers
) -> None:
    applied, wanted = answers.applied(loader, "one block too many")
    assert relative_error(applied, wanted) < EXACT
    assert sum("Could not find target path" in said for said in applied.complaints) == 20


@pytest.mark.parametrize(
    ("name", "limit"), [("kohya, f16, alpha 1", 2**-10), ("diffusers, bf16, alpha 1", 2**-8)], ids=str
)
@pytest.mark.parametrize("loader", [*MFLUX, DIFFUSERS], ids=str)
def test_an_alpha_computed_in_half_precision_is_rounded(
    loader: Loader, name: str, limit: float, answers: Answers
) -> None:
    applied, wanted = answers.applied(loader, name)
    assert EXACT < relative_error(applied, wanted) < limit
