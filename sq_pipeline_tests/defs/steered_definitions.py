"""What the daemon test's Dagster processes load: the product's definitions with steered engines and quick ticks."""

import os
from pathlib import Path

from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.jobs.table import build_jobs
from sq_pipeline_tests.defs.steered import steered_engines

data = DataDir(Path(os.environ["SQ_DATA"]))
defs = build_defs(data=data, make_engines=steered_engines, interval_s=2, make_jobs=build_jobs)
