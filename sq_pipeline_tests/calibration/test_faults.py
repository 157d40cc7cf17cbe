"""What each edit does to the update that a file adds, on a small adapter."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.calibration.faults import EDITS, Tensors, edit_file

STEMS = ("lora_unet_double_blocks_0_img_mlp_0", "lora_unet_double_blocks_1_img_mlp_0", "lora_unet_single_blocks_0_x")


def adapter(seed: int, *, rank: int = 2, alpha: float | None = None) -> Tensors:
    numbers, found = np.random.default_rng(seed), Tensors()
    for stem in STEMS:
        found[f"{stem}.lora_down.weight"] = numbers.standard_normal((rank, 6)).astype(np.float32)
        found[f"{stem}.lora_up.weight"] = numbers.standard_normal((8, rank)).astype(np.float32)
        if alpha is not None:
            found[f"{stem}.alpha"] = np.array(alpha, np.float32)
    return found


def updates(tensors: Tensors) -> dict[str, npt.NDArray[np.float32]]:
    found: dict[str, npt.NDArray[np.float32]] = {}
    for stem in {name.rsplit(".", 2)[0] for name in tensors if name.endswith(".lora_up.weight")}:
        up, down = tensors[f"{stem}.lora_up.weight"], tensors[f"{stem}.lora_down.weight"]
        alpha = tensors.get(f"{stem}.alpha")
        found[stem] = up @ down * (1.0 if alpha is None else float(alpha) / up.shape[1])
    return found


def edited(name: str, tmp_path: Path, first: Tensors | None = None, second: Tensors | None = None) -> Tensors:
    files = [tmp_path / "first.safetensors", tmp_path / "second.safetensors"]
    for file, tensors in zip(files, (first or adapter(1), second or adapter(2)), strict=True):
        save_file(tensors, file, {"made": "here"})
    edit_file(EDITS[name], files[0], files[1], tmp_path / "edited.safetensors")
    return load_file(tmp_path / "edited.safetensors")


def same_size(name: str, before: Tensors, after: Tensors) -> None:
    assert set(before) == set(after)
    for key in before:
        assert np.linalg.norm(after[key]) == pytest.approx(np.linalg.norm(before[key]), rel=1e-5), (name, key)


@pytest.mark.parametrize(
    "name", ["noise of its size", "outputs exchanged", "inputs exchanged, as of another base model", "negated"]
)
def test_keeps_its_size_and_means_something_else(name: str, tmp_path: Path) -> None:
    before = adapter(1)
    after = edited(name, tmp_path, before)
    same_size(name, before, after)
    for stem, update in updates(before).items():
        other = updates(after)[stem]
        alike = float((update * other).sum() / np.linalg.norm(update) / np.linalg.norm(other))
        assert alike < 0.9, (name, stem)


@pytest.mark.parametrize(
    ("name", "factor"),
    [("zero", 0), ("a sixth of its strength", 0.15), ("four times too strong", 4), ("ten times too strong", 10)],
)
def test_is_as_much_stronger(name: str, factor: float, tmp_path: Path) -> None:
    before = adapter(1, alpha=1.0)
    after = updates(edited(name, tmp_path, before))
    for stem, update in updates(before).items():
        np.testing.assert_allclose(after[stem], factor * update, rtol=1e-5, atol=1e-6)


def test_blocks_go_to_their_neighbours(tmp_path: Path) -> None:
    before, after = adapter(1), edited("blocks exchanged", tmp_path)
    for at, to in ((0, 1), (1, 0)):
        for ending in ("lora_up.weight", "lora_down.weight"):
            name = "lora_unet_double_blocks_{}_img_mlp_0.{}"
            np.testing.assert_array_equal(after[name.format(to, ending)], before[name.format(at, ending)])
    assert set(after) == set(before)


@pytest.mark.parametrize("alphas", [(None, None), (1.0, None), (8.0, 0.5)])
def test_merged_is_the_sum_of_both(alphas: tuple[float | None, float | None], tmp_path: Path) -> None:
    first, second = adapter(1, alpha=alphas[0]), adapter(2, rank=3, alpha=alphas[1])
    merged = updates(edited("merged with another style", tmp_path, first, second))
    for stem, update in updates(first).items():
        np.testing.assert_allclose(merged[stem], update + updates(second)[stem], rtol=1e-5, atol=1e-5)


def test_half_of_it_lost_leaves_whole_pairs(tmp_path: Path) -> None:
    after = edited("half of it lost", tmp_path)
    assert {name.rsplit(".", 2)[0] for name in after} == set(STEMS[:1])
    assert len(after) == 2


def test_equal_files_give_equal_edits(tmp_path: Path) -> None:
    for name in EDITS:
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir(exist_ok=True)
            edited(name, tmp_path / folder)
        first, second = ((tmp_path / folder / "edited.safetensors").read_bytes() for folder in ("a", "b"))
        assert first == second, name
