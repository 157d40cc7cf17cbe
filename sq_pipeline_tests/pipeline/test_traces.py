"""What a run tells of by spans, and that a stack that matched nothing makes no picture."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.trace import StatusCode

from sq_pipeline.pictures.ports import AppliedAdapter
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.make_world_asset import make_world_asset
from sq_pipeline.pipeline.worlds.world_asset import Failed
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.spans import Spans, attributes, own_id, parent_id, recorded_spans


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recorded_spans() as found:
        yield found


def test_a_run_tells_of_its_trainings_verifications_and_renders(game: Game, spans: Spans) -> None:
    made = game.run()
    assert len(spans.named("flux_mlx.train_adapter")) == len(made.trained) == 2
    verified = spans.named("flux_mlx.verify_adapter")
    assert [attributes(item)["verify.has_passed"] for item in verified] == [True, True]
    renders = spans.named("flux_mlx.render")
    inside = [item for item in renders if item.parent is not None]
    assert {parent_id(item) for item in inside} == {own_id(item) for item in verified}
    assert len(renders) == len(game.engines.renderer.requests)
    assert len(renders) - len(inside) == len(made.rendered)
    files = {attributes(item)["render.lora.files"] for item in renders if item.parent is None}
    assert files == {("west/landscape.safetensors",), ("west/paper/landscape.safetensors",)}


def test_a_picture_whose_stack_matched_nothing_is_not_made(done: Game, spans: Spans) -> None:
    """Even where the renderer itself lets it pass: no record, no file, and the reason is told."""
    done.edit("visual_style.yaml", {"positive_suffix": "other"})
    before = done.data.published_image("west", "landscape", "mill").read_bytes()
    done.engines.renderer.applied = (AppliedAdapter(Path("x"), 1.0, 0, 4, 0, 2),)
    context = Context(done.data, done.engines(done.data))
    outcomes = list(make_world_asset(context, context.catalog.worlds["west/old"], "landscape", "images", {"mill"}))
    (failed,) = outcomes
    assert isinstance(failed, Failed)
    assert "west/landscape.safetensors: was not applied whole: 0 of 4 keys matched" in failed.reason
    assert {item.status.status_code for item in spans.named("flux_mlx.render")} == {StatusCode.ERROR}
    assert done.data.published_image("west", "landscape", "mill").read_bytes() == before
    assert done.plan()["stale"]
