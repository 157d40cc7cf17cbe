"""The sensors `adapters` (remap, verification, promotion follow their inputs) and `night` (training, in its hours)."""

from collections.abc import Iterator
from datetime import datetime, time

from dagster import SensorDefinition, SensorEvaluationContext, SensorResult

from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Adapter, Catalog
from sq_pipeline.defs.resources import MakeEngines
from sq_pipeline.defs.sensors.night_window import next_start, window_around
from sq_pipeline.defs.sensors.requests import Answer, Runs
from sq_pipeline.defs.sensors.ticks import Clock, automatic, finish_tick
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.facts import adapter_folder, expected_training_s
from sq_pipeline.pipeline.context import Context, Step

_SPARE = 1.1  # a training may take this much longer than the last one did


def adapter_sensor(
    data: DataDir, make_engines: MakeEngines, known: Catalog, clock: Clock, interval_s: int
) -> SensorDefinition:
    """Carries a changed keymap, prompt or threshold through to the promoted adapter; never trains."""

    @automatic(
        "adapters",
        interval_s,
        "Datasets are checked; adapters are remapped, verified and promoted when due.",
    )
    def adapters(context: SensorEvaluationContext) -> SensorResult:
        pipeline = Context(data, make_engines(data), looks_ahead=False)
        runs = Runs(context.instance, clock(), pipeline)
        answers: list[Answer] = []
        waiting: dict[str, list[str]] = {}
        for adapter, steps in _lines(pipeline, known):
            told = [f"{step.asset} waits: {'; '.join(step.reasons)}" for step in steps.values() if _waits(step)]
            if told:
                is_one = sum(other.name == adapter.name for other in pipeline.catalog.adapters.values()) == 1
                waiting[adapter.name if is_one else adapter.key] = told
            due = list(_until_training(steps))
            if due:
                answers.append(runs.ask(adapter_folder(adapter), due, [step.asset for step in due], {}))
        pipeline.files.save()
        notes = [f"waits for your yes: {', '.join(waiting)}"] if waiting else []
        return finish_tick(context, answers, [*notes, *(line for told in waiting.values() for line in told)])

    return adapters


def night_sensor(
    data: DataDir, make_engines: MakeEngines, known: Catalog, clock: Clock, interval_s: int
) -> SensorDefinition:
    """Starts one due training at a time within the night window, if it can be done before the window ends."""

    @automatic("night", interval_s, "Trains what is due, one at a time, in the hours of sq.yaml's `night_window`.")
    def night(context: SensorEvaluationContext) -> SensorResult:
        pipeline, now = Context(data, make_engines(data), looks_ahead=False), clock()
        due = [(adapter, steps) for adapter, steps in _lines(pipeline, known) if _needs_training(steps)]
        pipeline.files.save()
        if not due:
            return finish_tick(context, [], ["nothing is to be trained"])
        names = ", ".join(adapter.key for adapter, _ in due)
        hours = pipeline.settings.night_window
        start = time.fromisoformat(hours.start)
        window = window_around(now, start, time.fromisoformat(hours.end))
        if window is None:
            opens = next_start(now, start).astimezone().strftime("%H:%M")
            return finish_tick(context, [], [f"to be trained from {opens} on, or by your click: {names}"])
        runs = Runs(context.instance, now, pipeline)
        if trainings := [asset for asset in runs.active_assets if asset.endswith("/mlx_adapter")]:
            return finish_tick(context, [], [f"{trainings[0]} is being trained; one at a time"])
        answers: list[Answer] = []
        for adapter, steps in due:
            answer = _ask_for_training(pipeline, runs, adapter, steps, window[1], now)
            answers.append(answer)
            if answer.request is not None:
                break
        return finish_tick(context, answers, [])

    return night


def _lines(pipeline: Context, known: Catalog) -> Iterator[tuple[Adapter, dict[str, Step]]]:
    """Every adapter that the loaded definitions show as it is now, with its steps."""
    for adapter in pipeline.catalog.adapters.values():
        if known.adapters.get(adapter.key) == adapter:
            yield adapter, adapter_steps_of(pipeline, adapter)


def _waits(step: Step) -> bool:
    """True for what nothing but a person's word is missing to."""
    return step.status == "waiting" and step.because is None


def _until_training(steps: dict[str, Step]) -> Iterator[Step]:
    for step in steps.values():
        if step.kind == "mlx_adapter" and step.record is None:
            return
        if step.is_to_do:
            yield step


def _needs_training(steps: dict[str, Step]) -> bool:
    step = steps.get("mlx_adapter")
    return step is not None and step.is_to_do and step.record is None


def _ask_for_training(
    pipeline: Context, runs: Runs, adapter: Adapter, steps: dict[str, Step], end: datetime, now: datetime
) -> Answer:
    expected_s, left_s = expected_training_s(pipeline, adapter), (end - now).total_seconds()
    if expected_s is not None and expected_s * _SPARE > left_s:
        took, left = (f"{seconds / 3600:.1f} h" for seconds in (expected_s, left_s))
        return Answer(None, f"{adapter.key}: would take {took} by its last time, and the window ends in {left}")
    wanted = [step for name, step in steps.items() if step.is_to_do or name == "mlx_adapter"]
    return runs.ask(adapter_folder(adapter), wanted, [step.asset for step in wanted], {})
