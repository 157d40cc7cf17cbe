"""What all sensors share: how they run, and what a tick ends with: requests, or a reason for having none.

A tick that cannot look ends with the reason as well, whatever was at fault; a bug keeps its traceback.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import wraps

from dagster import (
    AssetSelection,
    DefaultSensorStatus,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from sq_pipeline.common.endings import explain_end
from sq_pipeline.common.errors import Fault, SqPipelineError
from sq_pipeline.defs.partitions import PartitionChange
from sq_pipeline.defs.sensors.requests import Answer

Clock = Callable[[], datetime]
Tick = Callable[[SensorEvaluationContext], SensorResult]

_SHOWN = 12


def now_utc() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def automatic(name: str, interval_s: int, description: str) -> Callable[[Tick], SensorDefinition]:
    """Makes a sensor of a tick: over all assets, and running unless somebody switches it off."""
    made = sensor(
        name=name,
        minimum_interval_seconds=interval_s,
        default_status=DefaultSensorStatus.RUNNING,
        asset_selection=AssetSelection.all(),
        description=description,
    )

    def make(tick: Tick) -> SensorDefinition:
        @wraps(tick)
        def told(context: SensorEvaluationContext) -> SensorResult:
            try:
                return tick(context)
            except Exception as error:
                if not (faults := _why_no_look(error)):
                    raise
                return finish_tick(context, [], list(map(str, faults)))

        return made(told)

    return make


def _why_no_look(error: Exception) -> tuple[Fault, ...]:
    """What a person should hear of a tick that could not look; nothing for a bug."""
    if isinstance(error, SqPipelineError):
        return error.faults
    if fault := explain_end(error):
        return (fault,)
    if isinstance(error, OSError):
        gone = f"cannot be read ({error.strerror or error})"
        return (Fault(str(error.filename or ""), "", gone, "the next tick looks again"),)
    return ()


def finish_tick(
    context: SensorEvaluationContext,
    answers: Sequence[Answer],
    notes: Sequence[str],
    changes: Sequence[PartitionChange] = (),
) -> SensorResult:
    """The tick's result. Dagster shows a reason only beside no request, so everything is logged as well.

    What a run is asked for stands in its tags, too.
    """
    requests = [answer.request for answer in answers if answer.request is not None]
    reasons = [*notes, *(answer.reason for answer in answers if answer.request is None)]
    for line in [*reasons, *(answer.reason for answer in answers if answer.request is not None)]:
        context.log.info(line)
    if requests:
        return SensorResult(run_requests=requests, dynamic_partitions_requests=changes)
    shown = reasons[:_SHOWN] + ([f"… and {len(reasons) - _SHOWN} more"] if len(reasons) > _SHOWN else [])
    return SensorResult(
        skip_reason=SkipReason("\n".join(shown) or "everything is as it should be"),
        dynamic_partitions_requests=changes,
    )
