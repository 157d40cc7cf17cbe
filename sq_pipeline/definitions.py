"""The entry that Dagster loads (`workspace.yaml`): the definitions of the data directory SQ_DATA names, or `data`."""

from dagster import Definitions

from sq_pipeline.common.hints import name_data
from sq_pipeline.common.layout import DataDir, data_root
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.jobs.table import build_jobs

_data = DataDir(data_root(None).resolve())
name_data(_data.root)  # a hint on a page is pasted into a terminal that knows nothing of this process
defs: Definitions = build_defs(data=_data, make_jobs=build_jobs)
