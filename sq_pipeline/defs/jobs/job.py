"""What a job with a form is: a record, and the Dagster job that is made of it. Which there are: `table`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dagster import (
    Config,
    DagsterInstance,
    Failure,
    JobDefinition,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    in_process_executor,
    job,
    op,
)

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Catalog
from sq_pipeline.defs.resources import GPU_POOL, MakeEngines

Shown = Mapping[str, Any]  # Dagster's metadata: what the page of the run shows of what was done


@dataclass(frozen=True)
class Asked:
    """One run of a job: what it works on, and what it is told."""

    data: DataDir
    make_engines: MakeEngines
    instance: DagsterInstance
    run_id: str
    say: Callable[[str], None]
    note: Callable[[Any], None]
    """Tells Dagster of an event that an asset's own page shows, too."""


@dataclass(frozen=True)
class FormJob:
    """A job that a person starts. `form`: its fields, with what each is for. `do`: does it, returns what to show.

    `example`: what the form has in it when it is opened, of the content as it was loaded. `do` raises SqPipelineError
    for what cannot be done: the run fails with its words. `renders`: in the job's own step. One that makes assets takes
    no place in the pool of the GPU: their own steps do, and would wait for it.
    """

    name: str
    title: str
    description: str
    form: type[Config]
    do: Callable[[Asked, Any], Shown]
    example: Callable[[Catalog], Mapping[str, Any]]
    renders: bool = False


def form_of(name: str) -> str:
    """The name of a job's only step, under which its form stands; a step and a job cannot have one name."""
    return f"form_of_{name}"


def build_job(kind: FormJob, data: DataDir, make_engines: MakeEngines, catalog: Catalog) -> JobDefinition:
    """The Dagster job, with one step."""

    @op(
        name=form_of(kind.name),
        description=kind.description,
        config_schema=kind.form.to_config_schema().as_field(),
        pool=GPU_POOL if kind.renders else None,
        out=Out(Nothing),
    )
    def asked(context: OpExecutionContext) -> Iterator[Output[None]]:
        given = kind.form(**context.op_config)
        run = Asked(data, make_engines, context.instance, context.run_id, context.log.info, context.log_event)
        try:
            shown = kind.do(run, given)
        except SqPipelineError as error:
            raise Failure("\n".join(map(str, error.faults)), allow_retries=False) from None
        yield Output(None, metadata=shown)

    filled = {name: field.get_default() for name, field in kind.form.model_fields.items() if not field.is_required()}

    @job(
        name=kind.name,
        description=f"**{kind.title}.** {kind.description}",
        executor_def=in_process_executor,
        config={"ops": {form_of(kind.name): {"config": {**filled, **kind.example(catalog)}}}},
        tags={"sq/job": kind.name},
    )
    def made() -> None:
        asked()

    return made
