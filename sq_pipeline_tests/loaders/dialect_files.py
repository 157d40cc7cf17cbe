"""Builders of files: the same update in each dialect of FLUX.1 adapters, written with the reference library.

Each takes a path and a recipe, and gives the file with the update it means. A dialect that cannot hold what the
recipe asks for (an alpha, parts of their own) raises ValueError.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from sq_pipeline_tests.adapters.files import Tensors, save, to_bits
from sq_pipeline_tests.loaders.factors import Built, Factors, Numbers, Recipe, fused_factors, part_factors, wanted
from sq_pipeline_tests.loaders.layers import Naming, layers_of

_PEFT = (".lora_A.weight", ".lora_B.weight")
_KOHYA = (".lora_down.weight", ".lora_up.weight")


def write_mlx(path: Path, recipe: Recipe) -> Built:
    """mlx-examples: `lora_a` (inputs, rank) and `lora_b` (rank, outputs), no alpha."""
    _no_alpha(recipe)
    factors = fused_factors(recipe)
    tensors: Tensors = {}
    for one in factors:
        tensors[f"{one.module}.lora_a"] = (recipe.dtype, to_bits(one.down.T, recipe.dtype))
        tensors[f"{one.module}.lora_b"] = (recipe.dtype, to_bits(one.up.T, recipe.dtype))
    metadata = {"lora_rank": str(factors[0].rank), "lora_blocks": "-1"}
    return _built(path, recipe, factors, tensors, metadata)


def write_kohya(path: Path, recipe: Recipe) -> Built:
    """sd-scripts: fused modules, dots as underscores."""
    factors = fused_factors(recipe)
    tensors = _pairs(recipe, ((_kohya_name(one), one) for one in factors), _KOHYA)
    return _built(path, recipe, factors, tensors, {"ss_network_module": "networks.lora_flux"})


def write_mflux_tiled(path: Path, recipe: Recipe) -> Built:
    """What mflux up to 0.18 wanted: Kohya's names, `down` of a fused module three or four times along the rank."""
    _no_alpha(recipe)
    factors = fused_factors(recipe)
    tensors: Tensors = {}
    for one in factors:
        times = 4 if one.module.endswith("linear1") else 3 if one.module.endswith("qkv") else 1
        name = _kohya_name(one)
        tensors[f"{name}.lora_down.weight"] = (recipe.dtype, to_bits(np.tile(one.down, (times, 1)), recipe.dtype))
        tensors[f"{name}.lora_up.weight"] = (recipe.dtype, to_bits(one.up, recipe.dtype))
    return _built(path, recipe, factors, tensors)


def write_bfl(path: Path, recipe: Recipe) -> Built:
    """BFL's names as ComfyUI saves them: `diffusion_model.double_blocks.0.img_mlp.0.lora_A.weight`."""
    return _write_bfl(path, recipe, _PEFT)


def write_bfl_down_up(path: Path, recipe: Recipe) -> Built:
    """The same with `lora_down` and `lora_up`."""
    return _write_bfl(path, recipe, _KOHYA)


def write_diffusers(path: Path, recipe: Recipe) -> Built:
    """diffusers and PEFT: parts, `transformer.` before the path, an alpha as a tensor."""
    return _write_parts(path, recipe, "diffusers", _PEFT, {"format": "pt"})


def write_diffusers_with_metadata(path: Path, recipe: Recipe) -> Built:
    """The same as `save_lora_weights` of diffusers writes it now: ranks and alphas in `lora_adapter_metadata`."""
    factors = part_factors(recipe)
    paths = _paths(recipe, "diffusers")
    named = [(paths[one.module, one.part], one) for one in factors]
    tensors = _pairs(recipe, ((f"transformer.{name}", one) for name, one in named), _PEFT, has_alpha=False)
    alphas = {name: float(one.rank) if one.alpha is None else one.alpha for name, one in named}
    config = {
        "r": factors[0].rank,
        "lora_alpha": alphas[named[0][0]],
        "rank_pattern": {name: one.rank for name, one in named if one.rank != factors[0].rank},
        "alpha_pattern": {name: alpha for name, alpha in alphas.items() if alpha != alphas[named[0][0]]},
        "target_modules": sorted(alphas),
        "use_rslora": False,
        "use_dora": False,
        "lora_bias": False,
    }
    text = json.dumps({f"transformer.{name}": value for name, value in config.items()}, sort_keys=True)
    return _built(path, recipe, factors, tensors, {"format": "pt", "lora_adapter_metadata": text})


def write_ai_toolkit(path: Path, recipe: Recipe) -> Built:
    """ai-toolkit: diffusers' names without an alpha, and its own name in the metadata."""
    _no_alpha(recipe)
    software = json.dumps({"name": "ai-toolkit", "version": "0.7.5"})
    return _write_parts(path, recipe, "diffusers", _PEFT, {"format": "pt", "software": software})


def write_mflux_train(path: Path, recipe: Recipe) -> Built:
    """`mflux-train` as long as it trained FLUX.1 (to 0.15): mflux's paths, `lora_A` (rank, inputs), no `.weight`.

    The file holds no alpha, and its trainer scaled nothing.
    """
    _no_alpha(recipe)
    metadata = {"mflux_version": "0.15.5", "transformer_blocks": "None", "single_transformer_blocks": "None"}
    return _write_parts(path, recipe, "mflux", (".lora_A", ".lora_B"), metadata)


def write_mflux_train_new(path: Path, recipe: Recipe) -> Built:
    """The form that `mflux-train` writes since 0.16, for the families that it trains: with `.weight`."""
    _no_alpha(recipe)
    return _write_parts(path, recipe, "mflux", _PEFT, {"mflux_version": "0.24.0", "model": "flux1-dev"})


def write_xlabs(path: Path, recipe: Recipe) -> Built:
    """XLabs' processors: attention of double blocks, q/k/v and linear2 of single blocks, nothing else and no alpha."""
    _no_alpha(recipe)
    names = {
        "img_attn.qkv": "qkv_lora1",
        "txt_attn.qkv": "qkv_lora2",
        "img_attn.proj": "proj_lora1",
        "txt_attn.proj": "proj_lora2",
        "linear1": "qkv_lora",
        "linear2": "proj_lora",
    }
    named: list[tuple[str, Factors]] = []
    for one in fused_factors(recipe):
        stem, index, kind = one.module.split(".", 2)
        if kind == "linear1":
            rows = 3 * recipe.base_model.hidden_size
            one = Factors(one.module, "", 0, one.down, one.up[:rows], None)
        if kind in names:
            named.append((f"{stem}.{index}.processor.{names[kind]}", one))
    tensors = _pairs(recipe, named, (".down.weight", ".up.weight"))
    return _built(path, recipe, [one for _, one in named], tensors)


def write_onetrainer(path: Path, recipe: Recipe) -> Built:
    """OneTrainer's legacy files: diffusers' paths with underscores, behind `lora_transformer_`."""
    factors = part_factors(recipe)
    paths = _paths(recipe, "diffusers")
    named = (("lora_transformer_" + paths[one.module, one.part].replace(".", "_"), one) for one in factors)
    return _built(path, recipe, factors, _pairs(recipe, named, _KOHYA))


def write_onetrainer_omi(path: Path, recipe: Recipe) -> Built:
    """OneTrainer's OMI files: BFL's names in parts, `transformer.single_blocks.0.linear1.3`."""
    factors = part_factors(recipe)
    numbers = {"": "", "q": ".0", "k": ".1", "v": ".2", "mlp": ".3"}
    named = ((f"transformer.{_bfl_name(one)}{numbers[one.part]}", one) for one in factors)
    return _built(path, recipe, factors, _pairs(recipe, named, _KOHYA))


# name: builder, whether it holds an alpha, whether it holds parts of their own
DIALECTS: Mapping[str, tuple[Callable[[Path, Recipe], Built], bool, bool]] = {
    "mlx": (write_mlx, False, False),
    "kohya": (write_kohya, True, False),
    "mflux-tiled": (write_mflux_tiled, False, False),
    "bfl": (write_bfl, True, False),
    "bfl-down-up": (write_bfl_down_up, True, False),
    "diffusers": (write_diffusers, True, True),
    "diffusers-metadata": (write_diffusers_with_metadata, True, True),
    "ai-toolkit": (write_ai_toolkit, False, True),
    "mflux-train": (write_mflux_train, False, True),
    "mflux-train-new": (write_mflux_train_new, False, True),
    "xlabs": (write_xlabs, False, False),
    "onetrainer": (write_onetrainer, True, True),
    "onetrainer-omi": (write_onetrainer_omi, True, True),
}


def _no_alpha(recipe: Recipe) -> None:
    if recipe.alpha != "none":
        raise ValueError("this dialect holds no alpha")


def _kohya_name(one: Factors) -> str:
    return "lora_unet_" + _bfl_name(one).replace(".", "_")


def _bfl_name(one: Factors) -> str:
    return one.module.replace(".layers.", ".")


def _paths(recipe: Recipe, naming: Naming) -> dict[tuple[str, str], str]:
    return {(layer.module, layer.part): layer.path for layer in layers_of(recipe.base_model, naming)}


def _write_bfl(path: Path, recipe: Recipe, words: tuple[str, str]) -> Built:
    factors = fused_factors(recipe)
    tensors = _pairs(recipe, ((f"diffusion_model.{_bfl_name(one)}", one) for one in factors), words)
    return _built(path, recipe, factors, tensors)


def _write_parts(
    path: Path, recipe: Recipe, naming: Naming, words: tuple[str, str], metadata: Mapping[str, str]
) -> Built:
    factors = part_factors(recipe)
    paths = _paths(recipe, naming)
    named = ((f"transformer.{paths[one.module, one.part]}", one) for one in factors)
    return _built(path, recipe, factors, _pairs(recipe, named, words), metadata)


def _pairs(
    recipe: Recipe, named: Iterable[tuple[str, Factors]], words: tuple[str, str], has_alpha: bool = True
) -> Tensors:
    tensors: Tensors = {}
    for name, one in named:
        for word, numbers in zip(words, (one.down, one.up), strict=True):
            tensors[name + word] = _stored(numbers, recipe)
        if has_alpha and one.alpha is not None:
            tensors[f"{name}.alpha"] = _stored(np.float64(one.alpha), recipe)
    return tensors


def _stored(numbers: Numbers | np.float64, recipe: Recipe) -> tuple[str, np.ndarray]:
    return recipe.dtype, to_bits(numbers, recipe.dtype)


def _built(
    path: Path,
    recipe: Recipe,
    factors: list[Factors],
    tensors: Tensors,
    metadata: Mapping[str, str] | None = None,
) -> Built:
    return Built(save(path, tensors, metadata), wanted(recipe, factors))
