"""The small game of `fast` brought up to date without Dagster, for tests of who promoted what."""

import shutil
from pathlib import Path

from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.promote import promote, roll_back
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.manifests import read_manifest
from sq_pipeline.pipeline.plan import Plan, make_plan
from sq_pipeline.pipeline.promotions.sign_offs import SignOff
from sq_pipeline.pipeline.store import Record
from sq_pipeline_tests.mutation.bench import Made, has_adapter_steps, run_adapter, run_world
from sq_pipeline_tests.pipeline.fast import FastEngines, write_yaml

NAME = "west_land"


class Line:
    """A game, its engines, and what people say of its adapter `west_land`."""

    def __init__(self, data: DataDir) -> None:
        self.data, self.engines, self.seed = data, FastEngines(), 1
        self.file = data.lora_root / "west/landscape.safetensors"

    def context(self) -> Context:
        return Context(self.data, self.engines(self.data))

    def adapter(self, context: Context) -> Adapter:
        return context.adapter(NAME)

    def step(self) -> Step:
        context = self.context()
        return adapter_steps_of(context, self.adapter(context))["promoted_adapter"]

    def plan(self) -> Plan:
        return make_plan(self.context(), None)

    def entry(self) -> dict[str, object]:
        return read_manifest(self.data, "west")[NAME]

    def set(self, promotion: str = "manual", **thresholds: object) -> None:
        limits = {"ssim_trigger_max": 1.0, **thresholds}
        write_yaml(self.data.settings_file, {"promotion": promotion, "thresholds": limits})

    def train(self, seed: int) -> None:
        """Another recipe."""
        recipe = self.data.datasets_root / "west/landscape/lora.yaml"
        recipe.write_text(recipe.read_text().replace(f"seed: {self.seed}", f"seed: {seed}"))
        self.seed = seed

    def promote(self, by: str = "Ada", because: str | None = None) -> Record:
        context = self.context()
        return promote(context, self.adapter(context), by, because)[0]

    def roll_back(self, to: str | None = None, by: str = "Bo", because: str | None = None) -> SignOff:
        context = self.context()
        return roll_back(context, self.adapter(context), to, by, because)[0]

    def bring_up(self) -> Made:
        """As a run does, with the same steps in the same order."""
        context, made = self.context(), Made()
        plan = make_plan(context, None)
        for _ in range(2):
            if has_adapter_steps(plan):
                for key, states in plan.adapters.items():
                    run_adapter(context, key, states, made)
                plan = make_plan(context, None)
        context.looks_ahead = False
        for state in make_plan(context, None).worlds:
            if any(step.is_to_do for step in state.steps()):
                run_world(context, state, made)
        context.files.save()
        return made

    def lose_store(self) -> None:
        shutil.rmtree(self.data.store_root)

    def archived(self) -> list[Path]:
        return sorted((self.file.parent / "archive").glob("*.safetensors"))
