"""An adapter that mlx-examples trained goes the way of all others: store, record, remap. The script is a fake."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.common.errors import TrainingError
from sq_pipeline.common.layout import shipped_data_root
from sq_pipeline.engines import factory
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.context import Context, Engines
from sq_pipeline.training.recipe import TrainerName
from sq_pipeline_tests.engines.trainers.mlx_examples.mlx_examples_place import Place, draw_pictures, make_place
from sq_pipeline_tests.pipeline.fast import FastEngines, lora, write_yaml

_LOG = logging.getLogger("test")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A game with one adapter, which mlx-examples trains over FLUX.1-dev."""
    place = make_place(tmp_path, monkeypatch)
    data = place.data
    for name in ("keymaps", "verify_prompts"):
        (data.root / name).symlink_to(shipped_data_root() / name)
    settings = data.settings_file.read_text()
    data.settings_file.write_text(f"trainer: mlx-examples\nbase_model: flux1-dev\n{settings}")
    write_yaml(data.genre_root("west") / "visual_style.yaml", {"loras": [lora("west_land", "west/landscape")]})
    folder = data.datasets_root / "west/landscape"
    for example in draw_pictures(folder, 12):
        example.image_path.with_suffix(".txt").write_text("west\n")
    write_yaml(
        folder / "lora.yaml", {"trigger": "west", "min_pairs": 3, "iterations": 20, "rank": 2, "kept_checkpoints": 2}
    )
    return place


def engines_of(place: Place) -> Engines:
    """Fakes, but for the trainer: that one is the real one."""

    def versions(name: TrainerName) -> Mapping[str, str]:
        return factory.trainer_versions(place.data, name)

    fakes = FastEngines(weights={"flux1-dev": "sha256:" + "0" * 64})(place.data)
    trainer = factory.trainer(place.data, "mlx-examples")
    return replace(fakes, trainer=lambda name: {"mlx-examples": trainer}[name], trainer_versions=versions)


@pytest.mark.long
def test_the_adapter_enters_the_flow(place: Place) -> None:
    context = Context(place.data, engines_of(place))
    adapter = context.adapter("west_land")
    make_adapter_asset(context, adapter, "training_dataset")
    record, is_made = make_adapter_asset(context, adapter, "mlx_adapter")
    assert is_made
    assert (record.info["tensors"], record.info["loss_first"]) == (26, 0.1)
    assert record.inputs["trainer.name"] == "mlx-examples"
    assert record.inputs["trainer.sources"].startswith("sha256:")
    assert len(place.told["seen"]) == 11
    assert {name for name in record.objects if name.startswith("kept-")} == {"kept-0000010", "kept-0000020"}
    chosen, _ = make_adapter_asset(context, adapter, "chosen_checkpoint")
    assert chosen.objects["adapter"] in (record.objects["kept-0000010"], record.objects["kept-0000020"])
    remapped, _ = make_adapter_asset(context, adapter, "mflux_adapter")
    assert len(open_safetensors(context.store.lend(remapped.objects["adapter"])).tensors) > 0
    again = Context(place.data, engines_of(place))
    assert adapter_steps_of(again, adapter)["mlx_adapter"].status == "fresh"


def test_a_checkout_that_is_gone_blocks_the_step_and_a_failed_training_is_an_error(place: Place) -> None:
    context = Context(place.data, engines_of(place))
    adapter = context.adapter("west_land")
    make_adapter_asset(context, adapter, "training_dataset")
    place.switch(fail_at=15)
    with pytest.raises(TrainingError, match=r"ValueError: \[load\] no such thing"):
        make_adapter_asset(context, adapter, "mlx_adapter")
    step = adapter_steps_of(Context(place.data, engines_of(place)), adapter)["mlx_adapter"]
    assert step.status == "stale"
    place.data.settings_file.write_text("trainer: mlx-examples\nmlx_examples: {checkout: gone}\nbase_model: dev\n")
    step = adapter_steps_of(Context(place.data, engines_of(place)), adapter)["mlx_adapter"]
    assert step.status == "blocked"
    assert "sq.yaml: mlx_examples.checkout: there is no folder" in step.reasons[0]
