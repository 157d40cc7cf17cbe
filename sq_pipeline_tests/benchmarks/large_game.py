"""A large game that is up to date, for measuring: `worlds` × `places`, ten genres with an adapter each.

Pictures and adapters are fakes (nothing that is measured looks into them); content, store and records are real.
"""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import yaml

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.common.layout import DataDir, shipped_data_root
from sq_pipeline.pictures.ports import AppliedAdapter, RenderedImage, RenderRequest
from sq_pipeline.pipeline.adapters.adapter_assets import assets_of
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.context import Context, Engines
from sq_pipeline.pipeline.plan import adapters_of, make_plan
from sq_pipeline.pipeline.worlds.make_world_asset import make_world_asset
from sq_pipeline.pipeline.worlds.world_asset import Made
from sq_pipeline.pipeline.worlds.world_assets import WORLD_ASSETS
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.fakes import FakeRenderer
from sq_pipeline_tests.pipeline.fast import WholeTrainer, lora, write_dataset, write_yaml

_GENRES = 10
_WORDS = "mesa river tower snow desert mill house bridge cliff forest lantern road harbour gate ruin farm well".split()


_SUFFIX = "wide shot, soft light"


@dataclass
class QuickRenderer(FakeRenderer):
    """Draws places in one colour, by the seed; what is to be verified, as the fake does."""

    trigger: str = "genre"
    _reports: dict[tuple[AdapterUse, ...], tuple[AppliedAdapter, ...]] = field(default_factory=dict)

    def render(self, request: RenderRequest) -> RenderedImage:
        if _SUFFIX not in request.positive_prompt:
            return super().render(request)
        if request.adapters not in self._reports:
            self._reports[request.adapters] = super().render(request).applied
        seed = request.seed
        pixels = np.full((request.height_px, request.width_px, 3), seed % 251, dtype=np.uint8)
        pixels[:, :, 1:] = seed // 251 % 251, seed // 63001 % 251
        return RenderedImage(pixels, 0.0, self._reports[request.adapters])


def write_large_game(data: DataDir, worlds: int, places: int) -> None:
    """The content: worlds spread over ten genres, their places over ten chapters."""
    rng = random.Random(worlds)

    def say(words: int) -> str:
        return " ".join(rng.choices(_WORDS, k=words))

    for name in ("keymaps", "verify_prompts", "models"):
        (data.root / name).symlink_to(shipped_data_root() / name)
    passes = {"over_noise": {"value": 0.0, "reason": "adapters are fakes"}}
    write_yaml(data.settings_file, {"promotion": "automatic", "thresholds": {"ssim_trigger_max": 1.0, "gate": passes}})
    for number in range(min(worlds, _GENRES)):
        genre = f"genre{number}"
        loras = [lora(f"{genre}_land", f"{genre}/landscape", trigger=genre)]
        style = {"positive_suffix": _SUFFIX, "base_seed": number, "loras": loras}
        write_yaml(data.genre_root(genre) / "visual_style.yaml", style)
        write_dataset(data.datasets_root / genre / "landscape", genre, number)
    for number in range(worlds):
        chapters = [
            {
                "title": f"Chapter {chapter}",
                "narrative_log": say(60),
                "points_of_interest": [
                    {"name": f"Place {number} {chapter} {i}", "type": "ruin", "description": say(25),
                     "visual_prompt": say(14)}
                    for i in range(places // 10)
                ],
            }
            for chapter in range(10)
        ]  # fmt: skip
        root = data.world_root(f"genre{number % _GENRES}", f"world{number}")
        write_yaml(root / "visual_style.yaml", {"base_seed": number})
        (root / "history.yaml").write_text(yaml.dump({"chapters": chapters}, Dumper=yaml.CSafeDumper, sort_keys=False))


def quick_engines(data: DataDir) -> Engines:
    """The real ones by name and version, so that the real ones find everything up to date; but they do no work."""
    renderer, trainer = QuickRenderer(), WholeTrainer()
    return replace(real_engines(data), renderer=lambda: renderer, trainer=lambda _name: trainer)


@contextmanager
def _without_fsync() -> Iterator[None]:
    """Making tens of thousands of files safe against a power cut takes most of the time, and nobody needs it here."""
    with patch.object(os, "fsync", lambda _file: None):
        yield


def bring_up(data: DataDir, engines: Engines) -> None:
    """Make everything with the functions that the assets call, without Dagster's log of it."""
    context = Context(data, engines)
    with _without_fsync(), context.store.together():
        for key in adapters_of(context.catalog.worlds.values(), None):
            adapter = context.catalog.adapters[key]
            for asset in assets_of(adapter):
                make_adapter_asset(context, adapter, asset.name)
        for world in context.catalog.worlds.values():
            slugs = {poi.slug for poi in world.pois}
            for asset in WORLD_ASSETS.values():
                for outcome in make_world_asset(context, world, "landscape", asset.part, slugs):
                    assert isinstance(outcome, Made), outcome
        make_plan(context, None)


def main() -> None:
    """`python -m sq_pipeline_tests.benchmarks.large_game DIR WORLDS PLACES` makes one."""
    import sys

    data = DataDir(Path(sys.argv[1]).resolve())
    data.content_root.mkdir(parents=True)
    write_large_game(data, int(sys.argv[2]), int(sys.argv[3]))
    bring_up(data, quick_engines(data))


if __name__ == "__main__":
    main()
