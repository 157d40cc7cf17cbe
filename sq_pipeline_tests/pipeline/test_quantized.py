"""A game rendered over a quantized base model: what is made again for it, what the gate measures, what pictures say."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.adapters.remap.remap import RemapResult
from sq_pipeline.base_models import files
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import INPUTS, PROVENANCE
from sq_pipeline.pipeline.adapters import mflux_adapter
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.verify_image.image import verify_image
from sq_pipeline.pipeline.worlds.make_world_asset import make_world_asset
from sq_pipeline.pipeline.worlds.world_asset import Made
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_yaml
from sq_pipeline_tests.pipeline.game import Game

ROUGH = "tiny-flux-8bit"


@pytest.fixture
def measured(done: Game) -> Game:
    """The finished game, whose pictures and adapters are the plain model's, with the real meter from now on."""
    done.engines.meter = factory.fidelity_meter(done.data)
    done.engines.weights[ROUGH] = done.engines.weights["tiny-flux"]
    return done


def test_pictures_and_verdicts_are_made_again_and_the_training_is_not(measured: Game) -> None:
    trained = len(measured.engines.trainer.requests)
    measured.edit("visual_style.yaml", {"preferred_model": ROUGH})
    report = measured.run()
    assert not report.failed
    assert not report.blocked
    assert len(measured.engines.trainer.requests) == trained
    assert {request.base_model for request in measured.engines.renderer.requests} == {ROUGH}
    assert len(report.rendered) == 5
    context = Context(measured.data, measured.engines(measured.data))
    steps = adapter_steps_of(context, context.adapter("west/west_land"))
    assert {step.status for step in steps.values()} == {"fresh"}
    assert steps["mlx_adapter"].inputs["base_model"] == "tiny-flux"
    assert steps["verification"].inputs["base_model"] == ROUGH
    record = steps["verification"].record
    assert record is not None
    assert record.info["fidelity"]["mode"] == "unbaked over 8-bit weights, float32"
    assert record.info["verdicts"][0]["detail"].startswith("52 of 52 layers, largest relative error ")


def test_an_adapter_that_is_remapped_wrongly_is_stopped_over_it_too(
    measured: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = mflux_adapter.remap_adapter

    def remap(source: Path, target: Path, *more: object, **options: object) -> RemapResult:
        result = right(source, target, *more, **options)  # type: ignore[arg-type]
        arrays = {name: array.copy() for name, array in load_file(target).items()}
        arrays["lora_unet_single_blocks_0_linear1.lora_up.weight"] = np.roll(
            arrays["lora_unet_single_blocks_0_linear1.lora_up.weight"], 256, axis=0
        )
        save_file(arrays, target)
        return result

    monkeypatch.setattr(mflux_adapter, "remap_adapter", remap)
    before = len(measured.engines.renderer.requests)
    measured.edit("visual_style.yaml", {"preferred_model": ROUGH})
    measured.run()
    context = Context(measured.data, measured.engines(measured.data))
    record = adapter_steps_of(context, context.adapter("west/west_land"))["verification"].record
    assert record is not None
    (verdict,) = record.info["verdicts"]
    assert (verdict["check"], verdict["outcome"]) == ("adapter fidelity", "failed")
    assert verdict["detail"].startswith("relative error ")
    verified = [request for request in measured.engines.renderer.requests[before:] if not request.adapters]
    assert not verified


@pytest.mark.long
def test_a_picture_says_its_bits_and_is_rendered_again_to_the_pixel(data: DataDir) -> None:
    style = {"positive_suffix": "wide", "base_seed": 1, "preferred_model": "tiny-4bit"}
    write_yaml(data.genre_root("west") / "visual_style.yaml", style)
    places = chapter(poi("Mill", "a windmill in the snow"))
    write_yaml(data.genre_root("west") / "worlds/old/history.yaml", {"chapters": [places]})
    context = Context(data, real_engines(data))
    (world,) = context.catalog.worlds.values()
    list(make_world_asset(context, world, "landscape", "stack"))
    (made,) = make_world_asset(context, world, "landscape", "images", {"mill"})
    assert isinstance(made, Made)
    published = data.published_image("west", "landscape", "mill")
    texts = read_png(published, "sq.").texts
    said, inputs = json.loads(texts[PROVENANCE]), json.loads(texts[INPUTS])
    weights = files.base_model_weights_hash("tiny-flux", data)
    assert (said["base_model"], said["base_weights"]) == ("tiny-flux-4bit", weights)
    assert (inputs["base_model"], inputs["base_weights"]) == ("tiny-flux-4bit", weights)
    report = verify_image(context, published, is_rendered_again=True)
    assert {check.outcome for check in report.checks} == {"agrees"}
    write_yaml(data.genre_root("west") / "visual_style.yaml", {**style, "preferred_model": "tiny"})
    later = verify_image(Context(data, real_engines(data)), published)
    assert not later.has_lied
    (moved,) = [check for check in later.checks if check.outcome == "moved on"]
    assert "tiny-flux-4bit" in moved.detail
