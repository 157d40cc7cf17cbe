"""The entry that Dagster loads (`workspace.yaml`): the definitions of the data directory SQ_DATA names, or `data`."""

from dagster import Definitions

from sq_pipeline.common.layout import DataDir, data_root
from sq_pipeline.defs.build import build_defs

defs: Definitions = build_defs(data=DataDir(data_root(None).resolve()))
