"""The entry that Dagster loads (`workspace.yaml`): the definitions of the data directory that SQ_DATA names, or `data`."""

from dagster import Definitions

from sq_pipeline.cli.options import data_root
from sq_pipeline.defs.build import build_defs
from sq_pipeline.storage.layout import DataDir

defs: Definitions = build_defs(data=DataDir(data_root(None).resolve()))
