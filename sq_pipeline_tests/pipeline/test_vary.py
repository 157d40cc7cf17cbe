"""Grids of takes: the same seeds over scales, adapters, versions and base models, each picture rendered once."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from sq_pipeline.cli import app
from sq_pipeline.common.errors import SelectionError
from sq_pipeline.common.fingerprints import short
from sq_pipeline.pipeline.adapters.promote import roll_back
from sq_pipeline.pipeline.manifests import read_manifest
from sq_pipeline.pipeline.verify_image.image import verify_image
from sq_pipeline.pipeline.worlds.named_picture import find_picture
from sq_pipeline.pipeline.worlds.takes import Takes, make_takes
from sq_pipeline_tests.pipeline.fast import lora, write_yaml
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_takes import MILL, context_of, mill, say

pytestmark = pytest.mark.takes(s=60)


def grid(game: Game, *vary: str, count: int | None = None, first: int | None = None) -> Takes:
    context = context_of(game)
    return make_takes(context, find_picture(context, MILL), first, count, vary=vary)


def rendered(game: Game, *vary: str, count: int | None = None, first: int | None = None) -> tuple[Takes, int]:
    before = len(game.engines.renderer.requests)
    found = grid(game, *vary, count=count, first=first)
    return found, len(game.engines.renderer.requests) - before


def west_style(game: Game, **entry: object) -> None:
    game.edit("visual_style.yaml", {"loras": [lora("west_land", "west/landscape", trigger="west", **entry)]})


def add_paper(game: Game) -> None:
    """World `old` has both adapters."""
    loras = [lora("west_land", "west/landscape", trigger="west")]
    loras.append(lora("paper_land", "west/paper/landscape", trigger="west_paper"))
    game.edit("visual_style.yaml", {"loras": loras})
    game.edit("worlds/paper/visual_style.yaml", {"loras": {"exclude": ["west_land"]}})
    assert not game.run().failed


def train_again(game: Game, seed: int) -> None:
    recipe = game.data.datasets_root / "west/landscape/lora.yaml"
    recipe.write_text(re.sub(r"seed: \d+", f"seed: {seed}", recipe.read_text()))
    assert not game.run().failed


def version(game: Game) -> str:
    return read_manifest(game.data, "west")["west_land"]["adapter_version"]


def test_scales_are_columns_with_the_same_seeds_and_nothing_is_rendered_twice(done: Game) -> None:
    found, count = rendered(done, "scale=0.6,0.8,1.0")
    assert count == 3 * 4 - 1  # the picture that the game has is at 1.0 and its own seed
    assert [(take.number, dict(take.values)["scale"]) for take in found.takes] == [
        (number, scale) for number in range(4) for scale in ("0.6", "0.8", "1")
    ]
    assert len({take.record.data_version for take in found.takes}) == 12
    assert len({take.path for take in found.takes}) == 12
    assert found.takes[2].path.read_bytes() == mill(done).read_bytes()
    sheet = found.sheet.read_bytes()
    again, count = rendered(done, "scale=0.6,0.8,1.0")
    assert (count, again.sheet.read_bytes()) == (0, sheet)
    assert done.plan()["stale"] == []


def test_a_scale_that_one_likes_makes_just_that_picture(done: Game) -> None:
    found, _ = rendered(done, "scale=0.6", count=1)
    west_style(done, scale=0.6)
    requests = len(done.engines.renderer.requests)
    done.run("west/old")
    assert mill(done).read_bytes() == found.takes[0].path.read_bytes()
    assert len(done.engines.renderer.requests) == requests + 2  # the mine and the inn
    assert not verify_image(context_of(done), mill(done)).has_lied


def test_of_several_adapters_one_is_named(done: Game) -> None:
    add_paper(done)
    with pytest.raises(SelectionError, match="the stack has 2 adapters, so say which; write one of scale:west_land=…"):
        grid(done, "scale=0.5")
    grid(done, "scale:paper_land=0.5", count=1)
    assert [use.lora_scale for use in done.engines.renderer.requests[-1].adapters] == [1.0, 0.5]
    grid(done, "adapter:west_land=none", count=1)
    (use,) = done.engines.renderer.requests[-1].adapters
    assert use.label == "west/paper/landscape.safetensors"
    with pytest.raises(SelectionError, match="paper_land is in the stack already"):
        grid(done, "adapter:west_land=paper_land")
    with pytest.raises(SelectionError, match=r"'west_lnd' is not in the stack; write scale:west_land=…"):
        grid(done, "scale:west_lnd=1.5")


def test_another_adapter_stands_in_its_place_with_its_own_trigger(done: Game) -> None:
    found, _ = rendered(done, "adapter=west_land,paper_land,none", count=2)
    prompts = [take.record.inputs["positive_prompt"].split(", ")[0] for take in found.takes[:3]]
    assert prompts == ["west", "west_paper", "a view of Mill"]
    assert [len(take.record.inputs["stack"]) for take in found.takes[:3]] == [1, 1, 0]
    assert not found.takes[0].is_new


def test_versions_are_found_by_their_digits_and_in_words(done: Game) -> None:
    old = version(done)
    train_again(done, 5)
    new = version(done)
    assert old != new
    found, count = rendered(done, f"adapter=previous,{short(old, 6)},west_land,{short(new)},newest", count=1)
    assert count == 0  # the game had both
    versions = [take.record.inputs["stack"][0][0] for take in found.takes]
    assert versions == [old, old, new, new, new]
    labels = [dict(take.values)["adapter"] for take in found.takes]
    assert labels == [short(old), short(old), "west_land", short(new), short(new)]
    roll_back(context_of(done), context_of(done).adapter("west_land"), None, "Ann")
    done.run("west/old")
    assert mill(done).read_bytes() == found.takes[0].path.read_bytes()


def test_what_waits_for_a_yes_can_be_looked_at(done: Game) -> None:
    old = version(done)
    write_yaml(done.data.settings_file, {"promotion": "manual", "thresholds": {"ssim_trigger_max": 1.0}})
    recipe = done.data.datasets_root / "west/landscape/lora.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 1", "seed: 5"))
    with pytest.raises(SelectionError, match="nothing of west_land is verified as it would be made now"):
        grid(done, "adapter=newest")
    done.run()
    assert version(done) == old
    found, count = rendered(done, "adapter=west_land,newest", count=1)
    assert count == 1
    assert found.takes[0].record.inputs["stack"][0][0] == old != found.takes[1].record.inputs["stack"][0][0]


def test_base_models_are_loaded_once_each(done: Game) -> None:
    done.engines.weights["tiny-flux-8bit"] = done.engines.weights["tiny-flux"]
    context_of(done).engines.renderer().model_loads  # noqa: B018 - the renderer is there
    loads = done.engines.renderer.model_loads
    found, count = rendered(done, "base_model=tiny-flux,tiny-flux-8bit", "scale=0.5,1.0", count=2)
    assert (count, done.engines.renderer.model_loads - loads) == (7, 2)
    assert [take.record.inputs["base_model"] for take in found.takes[:2]] == ["tiny-flux", "tiny-flux-8bit"]
    asked = [request.base_model for request in done.engines.renderer.requests[-7:]]
    assert asked == sorted(asked)
    rows = [(dict(take.values)["scale"], take.number) for take in found.takes[::2]]
    assert rows == [("0.5", 0), ("0.5", 1), ("1", 0), ("1", 1)]


def test_what_is_painted_over_is_kept(done: Game) -> None:
    take = grid(done, "scale=0.5", count=1).takes[0]
    Image.new("RGB", (8, 8), "red").save(take.path)
    painted = take.path.read_bytes()
    grid(done, "scale=0.5", count=1)
    assert [path.read_bytes() for path in (take.path.parent / "archive").iterdir()] == [painted]


def test_the_sheet_has_a_column_a_value_and_a_row_a_seed(done: Game) -> None:
    def size(*vary: str, count: int = 1) -> tuple[int, int]:
        with Image.open(grid(done, *vary, count=count).sheet) as sheet:
            return sheet.size

    one, three, tall = size("scale=0.5"), size("scale=0.5,0.7,0.9"), size("scale=0.5", count=3)
    assert three[0] > one[0]
    assert tall[1] > one[1]
    with (
        Image.open(grid(done, "scale=0.5", count=1).sheet) as sheet,
        Image.open(grid(done, "scale=0.5", count=1).takes[0].path) as picture,
    ):
        assert picture.convert("RGB").tobytes() in _windows(sheet, picture.size)  # pixel for pixel


def _windows(sheet: Image.Image, size: tuple[int, int]) -> set[bytes]:
    width, height = size
    x = sheet.width - width
    return {
        sheet.crop((left, top, left + width, top + height)).tobytes()
        for top in range(sheet.height - height + 1)
        for left in range(max(0, x - 24), x + 1)
    }


WRONG = (
    ("adpter=none", "'adpter' cannot be varied; adapter, base_model, scale can; did you mean adapter?"),
    ("colour=red", "'colour' cannot be varied; adapter, base_model, scale can; write it as"),
    ("scale", "'scale' names no value; write e.g."),
    ("scale=,", "'scale=,' names no value"),
    ("scale=big", "the scale 'big' is no number; write e.g. 0.8"),
    ("scale=nan", "the scale 'nan' is no number"),
    ("scale=1e400", "the scale '1e400' is no number"),
    ("scale=0", "the scale '0' is 0: the adapter would change nothing; to see it without, write"),
    ("scale=11", "the scale '11' is 11: nothing but noise is left of pictures above 10"),
    ("scale=0.5,0.7,0.5", "'0.5' is there twice; write it once"),
    ("scale:castle=1", "'castle' is not in the stack; write scale:west_land=…"),
    ("adapter=castle", "no version of west_land begins so; known are west_land, paper_land, "),
    ("adapter=west_lnd", "did you mean west_land?"),
    ("adapter=0000", "no version of west_land begins so"),
    ("adapter=previous", "no other version of west_land was ever promoted; known are "),
    ("base_model=flux1-dev", "flux1-dev is not on this machine; get it"),
    ("base_model=sdxl", "unknown base model 'sdxl'; use one of"),
    ("base_model:west_land=tiny-flux", "base_model is of the whole picture, not of 'west_land'; write base_model=…"),
)


@pytest.mark.parametrize(("vary", "told"), WRONG)
def test_what_cannot_be_varied_is_told(done: Game, vary: str, told: str) -> None:
    with pytest.raises(SelectionError, match=re.escape(told)):
        grid(done, vary)


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_rendered(done: Game) -> None:
    before = len(done.engines.renderer.requests)
    with pytest.raises(SelectionError) as error:
        grid(done, "scale=0,big", "adapter=castle,0000", count=0)
    assert len(error.value.faults) == 5
    with pytest.raises(SelectionError, match="3 things are varied at once; name 2 at most"):
        grid(done, "scale=1", "adapter=none", "base_model=tiny-flux")
    with pytest.raises(SelectionError, match="scale is varied twice"):
        grid(done, "scale=1", "scale:west_land=2")
    with pytest.raises(SelectionError, match="that is 66 pictures; 64 are the most"):
        grid(done, "scale=1,2", count=33)
    assert len(done.engines.renderer.requests) == before


def test_a_world_without_an_adapter_says_so(done: Game) -> None:
    write_yaml(done.data.settings_file, {"promotion": "automatic", "missing_adapter": "none"})
    game_style = {"loras": {"exclude": ["west_land"]}}
    write_yaml(done.data.genre_root("west") / "worlds/old/visual_style.yaml", game_style)
    with pytest.raises(SelectionError, match="no adapter applies to west/old, so its scale cannot be varied; see `sq-"):
        grid(done, "scale=1")


def test_a_version_whose_file_is_gone_is_told(done: Game) -> None:
    old = short(version(done))
    train_again(done, 5)
    for path in [*(done.data.lora_root / "west/archive").iterdir()]:
        path.unlink()
    for path in done.data.store_root.rglob("*.safetensors"):
        if path.read_bytes() != (done.data.lora_root / "west/landscape.safetensors").read_bytes():
            path.unlink()
    with pytest.raises(SelectionError, match=rf"the file of version {old}, promoted automatically .* is gone; known"):
        grid(done, f"adapter={old}")


def test_a_draft_has_a_grid_too(done: Game) -> None:
    say(done, draft=True)
    assert len(grid(done, "scale=0.5,1.0", count=2).takes) == 4


def test_the_command(done: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sq_pipeline.wiring.real_engines", done.engines)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["takes", MILL, "--data", str(done.data.root), *arguments])
        assert result.exception is None, result.exception
        return result.stdout

    told = json.loads(run("--vary", "scale=0.6,1.0", "--vary", "adapter=west_land,none", "--json"))
    assert [take["vary"] for take in told["takes"]] == [
        {"scale": scale, "adapter": adapter} for adapter in ("west_land", "none") for scale in ("0.6", "1")
    ]
    assert Path(told["sheet"]).name == "grid-scale-adapter.png"
    assert told["rendered"] == 2  # one is the game's own; without the adapter its scale makes no difference
    plain = " ".join(run("--vary", "scale=0.6,1.0", "--count", "1").split())
    assert "0 rendered, 2 there before" in plain
    assert "to use a value of scale: write it as `scale` of its entry in `loras` of the style" in plain
