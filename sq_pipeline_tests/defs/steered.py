"""Fast engines in processes that a test does not hold in its hands: steered, and telling what they did, by files.

`steer.json` in the data directory: `delay_s` for each picture of a place, `fails`: words of prompts that fail,
`hangs_after`: so many lines of work, then a picture is begun and never ends. Every picture and training is a line in
`work.log`, with the process that made it; a hanging one writes its process into `hangs.pid`.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import Fault, RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.defs.runs import bring_up_to_date
from sq_pipeline.pictures.ports import RenderedImage, RenderRequest
from sq_pipeline.pipeline.context import Engines
from sq_pipeline.training.ports import TrainRequest, TrainResult
from sq_pipeline_tests.fakes import FakeRenderer
from sq_pipeline_tests.pipeline.fast import FastEngines, WholeTrainer

MARK = "a view of"  # in every place's prompt, and in no other


def steer(data: DataDir, **how: Any) -> None:
    (data.root / "hangs.pid").unlink(missing_ok=True)
    write_text(data.root / "steer.json", json.dumps(how))


def hanging_process(data: DataDir) -> int | None:
    """The process that hangs in a picture; the ones before it are finished and kept."""
    note = data.root / "hangs.pid"
    return int(note.read_text()) if note.is_file() else None


def work_done(data: DataDir) -> list[tuple[int, str]]:
    """(process, what) of every line."""
    log = data.root / "work.log"
    lines = log.read_text().splitlines() if log.is_file() else []
    return [(int(process), what) for process, what in (line.split(" ", 1) for line in lines)]


def _note(root: Path, what: str) -> None:
    with (root / "work.log").open("a") as log:
        log.write(f"{os.getpid()} {what}\n")


@dataclass
class SteeredRenderer(FakeRenderer):
    root: Path = Path()

    def render(self, request: RenderRequest) -> RenderedImage:
        if MARK not in request.positive_prompt:
            return super().render(request)
        file = self.root / "steer.json"
        how: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        if len(work_done(DataDir(self.root))) >= how.get("hangs_after", sys.maxsize):
            write_text(self.root / "hangs.pid", str(os.getpid()))
            time.sleep(600)
        time.sleep(how.get("delay_s", 0))
        if how.get("fails", "\0") in request.positive_prompt:
            raise RenderError(Fault("", "", "was steered to fail", ""))
        _note(self.root, f"picture {request.positive_prompt}")
        return super().render(request)


@dataclass
class SteeredTrainer(WholeTrainer):
    root: Path = Path()

    def train(self, request: TrainRequest, on_progress: Any) -> TrainResult:
        result = super().train(request, on_progress)
        _note(self.root, f"training {request.recipe.trigger}")
        return result


def steered_engines(data: DataDir) -> Engines:
    return FastEngines(SteeredRenderer(trigger="west", root=data.root), SteeredTrainer(root=data.root))(data)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """`python -m sq_pipeline_tests.defs.steered ROOT`: what `sq-pipeline run` does, with these engines."""
    data = DataDir(Path(sys.argv[1]))
    with open_instance(data) as instance:
        report = bring_up_to_date(data, instance, None, _say, steered_engines)
    assert not report.failed, report.failed
    assert not report.blocked, report.blocked
    _say(f"{len(report.rendered)} {len(report.trained)}")


if __name__ == "__main__":
    main()
