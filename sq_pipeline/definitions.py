"""The entry that Dagster loads (`workspace.yaml`): the definitions of the data directory SQ_DATA names, or `data`."""

from dagster import Definitions

from sq_pipeline.defs.build import build_defs
from sq_pipeline.storage.layout import DataDir, data_root

defs: Definitions = build_defs(data=DataDir(data_root(None).resolve()))
