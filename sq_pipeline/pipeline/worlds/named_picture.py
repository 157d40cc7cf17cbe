"""Which picture a person means by `GENRE/WORLD/SLUG`."""

from dataclasses import dataclass

from sq_pipeline.common.errors import Fault, SelectionError
from sq_pipeline.common.strict_yaml import near_miss
from sq_pipeline.common.tiers import Tier, select_tiers
from sq_pipeline.content.records import Subject, World
from sq_pipeline.pipeline.context import Context

_MOST_KNOWN = 8


@dataclass(frozen=True)
class NamedPicture:
    """A subject of a world's tier; it may be a draft."""

    world: World
    tier: Tier
    subject: Subject

    @property
    def key(self) -> str:
        """`genre/world/slug`."""
        return f"{self.world.key}/{self.subject.slug}"


def find_picture(context: Context, name: str, tier: str | None = None) -> NamedPicture:
    """The picture that is meant. Raises SelectionError where there is none, or one in each of several tiers."""
    world_name, _, slug = name.rpartition("/")
    if world_name.count("/") != 1 or not slug:
        raise SelectionError(Fault("", "PICTURE", f"{name!r} names no picture", "write it as GENRE/WORLD/SLUG"))
    (world,) = context.catalog.select(world_name)
    tiers = select_tiers(tier)
    shown: dict[Tier, dict[str, Subject]] = {
        each: {subject.slug: subject for subject in (*world.subjects.get(each, ()), *world.drafts.get(each, ()))}
        for each in tiers
    }
    found: list[Tier] = [each for each, subjects in shown.items() if slug in subjects]
    if len(found) > 1:
        problem = f"{world.key} has a picture {slug!r} in several tiers"
        raise SelectionError(Fault("", "--tier", problem, f"name one: {', '.join(found)}"))
    if not found:
        known = sorted({each for subjects in shown.values() for each in subjects})
        near, more = near_miss(slug, known), len(known) - _MOST_KNOWN
        named = [*known[:_MOST_KNOWN], *([f"{more} more"] if more > 0 else [])]
        hint = f"did you mean {near}?" if near else f"known are {', '.join(named) or 'none'}"
        raise SelectionError(Fault("", "PICTURE", f"{world.key} has no picture {slug!r}", hint))
    return NamedPicture(world, found[0], shown[found[0]][slug])
