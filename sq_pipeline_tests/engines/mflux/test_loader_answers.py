"""mflux's own loader, asked about files of every family that it has a mapping for, in each of their namings."""

import importlib.util
import pkgutil
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mflux.models
import numpy as np
import pytest
from mflux.models.common.lora.mapping.lora_loader import LoRALoader
from safetensors.numpy import save_file

from sq_pipeline.adapters.inspect.inspect import report_adapter
from sq_pipeline.engines import factory
from sq_pipeline.engines.mflux.adapter_families import ADAPTER_FAMILIES, AdapterFamily

# isort: split
import mlx.core as mx

RANK = 2
CASES = [(family, model) for family in ADAPTER_FAMILIES for model in family.models]
Tensors = dict[str, np.ndarray]
Pair = tuple[str, str]
Chosen = tuple[Any, Pair]  # a target of a mapping, and its names
_DOWN = re.compile(r"lora_A|lora_down|lora\.down|(?<=_lora[12]\.)down|(?<=_lora\.)down")
_UP = {"lora_A": "lora_B", "lora_down": "lora_up", "lora.down": "lora.up", "down": "up"}


def naming_of(down: str) -> str:
    """What a naming is told by: its first word, and how its matrices are called."""
    head = re.match(
        r"(?:diffusion_model|transformer|base_model\.model|unet|lora_unet|lycoris|lora_transformer)[._]", down
    )
    ending = down[match.start() :] if (match := _DOWN.search(down)) else ""
    return f"{head[0] if head else ''}…{ending}"


def pairs_of(target: Any) -> Mapping[str, list[Pair]]:
    """The target's names by naming, each a pair of up and down."""
    found: dict[str, list[Pair]] = {}
    ups = set(target.possible_up_patterns)
    for down in target.possible_down_patterns:
        match = _DOWN.search(down)
        up = f"{down[: match.start()]}{_UP[match[0]]}{down[match.end() :]}" if match else ""
        if up in ups:
            found.setdefault(naming_of(down), []).append((up, down))
    return found


def namings(family: AdapterFamily) -> Mapping[str, list[Chosen]]:
    """For each naming of a family a pair for as many targets as it has without a module in two of them: the names of
    parts, else of the fused matrix that all of its parts are cut from.
    """
    targets = [(number, target, pairs_of(target)) for number, target in enumerate(family.targets())]
    found: dict[str, list[Chosen]] = {}
    for naming in sorted({name for _, _, pairs in targets for name in pairs}):
        owners: dict[Pair, set[int]] = {}
        for number, _, pairs in targets:
            for pair in pairs.get(naming, ()):
                owners.setdefault(pair, set()).add(number)
        chosen = {
            number: min(pairs[naming], key=lambda pair: (len(owners[pair]), pair))
            for number, _, pairs in targets
            if naming in pairs
        }
        taken: dict[str, Pair] = {}  # which names each layer has by now: two for one are a fault
        paths = {number: target.model_path for number, target, _ in targets}
        for number, pair in chosen.items():
            layers = {paths[owner] for owner in owners[pair]}
            if chosen[number] == pair and all(taken.get(layer, pair) == pair for layer in layers):
                taken |= dict.fromkeys(layers, pair)
        found[naming] = [(target, taken[path]) for _, target, _ in targets if (path := target.model_path) in taken]
    return found


def matrices(family: AdapterFamily, model: str, chosen: list[Chosen]) -> tuple[Tensors, set[str]]:
    """An adapter over the first block of everything that is named, and the layers that it changes. A fused matrix has
    the rows of all layers that it is cut into.
    """
    transformer = family.make_transformer(model)
    downs: Tensors = {}
    outputs: dict[str, int] = {}
    paths: set[str] = set()
    for target, pair in chosen:
        path = target.model_path.replace("{block}", "0")
        up, down = (name.replace("{block}", "0") for name in pair)
        try:
            layer: Any = LoRALoader._get_target_module(transformer, path)
            out, into = layer.weight.shape
        except (AttributeError, IndexError, KeyError):
            continue  # a block that has no such layer
        outputs[up] = outputs.get(up, 0) + (0 if path in paths else out)  # some layers have two targets
        downs[down] = np.full((RANK, into), 0.01, np.float32)
        paths.add(path)
    return downs | {up: np.full((out, RANK), 0.01, np.float32) for up, out in outputs.items()}, paths


def write(path: Path, tensors: Mapping[str, np.ndarray]) -> Path:
    save_file(dict(tensors), path)
    return path


def ask(path: Path, tensors: Mapping[str, Any]) -> Any:
    return next(iter(factory.ask_mflux(path, list(tensors))), None)


@pytest.mark.parametrize(("family", "model"), CASES, ids=[model for _, model in CASES])
def test_every_naming_of_every_family_is_known_as_its_own(family: AdapterFamily, model: str, tmp_path: Path) -> None:
    before, seen = mx.get_active_memory(), 0
    for number, (naming, chosen) in enumerate(namings(family).items()):
        tensors, paths = matrices(family, model, chosen)
        if not tensors:
            continue
        seen += 1
        path = write(tmp_path / f"{number}.safetensors", tensors)
        (own,) = [answer for answer in factory.ask_mflux(path, list(tensors)) if answer.model == model]
        assert own.problem == "", naming
        assert (own.family, own.matched, own.unread) == (family.name, len(tensors), ())
        assert own.layers == len(paths), naming
    assert seen >= 2
    assert mx.get_active_memory() - before < 2**26  # no weight was computed


def test_the_table_has_every_mapping_of_the_installed_mflux() -> None:
    """A family that a new mflux adds is noticed here; a row of the table makes it known."""
    root = importlib.util.find_spec("mflux.models")
    assert root is not None
    modules = {
        module.name.removeprefix("mflux.models.")
        for module in pkgutil.walk_packages(mflux.models.__path__, "mflux.models.", onerror=lambda _: None)
        if module.name.endswith("_lora_mapping")
    }
    known = {family.mapping.partition(":")[0] for family in ADAPTER_FAMILIES}
    assert known == modules


QWEN = next(family for family in ADAPTER_FAMILIES if family.name == "Qwen-Image")


@pytest.fixture(scope="module")
def qwen() -> Tensors:
    tensors, _ = matrices(QWEN, "qwen-image", namings(QWEN)["diffusion_model.…lora_A.weight"])
    return tensors


def report(tmp_path: Path, tensors: Tensors, **more: Any) -> Any:
    return report_adapter(write(tmp_path / "a.safetensors", tensors), ask=factory.ask_mflux, **more)


def test_a_report_names_the_model_and_what_mflux_does(qwen: Tensors, tmp_path: Path) -> None:
    found = report(tmp_path, qwen)
    assert found.fit.base_models == ("qwen-image",)
    assert found.faults == ()
    mflux = found.loads_in[0]
    assert (mflux.loader, mflux.answer) == ("mflux >=0.19", "yes")
    assert re.fullmatch(r"as qwen-image: mflux 0\.24\.0 changes \d+ layers", mflux.reason)
    assert {verdict.answer for verdict in found.loads_in[1:]} == {"not known"}


def test_what_is_left_out_without_an_error_is_no_yes(qwen: Tensors, tmp_path: Path) -> None:
    more = {f"somewhere.{matrix}.weight": np.ones((8, 8), np.float32) for matrix in ("lora_A", "lora_B")}
    mflux = report(tmp_path, qwen | more).loads_in[0]
    assert mflux.answer == "no"
    assert f"it does not know 2 of {len(qwen) + 2} names, such as somewhere.lora_" in mflux.reason


def test_a_width_that_does_not_fit_is_told_though_the_loader_takes_it(qwen: Tensors, tmp_path: Path) -> None:
    name = next(name for name in qwen if "lora_A" in name or "down" in name)
    found = report(tmp_path, {**qwen, name: np.ones((RANK, 64), np.float32)})
    mflux = found.loads_in[0]
    assert mflux.answer == "no"
    assert "as Qwen-Image: " in mflux.reason
    assert "inputs" in mflux.reason


def test_half_a_module_is_refused_in_mflux_s_own_words(qwen: Tensors, tmp_path: Path) -> None:
    (first, *_) = (name for name in qwen if "lora_A" in name or "down" in name)
    answer = ask(write(tmp_path / "a.safetensors", {name: one for name, one in qwen.items() if name != first}), qwen)
    assert "could not be applied" in answer.problem


def test_another_version_than_the_installed_was_not_asked(qwen: Tensors, tmp_path: Path) -> None:
    assert report(tmp_path, qwen, loader="mflux 0.24.0").faults == ()
    (fault,) = report(tmp_path, qwen, loader="mflux 0.20.0").faults
    assert "only the installed mflux 0.24.0 was asked" in fault


def test_names_that_no_family_has_are_no_question_of_a_family(tmp_path: Path) -> None:
    tensors = {f"down_blocks.0.attn.to_q.{matrix}": np.ones((8, 8), np.float32) for matrix in ("lora_A", "lora_B")}
    assert ask(write(tmp_path / "a.safetensors", tensors), tensors) is None
    assert "it knows none of the names" in report(tmp_path, tensors).loads_in[0].reason
