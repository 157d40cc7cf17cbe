"""Pictures that a judgement looks at are rendered once, by all that settles them; an adapter's on request."""

from dataclasses import replace
from pathlib import Path

import pytest

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.pictures.ports import RenderRequest
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.kept_pictures import KeptPictures
from sq_pipeline_tests.builders import write_adapter
from sq_pipeline_tests.pipeline.game import Game

ASKED = RenderRequest("tiny-flux", "a mill", 7, 8, 64, 48, 4.0)


def _pictures(game: Game, *, keeps_styled: bool = False) -> tuple[KeptPictures, list[RenderRequest]]:
    engines = game.engines
    context = Context(game.data, engines(game.data))
    return KeptPictures(context, engines.renderer, keeps_styled=keeps_styled), engines.renderer.requests


@pytest.mark.parametrize(
    "change",
    [
        {"positive_prompt": "a church"},
        {"seed": 8},
        {"num_inference_steps": 4},
        {"width_px": 80},
        {"guidance": 3.0},
        {"clip_prompt": "a mill"},
        {"negative_prompt": "people"},
    ],
)
def test_each_of_what_settles_a_picture_makes_another(change: dict[str, object], game: Game) -> None:
    pictures, requests = _pictures(game)
    pictures.render(ASKED)
    pictures.render(replace(ASKED, **change))
    pictures.render(ASKED)
    pictures.render(replace(ASKED, **change))
    assert len(requests) == 2


def test_a_kept_picture_is_equal_to_the_bit_and_kept_for_the_next_context(game: Game) -> None:
    first = _pictures(game)[0].render(ASKED).pixels
    pictures, requests = _pictures(game)
    known = len(requests)
    assert (pictures.render(replace(ASKED, tier="portrait")).pixels == first).all()  # the tier is for those who watch
    assert len(requests) == known


def test_pictures_with_an_adapter_are_kept_only_where_that_is_asked(game: Game, tmp_path: Path) -> None:
    pictures, requests = _pictures(game)
    use = AdapterUse(write_adapter(tmp_path / "a.safetensors"), 1.0)
    for _ in range(2):
        pictures.render(replace(ASKED, adapters=(use,)))
    assert len(requests) == 2


def test_a_kept_picture_with_an_adapter_says_what_the_loader_did(game: Game, tmp_path: Path) -> None:
    pictures, requests = _pictures(game, keeps_styled=True)
    asked = replace(ASKED, adapters=(AdapterUse(write_adapter(tmp_path / "a.safetensors"), 0.8),))
    first = pictures.render(asked)
    assert first.applied
    elsewhere = AdapterUse(write_adapter(tmp_path / "b.safetensors"), 0.8)  # the same bytes in another place
    again = _pictures(game, keeps_styled=True)[0].render(replace(asked, adapters=(elsewhere,)))
    assert len(requests) == 1
    assert (again.pixels == first.pixels).all()
    assert again.applied == tuple(replace(each, path=elsewhere.path) for each in first.applied)


@pytest.mark.parametrize("other", ["scale", "file", "none"])
def test_another_adapter_or_strength_is_another_picture(other: str, game: Game, tmp_path: Path) -> None:
    pictures, requests = _pictures(game, keeps_styled=True)
    use = AdapterUse(write_adapter(tmp_path / "a.safetensors"), 0.8)
    different = {
        "scale": (replace(use, lora_scale=0.7),),
        "file": (replace(use, path=write_adapter(tmp_path / "b.safetensors", seed=9)),),
        "none": (),
    }
    pictures.render(replace(ASKED, adapters=(use,)))
    pictures.render(replace(ASKED, adapters=different[other]))
    assert len(requests) == 2


def test_other_weights_or_another_renderer_make_other_pictures(game: Game) -> None:
    pictures, requests = _pictures(game)
    pictures.render(ASKED)
    game.engines.weights["tiny-flux"] = "sha256:other"
    _pictures(game)[0].render(ASKED)
    game.engines.renderer_versions = {"mflux": "0.99"}
    _pictures(game)[0].render(ASKED)
    assert len(requests) == 3


def test_a_lost_picture_is_rendered_again(game: Game) -> None:
    pictures, requests = _pictures(game)
    pictures.render(ASKED)
    for path in (game.data.store_root / "objects").rglob("*.png"):
        path.unlink()
    _pictures(game)[0].render(ASKED)
    assert len(requests) == 2
