"""The small game of `fast` with its instance and engines, and what a test does with it: edit, plan, run."""

from typing import Any

from dagster import DagsterInstance

from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.runs import RunReport, bring_up_to_date
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline_tests.pipeline.fast import FastEngines, write_yaml


class Game:
    """A data directory that is up to date, its instance, and its engines."""

    def __init__(self, data: DataDir, instance: DagsterInstance) -> None:
        self.data, self.instance, self.engines = data, instance, FastEngines()
        self.said: list[str] = []

    def run(self, world: str | None = None) -> RunReport:
        return bring_up_to_date(self.data, self.instance, world, self.said.append, self.engines)

    def plan(self, world: str | None = None) -> dict[str, Any]:
        return make_plan(Context(self.data, self.engines(self.data)), world).as_json()

    def edit(self, file: str, change: dict[str, Any]) -> None:
        import yaml

        path = self.data.genre_root("west") / file
        write_yaml(path, {**yaml.safe_load(path.read_text()), **change})
