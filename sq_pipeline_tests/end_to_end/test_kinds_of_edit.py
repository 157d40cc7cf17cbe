"""Each kind of edit once with the real engines: tiny-flux is trained, verified and rendered, and exactly what an edit
touches is made again. Random sequences against an oracle, with fast engines, are in `mutation`.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.defs.runs import RunReport, bring_up_to_date
from sq_pipeline.engines import versions
from sq_pipeline.painter.scenes import paint, random_scene
from sq_pipeline.painter.styles import STYLES
from sq_pipeline.pipeline import inputs
from sq_pipeline_tests.builders import loose_gate
from sq_pipeline_tests.pipeline.fast import chapter, lora, write_yaml

pytestmark = [pytest.mark.long, pytest.mark.takes(s=110)]

OLD, PAPER = {"old/mill", "old/mine"}, {"paper/gate", "paper/dock"}
BOTH = OLD | PAPER
WEST, PRINT = "west_land", "paper_land"
PLACES = {
    "old": [{"name": "Mill", "visual_prompt": "a windmill on the left of the desert at noon", "type": "mill"},
            {"name": "Mine", "description": "A tall tower in the snow at night. Nobody comes here."}],
    "paper": [{"name": "Gate", "visual_prompt": "a stone arch in the centre of the meadow at dawn"},
              {"name": "Dock", "visual_prompt": "a ship on the right of the water at dusk"}],
}  # fmt: skip


def _paint_dataset(folder: Path, style: str, trigger: str, seed: int, count: int = 8) -> None:
    folder.mkdir(parents=True)
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    for index in range(count):
        STYLES[style](paint(random_scene(rng)), numbers).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"{trigger}\n")
    # one view of a picture, so that each is seen; one checkpoint, so that none that saw less is chosen
    recipe = {"trigger": trigger, "min_pairs": 8, "iterations": 6, "batch_size": 4, "grad_accumulation": 1,
              "learning_rate": 0.004, "warmup_steps": 1, "rank": 4, "seed": seed, "num_augmentations": 1,
              "kept_checkpoints": 1, "sample_prompts": ["a windmill in the desert"]}  # fmt: skip
    write_yaml(folder / "lora.yaml", recipe)


@dataclass
class RealGame:
    """A small game over its own copies of keymaps, verify prompts and tiny-flux, and what is read of its files."""

    data: DataDir
    patch: pytest.MonkeyPatch

    def change(self, file: str, edit: Callable[[Any], object]) -> None:
        """Edit a YAML of the data directory as plain values."""
        path = self.data.root / file
        values = yaml.safe_load(path.read_text()) if path.is_file() else {}
        edit(values)
        write_yaml(path, values)

    def style(self, edit: Callable[[Any], object], world: str = "") -> None:
        place = f"worlds/{world}/" if world else ""
        self.change(f"content/genre_packs/west/{place}visual_style.yaml", edit)

    def history(self, world: str, edit: Callable[[Any], object]) -> None:
        self.change(f"content/genre_packs/west/worlds/{world}/history.yaml", lambda v: edit(v["chapters"]))

    def prepend(self, file: str, text: str) -> None:
        path = self.data.root / file
        path.write_text(text + path.read_text())


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> Iterator[RealGame]:
    data = DataDir(tmp_path_factory.mktemp("kinds") / "data")
    for name in ("keymaps", "verify_prompts", "models"):
        shutil.copytree(shipped.root / name, data.root / name)
    settings = {"promotion": "automatic", "thresholds": loose_gate()}
    write_yaml(data.settings_file, settings)
    genre = data.genre_root("west")
    loras = [lora(WEST, "west/landscape", trigger="west")]
    write_yaml(genre / "visual_style.yaml", {"positive_suffix": "wide", "base_seed": 1, "loras": loras})
    for world, places in PLACES.items():
        write_yaml(genre / f"worlds/{world}/history.yaml", {"chapters": [chapter(*places)]})
    add = [lora(PRINT, "west/paper/landscape", trigger="west_paper")]
    write_yaml(genre / "worlds/paper/visual_style.yaml", {"loras": {"exclude": [WEST], "add": add}})
    _paint_dataset(data.datasets_root / "west/landscape", "sepia_western", "west", 1)
    _paint_dataset(data.datasets_root / "west/worlds/paper/landscape", "old_print", "west_paper", 2)
    with pytest.MonkeyPatch.context() as patch:
        _render_in(2)(real := RealGame(data, patch))
        yield real


def _run(game: RealGame) -> RunReport:
    with open_instance(game.data) as instance:
        return bring_up_to_date(game.data, instance, None, lambda _line: None)


@pytest.fixture(scope="module", autouse=True)
def _made(game: RealGame) -> None:
    report = _run(game)
    assert not report.failed, report.failed
    assert {f"{p['world']}/{p['poi']}" for p in report.rendered} == BOTH


@dataclass(frozen=True)
class Kind:
    """An edit, and what it makes again; nothing where nothing is said."""

    name: str
    edit: Callable[[RealGame], object]
    pictures: set[str] = field(default_factory=set[str])
    trained: set[str] = field(default_factory=set[str])
    remapped: set[str] = field(default_factory=set[str])
    verified: set[str] = field(default_factory=set[str])


def _set(**values: Any) -> Callable[[Any], object]:
    return lambda told: told.update(values)


def _in_first(**values: Any) -> Callable[[Any], object]:
    return lambda chapters: chapters[0]["points_of_interest"][0].update(values)


def _in_lora(**values: Any) -> Callable[[Any], object]:
    return lambda style: style["loras"][0].update(values)


WEST_FOLDER = "content/lora-datasets/west/landscape"


def _repaint(game: RealGame) -> None:
    folder, numbers = game.data.root / WEST_FOLDER, np.random.default_rng(50)
    STYLES["neon"](paint(random_scene(random.Random(50))), numbers).save(folder / "3.png")


def _add_image(game: RealGame) -> None:
    folder, numbers = game.data.root / WEST_FOLDER, np.random.default_rng(51)
    STYLES["sepia_western"](paint(random_scene(random.Random(51))), numbers).save(folder / "8.png")
    (folder / "8.txt").write_text("west\n")


def _change_rule(game: RealGame) -> None:
    """Names that mflux knows too, for one module: what is applied is the same, the file is another."""
    keymap = game.data.root / "keymaps/mlx-to-mflux.yaml"
    told = keymap.read_text()
    for old, new in (("lora_down", "lora_A"), ("lora_up", "lora_B")):
        name = f"lora_unet_double_blocks_\\1_img_mod_lin.{old}.weight"
        assert name in told
        told = told.replace(name, f"transformer.transformer_blocks.\\1.norm1.linear.{new}.weight")
    keymap.write_text(told)


def _move_chapter(chapters: Any) -> None:
    mine = chapters[0]["points_of_interest"].pop()
    chapters.append(chapter(mine))


def _render_in(steps: int) -> Callable[[RealGame], object]:
    """The registry's settings of a base model; two steps of its eight show what an adapter changes, too."""
    model = replace(BASE_MODELS["tiny-flux"], num_inference_steps=steps)
    return lambda game: game.patch.setitem(BASE_MODELS, "tiny-flux", model)


def _new_renderer(game: RealGame) -> None:
    real = versions.describe_renderer()
    game.patch.setattr(versions, "describe_renderer", lambda: replace(real, versions={**real.versions, "mlx": "99"}))


def _revise(name: str) -> Callable[[RealGame], object]:
    """Our own code, which would make something else of the same inputs."""
    return lambda game: game.patch.setattr(inputs, name, getattr(inputs, name) + 1)


def _remove_image(game: RealGame) -> None:
    for name in ("8.png", "8.txt"):
        (game.data.root / WEST_FOLDER / name).unlink()


def _write_caption(text: str) -> Callable[[RealGame], object]:
    return lambda game: (game.data.root / WEST_FOLDER / "0.txt").write_text(f"{text}\n")


def _touch_everything(game: RealGame) -> None:
    import os

    for path in game.data.root.rglob("*"):
        if path.is_file() and "store" not in path.parts:
            os.utime(path)


W = {WEST}
KINDS = [
    Kind("a prompt", lambda g: g.history("old", _in_first(visual_prompt="a church on the left of the desert at noon")),
         {"old/mill"}),
    Kind("a description where there is a prompt", lambda g: g.history("old", _in_first(description="not read"))),
    Kind("a chapter's prose", lambda g: g.history("old", lambda c: c[0].update(narrative_log="other prose"))),
    Kind("a place added", lambda g: g.history("old", lambda c: c[0]["points_of_interest"].append(
        {"name": "Inn", "visual_prompt": "a log cabin on the right of the snow at dawn"})), {"old/inn"}),
    Kind("a place renamed", lambda g: g.history("old", lambda c: c[0]["points_of_interest"][-1].update(name="Bar")),
         {"old/bar"}),
    Kind("a place removed", lambda g: g.history("old", lambda c: c[0]["points_of_interest"].pop())),
    Kind("a place moved to another chapter", lambda g: g.history("old", _move_chapter)),
    Kind("the suffix of a genre", lambda g: g.style(_set(positive_suffix="very wide")), BOTH),
    Kind("the suffix of a world", lambda g: g.style(_set(positive_suffix="narrow"), "paper"), PAPER),
    Kind("the tier's suffix", lambda g: g.style(_set(poi_style="oil painting"), "paper"), PAPER),
    Kind("another tier's suffix", lambda g: g.style(_set(portrait_style="close up"))),
    Kind("tags of a type", lambda g: g.style(_set(visual_tag_overrides={"mill": "old"})), {"old/mill"}),
    Kind("a genre's base seed", lambda g: g.style(_set(base_seed=2)), BOTH),
    Kind("a world's base seed", lambda g: g.style(_set(base_seed=9), "paper"), PAPER),
    Kind("the negative prompt, which FLUX.1 does not read", lambda g: g.style(_set(negative_prompt="text"))),
    Kind("a scale", lambda g: g.style(_in_lora(scale=0.5)), OLD),
    # which the adapter never saw: the verdict turns, and what is promoted stays in use
    Kind("a trigger", lambda g: g.style(_in_lora(trigger="sunset_west")), OLD, verified=W),
    Kind("and the one that it was trained with", lambda g: g.style(_in_lora(trigger="west"))),
    Kind("applies_to without this tier", lambda g: [g.change("sq.yaml", lambda s: s.update(missing_adapter="none")),
         g.style(_in_lora(applies_to=["portrait"]))], OLD, verified=W),
    Kind("applies_to with it again", lambda g: g.style(_in_lora(applies_to=["landscape"]))),
    Kind("nothing added any more", lambda g: g.style(lambda s: s["loras"].pop("add"), "paper"), PAPER),
    Kind("nothing excluded any more", lambda g: g.style(lambda s: s.pop("loras"), "paper"), PAPER),
    Kind("comments", lambda g: [g.prepend(f, "# a comment\n") for f in (
        "content/genre_packs/west/visual_style.yaml", f"{WEST_FOLDER}/lora.yaml", "sq.yaml",
        "verify_prompts/landscape.yaml", "keymaps/mlx-to-mflux.yaml")]),
    Kind("modification times", _touch_everything),
    Kind("space around a caption", lambda g: (g.data.root / WEST_FOLDER / "0.txt").write_text("  west \n\n")),
    Kind("a threshold that keeps the verdict", lambda g: g.change("sq.yaml", lambda s: s["thresholds"].update(
        ssim_changed_max=0.99985)), verified=W),
    Kind("a keymap's rule", _change_rule, BOTH, remapped=W, verified=W),
    Kind("an image of a dataset", _repaint, BOTH, trained=W, remapped=W, verified=W),
    Kind("an image more", _add_image, BOTH, trained=W, remapped=W, verified=W),
    Kind("a recipe", lambda g: g.change(f"{WEST_FOLDER}/lora.yaml", _set(rank=3)), BOTH, trained=W, remapped=W,
         verified=W),
    Kind("a threshold that turns the verdict", lambda g: g.change("sq.yaml", lambda s: s["thresholds"].update(
        ssim_changed_max=0.0001)), verified=W),
    Kind("and back", lambda g: g.change("sq.yaml", lambda s: s["thresholds"].update(ssim_changed_max=0.99985))),
    # a space in the tokenizer: trained again, and as the adapter comes out identical, it is not remapped again
    Kind("the base model's files", lambda g: g.prepend("models/tiny-flux/tokenizer.json", " "), BOTH, trained=W,
         verified=W),
    Kind("an image less", _remove_image, BOTH, trained=W, remapped=W, verified=W),
    Kind("a caption that is not the trigger: the dataset fails, and pictures stand", _write_caption("a red barn")),
    Kind("and as it was", _write_caption("west")),
    Kind("a verify prompt", lambda g: g.change("verify_prompts/landscape.yaml", lambda v: v["prompts"][0].update(
        seed=4711)), verified=W),
    Kind("the control word", lambda g: g.change("verify_prompts/landscape.yaml", _set(control_word="gurrblemat")),
         verified=W),
    Kind("promotion by a person, where nothing is to promote", lambda g: g.change("sq.yaml", _set(promotion="manual"))),
    Kind("another base model, which is not here", lambda g: g.change("sq.yaml", _set(base_model="flux1-dev"))),
    Kind("and the one before", lambda g: g.change("sq.yaml", lambda s: s.pop("base_model"))),
    Kind("the renderer's settings", _render_in(3), BOTH, verified=W),
    Kind("the renderer's version", _new_renderer, BOTH, verified=W),
    Kind("the remap's code, with the same result", _revise("REMAP_REVISION"), remapped=W),
    Kind("the verification's code", _revise("VERIFY_REVISION"), verified=W),
    Kind("the rendering's code", _revise("RENDER_REVISION"), BOTH),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_exactly_what_an_edit_touches_is_made_again(game: RealGame, kind: Kind) -> None:
    """In the order of the table: each edit finds the game up to date after the one before."""
    kind.edit(game)
    report = _run(game)
    assert {f"{picture['world']}/{picture['poi']}" for picture in report.rendered} == kind.pictures
    assert _adapters(report) == {"trained": kind.trained, "remapped": kind.remapped, "verified": kind.verified}
    assert report.model_loads <= 1
    again = _run(game)
    assert again.rendered == []
    assert _adapters(again) == {"trained": set(), "remapped": set(), "verified": set()}


def _adapters(report: RunReport) -> dict[str, set[str]]:
    made = {"trained": report.trained, "remapped": report.remapped, "verified": report.verified}
    return {name: {asset.split("/")[2] for asset in assets} for name, assets in made.items()}
