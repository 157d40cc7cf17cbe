"""Jobs over pictures: rendering a world, more takes of one picture."""

from collections.abc import Mapping
from typing import Any

from dagster import AssetKey, AssetObservation, Config, MetadataValue
from pydantic import Field

from sq_pipeline.common.errors import Fault, RenderError
from sq_pipeline.common.locks import hold_run_lock
from sq_pipeline.common.processes.deaths import told_of_death
from sq_pipeline.common.tiers import TIER_NAMES, TIERS
from sq_pipeline.content.records import Catalog
from sq_pipeline.defs.jobs.job import Asked, FormJob, Shown
from sq_pipeline.defs.runs import bring_up_to_date
from sq_pipeline.defs.shown import table_of
from sq_pipeline.pictures.sheets import thumbnail_markdown
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture, find_picture
from sq_pipeline.pipeline.worlds.takes import Takes, make_takes
from sq_pipeline.pipeline.worlds.world_state import world_asset

_SHEET_PX = 1024
_TIERS = ", ".join(TIERS)


class RenderWorld(Config):
    """The form of `render_a_world`."""

    world: str = Field(description="The world, as GENRE/WORLD.")
    tier: str = Field(default="", description=f"Only these pictures: {_TIERS}. Empty for all.")


class MoreTakes(Config):
    """The form of `more_takes_of_a_picture`."""

    picture: str = Field(description="The picture, as GENRE/WORLD/SLUG.")
    tier: str = Field(
        default="", description=f"Of a name that is in several tiers, which is meant: {_TIERS}. Empty else."
    )
    count: int | None = Field(
        default=None, description="How many seeds, 1 to 64. Empty: 8, or 4 of a grid, or 1 of a grid over two things."
    )
    first: int | None = Field(
        default=None, description="The number of the first one. Empty: 1, or 0, its own seed, of a grid."
    )
    vary: list[str] = Field(
        default=[],
        description="For a grid: `scale=0.6,0.8`, `adapter=none,previous`, `base_model=NAME,NAME`; of one of several "
        "adapters `scale:NAME=0.6,0.8`. Two of them are columns and rows. Empty for plain takes.",
    )


def _render(asked: Asked, form: RenderWorld) -> Shown:
    report = bring_up_to_date(
        asked.data,
        asked.instance,
        form.world.strip(),
        asked.say,
        asked.make_engines,
        form.tier.strip() or None,
        makes_adapters=False,
    )
    stopped = [item for item in (*report.failed, *report.blocked) if not _is_of_adapter(str(item["asset"]))]
    if stopped:
        raise RenderError(Fault(str(item["asset"]), "", str(item["reason"]), "") for item in stopped)
    rows = [{name: picture[name] for name in ("tier", "poi", "path")} for picture in report.rendered]
    waiting = [
        {"what": item["asset"], "why": item["reason"]} for item in report.waiting if not _is_of_adapter(item["asset"])
    ]
    return {
        "rendered": len(report.rendered),
        "fresh before": report.skipped,
        "model loads": report.model_loads,
        "seconds": report.wall_s,
        **({"seconds a picture": report.wall_s / len(rows), "pictures": table_of(rows)} if rows else {}),
        **({"waiting for you": table_of(waiting)} if waiting else {}),
    }


def _is_of_adapter(asset: str) -> bool:
    """True for what pictures do not wait for: they stand on what is in use."""
    return "/loras/" in asset


def _take(asked: Asked, form: MoreTakes) -> Shown:
    data = asked.data
    with hold_run_lock(data, asked.say), told_of_death("the run", data.death_note, asked.say):
        context = Context(data, asked.make_engines(data), looks_ahead=False)
        picture = find_picture(context, form.picture.strip(), form.tier.strip() or None)
        renderer = context.engines.renderer()
        loads = renderer.model_loads
        on_take = lambda number: asked.say(f"take {number}")  # noqa: E731 - a line a take
        found = make_takes(context, picture, form.first, form.count, on_take, form.vary)
        shown = {**_shown(context, picture, found), "model loads": renderer.model_loads - loads}
    name = TIER_NAMES[picture.tier].images
    is_partition = picture.subject in picture.world.subjects.get(picture.tier, ())
    key = AssetKey(world_asset(picture.world, name).split("/"))
    # on the picture's own page, too; it stays what it is
    asked.note(AssetObservation(key, partition=picture.subject.slug if is_partition else None, metadata=shown))
    for line in context.describe_state():
        asked.say(line)
    return shown


def _shown(context: Context, picture: NamedPicture, found: Takes) -> dict[str, Any]:
    rows = [
        {"take": take.number, "seed": take.seed, **dict(take.values), "new": take.is_new, "file": take.path.name}
        for take in found.takes
    ]
    ways = {f"to use a value of {name}": way for name, way in found.ways}
    return {
        "takes": MetadataValue.md(thumbnail_markdown(found.sheet.read_bytes(), picture.key, _SHEET_PX)),
        "sheet": MetadataValue.path(context.data.relative(found.sheet)),
        "rendered": sum(take.is_new for take in found.takes),
        "seeds": table_of(rows),
        "to use one": "start “Pick a take” with its number, or write it into the picture's entry, such as `seed: +1`",
        **ways,
    }


def _first_world(catalog: Catalog) -> Mapping[str, Any]:
    return {"world": next((key for key, world in catalog.worlds.items() if world.subjects), "GENRE/WORLD")}


def _first_picture(catalog: Catalog) -> Mapping[str, Any]:
    keys = (f"{world.key}/{one.slug}" for world in catalog.worlds.values() for one in world.pois)
    return {"picture": next(keys, "GENRE/WORLD/SLUG")}


RENDER = FormJob(
    name="render_a_world",
    title="Render a world",
    description="Makes the pictures of a world that are not up to date, with the adapters that are in use now. It "
    "trains nothing.",
    form=RenderWorld,
    do=_render,
    example=_first_world,
)

TAKES = FormJob(
    name="more_takes_of_a_picture",
    title="More takes of a picture",
    description="Renders a picture with other seeds, or as a grid over scales, adapters and base models, to choose "
    "among. The game's own picture stays; nothing is rendered twice. The sheet is on the run's page, beside the step's "
    "output, and among the events of the picture.",
    form=MoreTakes,
    do=_take,
    example=_first_picture,
    renders=True,
)
