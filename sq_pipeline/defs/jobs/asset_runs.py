"""A run over assets that a job makes within its own: of the same assets as the pages have, with a page of its own."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from dagster import AssetKey

from sq_pipeline.common.errors import Fault, SqPipelineError
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.jobs.job import Asked
from sq_pipeline.defs.step_errors import is_interrupt, reason_of
from sq_pipeline.pipeline.context import Context

BEGUN_BY = "sq/begun_by"  # tag: the run of the job
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class AssetRunError(SqPipelineError):
    """An asset that a job asked for was not made."""


def materialize(asked: Asked, pipeline: Context, assets: Sequence[str], config: Mapping[str, Any] | None = None) -> str:
    """Make these, as far as they are not there; the id of the run. `config`: of the last one.

    Raises AssetRunError with the reason of each that failed.
    """
    defs = build_defs(data=asked.data, make_engines=asked.make_engines, shared=pipeline)
    ops = {} if config is None else {"ops": {assets[-1].replace("/", "__"): {"config": dict(config)}}}
    run_id = str(uuid.uuid4())
    try:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=asked.instance,
            run_id=run_id,
            asset_selection=[AssetKey(name.split("/")) for name in assets],
            tags={BEGUN_BY: asked.run_id},
            raise_on_error=False,
            run_config={**_QUIET, **ops},
        )
        errors = {
            (event.step_key or "").replace("__", "/"): event.step_failure_data.error
            for event in result.all_events
            if event.is_step_failure
        }
        if any(map(is_interrupt, errors.values())):
            raise KeyboardInterrupt  # Dagster makes a failed step of it, and what began this run would go on
    except KeyboardInterrupt:
        if run := asked.instance.get_run_by_id(run_id):
            asked.instance.report_run_canceled(run, message=f"run {asked.run_id[:8]}, which began it, was stopped")
        raise
    if errors:
        raise AssetRunError(
            Fault(name, "", reason_of(error).removeprefix(f"{name}: "), "") for name, error in errors.items()
        )
    return run_id
