"""A field that a later version adds: off, nothing is made again; on, exactly what it is for, and what stands on that.

Each model that enters fingerprints gets a field here that it does not have, as an upgrade would bring it.
"""

from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from typing import Any

import pytest
import yaml

from sq_pipeline import settings
from sq_pipeline.base_models import record
from sq_pipeline.pipeline import inputs
from sq_pipeline.training import dataset_files
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.verification import prompts
from sq_pipeline.verification.thresholds import Thresholds
from sq_pipeline_tests.pipeline.fast import write_yaml
from sq_pipeline_tests.pipeline.game import Game

LATER = 7


class LaterRecipe(Recipe):
    sparkle: int = 0


class LaterThresholds(Thresholds):
    sparkle_max: int = 0


class LaterSettings(settings.Settings):
    thresholds: LaterThresholds = LaterThresholds()  # type: ignore[assignment]


class LaterTier(settings.TierSettings):
    sparkle: int | None = None


class LaterTierSettings(settings.Settings):
    tiers: dict[settings.Tier, LaterTier] = {}  # type: ignore[assignment]  # noqa: RUF012 - pydantic copies it


class LaterPrompts(prompts.VerifyPrompts):
    sparkle: int = 0


LaterRender = make_dataclass("RenderSettings", [("sparkle", int, 0)], bases=(record.RenderSettings,), frozen=True)


def upgrade_recipe(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dataset_files, "Recipe", LaterRecipe)


def upgrade_thresholds(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settings, "Settings", LaterSettings)


def upgrade_verify_prompts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(prompts, "VerifyPrompts", LaterPrompts)


def upgrade_tiers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settings, "Settings", LaterTierSettings)
    patch.setattr(record, "RenderSettings", LaterRender)


def set_in(game: Game, path: Any, *keys: str) -> None:
    """Write the new field into a YAML file, below these keys."""
    content: dict[str, Any] = yaml.safe_load(path.read_text()) if path.is_file() else {}
    place = content
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = LATER
    if path.is_relative_to(game.data.verify_prompts_root):  # a link to the shipped ones
        folder = game.data.verify_prompts_root
        texts = {file.name: file.read_text() for file in folder.iterdir()}
        folder.unlink()
        for name, text in texts.items():
            (folder.parent / "verify_prompts" / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
    write_yaml(path, content)


@dataclass(frozen=True)
class Case:
    """An upgrade, how a person switches its field on, what is stale then, and the only folders where more waits."""

    upgrade: Callable[[pytest.MonkeyPatch], None]
    switch_on: Callable[[Game], None]
    stale: set[str]
    then: tuple[str, ...]


ONE, OTHER, OLD, PAPER = "west/loras/west_land", "west/loras/paper_land", "west/worlds/old", "west/worlds/paper"
ALL = (ONE, OTHER, OLD, PAPER)
PICTURES = {f"{OLD}/poi_images:{slug}" for slug in ("mill", "mine", "inn")} | {
    f"{PAPER}/poi_images:{slug}" for slug in ("gate", "dock")
}
CASES = {
    "a recipe field": Case(
        upgrade_recipe,
        lambda game: set_in(game, game.data.datasets_root / "west/landscape/lora.yaml", "sparkle"),
        {f"{ONE}/training_dataset"},
        (ONE, OLD),
    ),
    "a threshold": Case(
        upgrade_thresholds,
        lambda game: set_in(game, game.data.settings_file, "thresholds", "sparkle_max"),
        {f"{ONE}/verification", f"{OTHER}/verification"},
        ALL,
    ),
    "what a verification is rendered with": Case(
        upgrade_verify_prompts,
        lambda game: set_in(game, game.data.verify_prompts_root / "landscape.yaml", "sparkle"),
        {f"{ONE}/verification", f"{OTHER}/verification"},
        ALL,
    ),
    "a tier setting": Case(
        upgrade_tiers,
        lambda game: set_in(game, game.data.settings_file, "tiers", "landscape", "sparkle"),
        PICTURES,
        (f"{OLD}/gallery", f"{PAPER}/gallery"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_off_it_makes_nothing_again_and_on_only_what_it_is_for(
    case: Case, done: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = done.plan()["fresh"]
    case.upgrade(monkeypatch)
    plan = done.plan()
    assert (plan["stale"], plan["blocked"], plan["fresh"]) == ([], [], fresh)
    case.switch_on(done)
    steps = {item["asset"]: item["status"] for item in done.plan()["stale"]}
    assert {asset for asset, status in steps.items() if status == "stale"} == case.stale
    assert all(asset.startswith(case.then) for asset in steps.keys() - case.stale)


@pytest.mark.parametrize("name", sorted(Recipe.model_fields))
def test_every_field_of_the_first_version_counts_for_the_dataset(name: str) -> None:
    """Adding a field to the list of the first ones would make everything again; leaving one out too."""
    from sq_pipeline.training.recipe import _FIRST_FIELDS, recipe_values

    assert (name in recipe_values(Recipe())) == (name in _FIRST_FIELDS)
    assert inputs.dataset_inputs({"files": {}, "recipe": recipe_values(Recipe())}).keys() == {
        "files",
        *(f"recipe.{first}" for first in _FIRST_FIELDS),
    }
