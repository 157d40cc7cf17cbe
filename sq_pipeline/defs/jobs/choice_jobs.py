"""Jobs over what people decide of single pictures: pick, lock, adopt, unlock, restore. As on the command line.

Not here: what each does (`pipeline.choices`), more takes (`picture_jobs`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dagster import AssetKey, Config, MetadataValue
from pydantic import Field

from sq_pipeline.common.tiers import TIER_NAMES, TIERS, Tier
from sq_pipeline.content.records import Catalog, Choice
from sq_pipeline.defs.jobs.job import Asked, FormJob, Shown
from sq_pipeline.defs.told import tell
from sq_pipeline.pictures.sheets import thumbnail_markdown
from sq_pipeline.pipeline.choices.choose import Said, adopt, lock, pick, restore, unlock
from sq_pipeline.pipeline.choices.in_place import place_now
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture, find_picture
from sq_pipeline.pipeline.worlds.world_state import world_asset

_PICTURE_PX = 512


class UnlockPicture(Config):
    """The form of `unlock_a_picture`, and the beginning of the others."""

    picture: str = Field(description="The picture, as GENRE/WORLD/SLUG.")
    tier: str = Field(
        default="", description=f"Of a name that is in several tiers, which is meant: {', '.join(TIERS)}. Empty else."
    )


class LockPicture(UnlockPicture):
    """The form of `lock_a_picture`, and of what else is decided in somebody's name."""

    by: str = Field(default="", description="Who decides it: your name. Nothing is decided without.")
    why: str = Field(default="", description="Why. It is kept with your name; it may be empty.")


class PickTake(LockPicture):
    """The form of `pick_a_take`."""

    take: int = Field(default=1, description="The number of the take, as “More takes of a picture” shows it.")


class AdoptFile(LockPicture):
    """The form of `adopt_a_file`."""

    file: str = Field(
        default="",
        description="Your file, a path on this machine, from the data directory or absolute. It is copied. Empty: the "
        "one that you changed at the picture's place.",
    )
    any_size: bool = Field(default=False, description="Whether a file of another size than its place has is taken too.")


class RestorePicture(LockPicture):
    """The form of `restore_a_picture`."""

    version: str = Field(
        default="", description="The first digits of the version. Empty: the job fails, and names those that there are."
    )


def _decide(asked: Asked, form: LockPicture, choose: Callable[[Context, NamedPicture, Said], Choice]) -> Shown:
    context = Context(asked.data, asked.make_engines(asked.data), looks_ahead=False)
    picture = find_picture(context, form.picture.strip(), form.tier.strip() or None)
    choice = choose(context, picture, Said(form.by, form.why))
    asked.say(f"{picture.key}: {choice.describe}")
    return {"choice": choice.describe, **_settle(asked, context, picture.key, picture.tier)}


def _unlock(asked: Asked, form: UnlockPicture) -> Shown:
    context = Context(asked.data, asked.make_engines(asked.data), looks_ahead=False)
    name = form.picture.strip()
    tier, choice = unlock(context, name, form.tier.strip() or None)
    let_go = "what could not be understood" if choice is None else choice.describe
    asked.say(f"{name}: no longer {let_go}")
    return {"let go": let_go, **_settle(asked, context, name, tier)}


def _settle(asked: Asked, context: Context, name: str, tier: Tier) -> dict[str, Any]:
    """Put it in place where that takes no rendering, and tell Dagster; what the run's page shows of it."""
    stands = place_now(asked.data, context.engines, name, tier)
    asked.say(stands)
    now = Context(asked.data, context.engines)
    key, _, slug = name.rpartition("/")
    for line in (*now.describe_state(), *tell(asked.instance, now, make_plan(now, key))):
        asked.say(line)
    world = now.catalog.worlds[key]
    place = now.picture_place(world, tier, slug)
    shown: dict[str, Any] = {
        "how it stands": stands,
        "page": MetadataValue.asset(AssetKey(world_asset(world, TIER_NAMES[tier].images).split("/"))),
        "file": MetadataValue.path(asked.data.relative(place)),
    }
    if place.is_file() and not place.is_symlink():
        shown["picture"] = MetadataValue.md(thumbnail_markdown(place.read_bytes(), name, _PICTURE_PX))
    return shown


def _pick(asked: Asked, form: PickTake) -> Shown:
    return _decide(asked, form, lambda context, picture, said: pick(context, picture, form.take, said))


def _lock(asked: Asked, form: LockPicture) -> Shown:
    return _decide(asked, form, lock)


def _adopt(asked: Asked, form: AdoptFile) -> Shown:
    named = form.file.strip()
    file = asked.data.root / Path(named).expanduser() if named else None
    return _decide(
        asked,
        form,
        lambda context, picture, said: adopt(context, picture, file, said, is_any_size=form.any_size),
    )


def _restore(asked: Asked, form: RestorePicture) -> Shown:
    return _decide(asked, form, lambda context, picture, said: restore(context, picture, form.version.strip(), said))


def _first_picture(catalog: Catalog) -> Mapping[str, Any]:
    keys = (f"{world.key}/{one.slug}" for world in catalog.worlds.values() for one in world.pois)
    return {"picture": next(keys, "GENRE/WORLD/SLUG")}


def _first_decided(catalog: Catalog) -> Mapping[str, Any]:
    decided = (
        {"picture": f"{world.key}/{slug}", "tier": tier}
        for world in catalog.worlds.values()
        for tier, slug in sorted(world.choices.shown)
    )
    return next(decided, None) or _first_picture(catalog)


_AT_ONCE = "What needs no rendering is in its place at once, and no other picture changes."

PICK = FormJob(
    name="pick_a_take",
    title="Pick a take",
    description="Lets a take be the picture, in your name, also when its words or its style change later: it keeps the "
    f"seed. {_AT_ONCE}",
    form=PickTake,
    do=_pick,
    example=_first_picture,
)

LOCK = FormJob(
    name="lock_a_picture",
    title="Lock a picture",
    description="Keeps the picture that is at its place, in your name, whatever changes.",
    form=LockPicture,
    do=_lock,
    example=_first_picture,
)

ADOPT = FormJob(
    name="adopt_a_file",
    title="Adopt a file",
    description="Lets a retouched or hand-made file be the picture, in your name, whatever changes. It then says what "
    f"it was painted over. {_AT_ONCE}",
    form=AdoptFile,
    do=_adopt,
    example=_first_picture,
)

UNLOCK = FormJob(
    name="unlock_a_picture",
    title="Unlock a picture",
    description="Lets go of a lock or an adoption, or of a pick where that is all. Files that were kept stay in "
    f"`chosen/`. {_AT_ONCE}",
    form=UnlockPicture,
    do=_unlock,
    example=_first_decided,
)

RESTORE = FormJob(
    name="restore_a_picture",
    title="Restore a picture",
    description=f"Puts an earlier version of a picture back, and keeps it, in your name. {_AT_ONCE}",
    form=RestorePicture,
    do=_restore,
    example=_first_picture,
)
