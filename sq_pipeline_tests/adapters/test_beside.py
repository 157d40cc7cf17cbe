"""What a file holds beside what mflux loads is a remark with its share where the rest is applied, else a fault."""

from pathlib import Path

import numpy as np
import pytest

from sq_pipeline.adapters.inspect.inspect import report_adapter
from sq_pipeline_tests.adapters.files import Tensors, save
from sq_pipeline_tests.adapters.test_other_parts import joined, kohya, pair

TEXT = {"layers_0_mlp_fc1": (768, 3072), "layers_0_mlp_fc2": (3072, 768)}
NO_EXTRAS: Tensors = {}


def text_encoder(count: int = 2) -> Tensors:
    shapes = [(name.replace("_0_", f"_{layer}_"), shape) for layer in range(6) for name, shape in TEXT.items()]
    return kohya({name: pair(name, shape, 1) for name, shape in shapes[:count]}, prefix="lora_te1_")


def outside() -> Tensors:
    return kohya({"img_in": pair("img_in", (64, 256), 2)})


def share_of(tensors: Tensors, path: Path, start: str) -> float:
    """The share of the file's squared norm that modules have whose names begin so, by its rows."""
    rows = report_adapter(save(path, tensors)).rows
    squares = {row.name: (row.update_norm or 0) ** 2 for row in rows}
    return sum(value for name, value in squares.items() if name.startswith(start)) / sum(squares.values())


@pytest.mark.parametrize(
    ("extra", "start", "words", "named"),
    [
        (text_encoder(), "lora_te1_", "2 of 34 modules are of a text encoder", "lora_te1_layers_0_mlp_fc1, lora_te1_"),
        (text_encoder(5), "lora_te1_", "5 of 37 modules are of a text encoder", " and 3 more)"),
        (outside(), "lora_unet_img_in", "1 of 33 modules are not of FLUX.1's blocks", "(lora_unet_img_in)"),
    ],
    ids=["two of a text encoder", "many of one", "outside the blocks"],
)
def test_what_mflux_leaves_out_is_a_remark_with_its_share(
    tmp_path: Path, extra: Tensors, start: str, words: str, named: str
) -> None:
    tensors = {**kohya(joined()), **extra}
    report = report_adapter(save(tmp_path / "a.safetensors", tensors))
    assert {verdict.loader: verdict.answer for verdict in report.loads_in}["mflux >=0.19"] == "part"
    assert report.faults == ()
    (remark,) = report.remarks
    share = share_of(tensors, tmp_path / "b.safetensors", start)
    assert 0 < share < 1
    assert remark.startswith(f"{words}, {share:.1%} of the update: mflux leaves them out (")
    assert named in remark


def test_both_kinds_are_told_each_with_its_own_share(tmp_path: Path) -> None:
    report = report_adapter(save(tmp_path / "a.safetensors", {**kohya(joined()), **text_encoder(), **outside()}))
    assert [remark.split(" are ")[1].split(",")[0] for remark in report.remarks] == [
        "of a text encoder",
        "not of FLUX.1's blocks",
    ]
    assert report.faults == ()


def test_no_share_is_said_where_a_size_is_not_known(tmp_path: Path) -> None:
    extra = kohya({"layers_0_mlp_fc1": (np.ones((1100, 8)), np.ones((8, 1100)))}, prefix="lora_te1_")
    report = report_adapter(save(tmp_path / "a.safetensors", {**kohya(joined()), **extra}))
    (remark,) = report.remarks
    assert remark == "1 of 33 modules are of a text encoder: mflux leaves them out (lora_te1_layers_0_mlp_fc1)"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (text_encoder(), "lora_te1_layers_0_mlp_fc1: of a text encoder; mflux does not load it"),
        (
            {**kohya(joined()), **kohya({"no_such_layer": pair("no_such_layer", (64, 256), 2)})},
            "lora_unet_no_such_layer: not a module of FLUX.1's blocks; mflux does not load it",
        ),
    ],
    ids=["nothing else", "a name that nobody knows"],
)
def test_it_stays_a_fault_where_mflux_applies_nothing(tmp_path: Path, tensors: Tensors, words: str) -> None:
    report = report_adapter(save(tmp_path / "a.safetensors", tensors))
    assert {verdict.answer for verdict in report.loads_in if verdict.loader.startswith("mflux")} == {"no"}
    assert words in report.faults
    assert not any("leaves them out" in remark for remark in report.remarks)


def test_a_loader_that_was_asked_for_and_takes_a_part_is_a_fault_still(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", {**kohya(joined()), **text_encoder()})
    (fault,) = report_adapter(path, loader="mflux 0.24.0").faults
    assert fault.startswith("mflux 0.24.0 does not load it rightly: it does not know 6 of ")
