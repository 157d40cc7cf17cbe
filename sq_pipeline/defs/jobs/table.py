"""The jobs that a person starts from the pages, in the order of their use: a new one is a line here."""

from dagster import JobDefinition

from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Catalog
from sq_pipeline.defs.jobs import adapter_jobs, choice_jobs, picture_jobs
from sq_pipeline.defs.jobs.job import FormJob, build_job
from sq_pipeline.defs.resources import MakeEngines

JOBS: tuple[FormJob, ...] = (
    picture_jobs.RENDER,
    picture_jobs.TAKES,
    choice_jobs.PICK,
    choice_jobs.LOCK,
    choice_jobs.ADOPT,
    choice_jobs.UNLOCK,
    choice_jobs.RESTORE,
    adapter_jobs.TRAIN,
    adapter_jobs.VERIFY,
    adapter_jobs.PROMOTE,
)


def build_jobs(data: DataDir, make_engines: MakeEngines, catalog: Catalog) -> list[JobDefinition]:
    """All of them over a data directory; `catalog` is what their forms are filled in from."""
    return [build_job(kind, data, make_engines, catalog) for kind in JOBS]
