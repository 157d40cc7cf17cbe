"""The sources as Dagster has them, where its lineage begins. What they are: `pipeline.sources`.

All are observed in one step, by a person's press on any of them; what assets are made from is told with them.
"""

import warnings
from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    BetaWarning,
    DataVersion,
    ObserveResult,
    multi_observable_source_asset,
)

from sq_pipeline.common.errors import ContentError, SqPipelineError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Catalog
from sq_pipeline.defs.resources import MakeEngines
from sq_pipeline.defs.told import tell
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline.pipeline.sources import SETTINGS, Source, Sources
from sq_pipeline.settings import Settings, load_settings


def sources_of(data: DataDir, catalog: Catalog) -> Sources:
    """The sources of a data directory; as by default where `sq.yaml` is at fault."""
    try:
        settings = load_settings(data)
    except ContentError:
        settings = Settings()
    return Sources(data, catalog, settings)


def build_sources(sources: Sources, data: DataDir, make_engines: MakeEngines) -> list[AssetsDefinition]:
    """All sources, observed in one step that reads the content as it is then, and waits for no run."""
    known = sources.all()
    if not known:
        return []
    keys = {name: AssetKey(name.split("/")) for name in known}

    specs = [
        AssetSpec(
            keys[name],
            description=f"{source.description} Observe it to see what an edit changes.",
            group_name=source.genre or "sources",
            kinds={"file"},
            skippable=True,
        )
        for name, source in known.items()
    ]

    def observed(context: AssetExecutionContext) -> Iterator[ObserveResult]:
        asked = {name: source for name, source in known.items() if keys[name] in context.selected_asset_keys}
        try:
            pipeline = Context(data, make_engines(data))
        except SqPipelineError as error:  # sq.yaml's own: nothing can be said of the others
            context.log.error(str(error))
            if SETTINGS in asked:
                yield ObserveResult(asset_key=keys[SETTINGS], metadata={"fault": str(error)})
            return
        for name, source in asked.items():
            yield ObserveResult(asset_key=keys[name], **_look_at(pipeline, source))
        for line in tell(context.instance, pipeline, make_plan(pipeline, None)):
            context.log.info(line)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetaWarning)  # the stable form is a step a source, each with its own reading
        return [multi_observable_source_asset(name="sources", specs=specs, can_subset=True)(observed)]


def _look_at(pipeline: Context, source: Source) -> dict[str, Any]:
    """What an observation says: the data version, unless it cannot be read, and what is wrong."""
    try:
        found: dict[str, Any] = {"data_version": DataVersion(source.version(pipeline))}
        faults = source.faults(pipeline)
    except SqPipelineError as error:
        found, faults = {}, error.faults
    except KeyError:
        return {"metadata": {"fault": "is gone: press “Reload definitions”"}}
    return {**found, "metadata": {"fault": "\n".join(map(str, faults))}} if faults else found
