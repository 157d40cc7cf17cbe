"""A group of the gallery: a tier of a world, each of its expected pictures as a tile, counts, and the time left.

Here: what the grid shows, from the status that `plan` prints. Not here: all about one picture (`details`).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from sq_pipeline.common.fingerprints import fingerprint, hash_bytes, short
from sq_pipeline.common.tiers import TIER_NAMES, Tier
from sq_pipeline.content.records import Subject, World
from sq_pipeline.gallery.picture_files import PictureFiles, ShownFile
from sq_pipeline.gallery.states import DRAFT, RENDERING, STATES, kept_state, state_of, why_kept
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.settled import Settled, find_settled, settle
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_asset
from sq_pipeline.pipeline.worlds.world_status import world_state_of

_DIGITS = 12
_WHY_CHARACTERS = 200  # of a reason in the grid; the picture's own panel has all


@dataclass(frozen=True)
class Tile:
    """One expected picture. `elapsed_s`: how long the rendering of what is shown took, where that is known. `picked`:
    which take a person chose, and who.
    """

    id: str
    slug: str
    name: str
    state: str
    asset: str
    why: str = ""
    picked: str = ""
    region: str = ""
    kind: str = ""
    shown: ShownFile | None = None
    elapsed_s: float | None = None
    has_to_render: bool = False

    def as_json(self) -> dict[str, Any]:
        """What the grid knows of it; what is empty is left out."""
        more = {"why": self.why, "picked": self.picked, "region": self.region, "kind": self.kind}
        shown = {} if self.shown is None else {"picture": self.shown.as_json()}
        found = {"id": self.id, "slug": self.slug, "name": self.name, "state": self.state, **shown}
        return {**found, **{key: value for key, value in more.items() if value}}


@dataclass(frozen=True)
class Group:
    """A tier of a world. `tiles` None: nobody has looked yet. `settled_key`: see `pipeline.settled`."""

    id: str
    genre: str
    world: str
    tier: Tier
    expected: int
    tiles: tuple[Tile, ...] | None = None
    faults: tuple[str, ...] = ()
    settled_key: str = ""

    @property
    def revision(self) -> str:
        """Changes with what its tiles say."""
        if self.tiles is None:
            return ""
        return short(fingerprint({tile.id: tile.as_json() for tile in self.tiles}), _DIGITS)

    @property
    def seconds_each(self) -> float | None:
        """The median of how long its pictures took to render; None where none says."""
        known = [tile.elapsed_s for tile in self.tiles or () if tile.elapsed_s is not None]
        return median(known) if known else None

    def as_json(self) -> dict[str, Any]:
        """What the page says at its head. `seconds_left`: None where nothing was rendered yet, 0 for nothing to do."""
        tiles = self.tiles or ()
        found = Counter(tile.state for tile in tiles)
        to_render = sum(tile.has_to_render for tile in tiles)
        each = self.seconds_each
        left = 0.0 if not to_render else None if each is None else round(to_render * each, 1)
        return {
            "id": self.id,
            "genre": self.genre,
            "world": self.world,
            "tier": self.tier,
            "noun": TIER_NAMES[self.tier].noun,
            "expected": self.expected,
            "is_known": self.tiles is not None,
            "counts": {state: found[state] for state in STATES if found[state]},
            "to_render": to_render,
            "seconds_left": left,
            "faults": list(self.faults),
            "revision": self.revision,
        }

    def with_rendering(self, asset: str | None) -> "Group":
        """The group while a run renders this asset."""
        if self.tiles is None or not any(tile.asset == asset for tile in self.tiles):
            return self
        tiles = tuple(replace(tile, state=RENDERING) if tile.asset == asset else tile for tile in self.tiles)
        return replace(self, tiles=tiles)


def picture_id(world: World, tier: Tier, slug: str) -> str:
    """A name for a picture that is safe in an address, whatever characters its own have."""
    return short(hash_bytes(f"{world.genre}\n{world.name}\n{tier}\n{slug}".encode()), _DIGITS)


def empty_group(context: Context, world: World, tier: Tier) -> Group:
    """The group before anybody has looked at its pictures."""
    expected = len(world.subjects.get(tier, ())) + len(world.drafts.get(tier, ()))
    faults = tuple(map(str, context.catalog.faults.get(world.key, ())))
    return Group(picture_id(world, tier, ""), world.genre, world.name, tier, expected, faults=faults)


def look_at_group(
    context: Context,
    world: World,
    tier: Tier,
    files: PictureFiles,
    before: Group | None = None,
    *,
    settles: bool = True,
) -> Group:
    """The group as it stands. One that is settled, as it was `before`, costs a few lookups.

    `settles`: one that is found complete is remembered as such, as `plan` does it.
    """
    group = empty_group(context, world, tier)
    settled = find_settled(context, world, tier)
    key = settled.key if settled is not None else ""
    if key and before is not None and before.settled_key == key:
        return replace(group, tiles=before.tiles, settled_key=key)
    if settled is not None and (fresh := _fresh_tiles(context, settled, files)) is not None:
        drafts = [_draft(context, world, tier, subject, files) for subject in world.drafts.get(tier, ())]
        return replace(group, tiles=(*fresh, *drafts), settled_key=key)
    state = world_state_of(context, world, tier)
    if settles and not key:
        settle(context, state)
    tiles = [
        _tile(context, state, subject, state.pictures[subject.slug], files)
        for subject in state.subjects
        if subject.slug in state.pictures
    ]
    tiles += [_draft(context, world, tier, subject, files) for subject in world.drafts.get(tier, ())]
    return replace(group, tiles=tuple(tiles), settled_key=key)


def _fresh_tiles(context: Context, settled: Settled, files: PictureFiles) -> list[Tile] | None:
    """The tiles of a world that is settled: all are fresh, so their records tell all. None where one cannot be read."""
    world, tier = settled.world, settled.tier
    published, tiles = _published(context, world), list[Tile]()
    otherwise = {told["asset"]: told["reasons"] for told in settled.locked}
    for subject in world.subjects.get(tier, ()):
        made_of = published.get(context.picture_key(world, tier, subject.slug))
        record = context.store.read_known("picture", made_of) if made_of else None
        shown = shown_of(context, record, files) if record is not None else None
        if record is None or shown is None:
            return None
        tile, kept = _plain_tile(world, tier, subject), world.choices.kept.get((tier, subject.slug))
        why = "" if kept is None else why_kept(kept, otherwise.get(tile.asset, ()))[:_WHY_CHARACTERS]
        elapsed_s = record.info.get("elapsed_s")
        tiles.append(replace(tile, state=kept_state(kept), why=why, shown=shown, elapsed_s=elapsed_s))
    return tiles


def _published(context: Context, world: World) -> Mapping[str, str]:
    return context.remember(("published", world.genre), lambda: context.store.read_published(world.genre))


def _tile(context: Context, state: WorldState, subject: Subject, step: Step, files: PictureFiles) -> Tile:
    world, tier = state.world, state.tier
    shown, record = find_shown(context, world, tier, subject.slug, step, files)
    elapsed_s = record.info.get("elapsed_s") if record is not None else None
    kept = state.kept.get(subject.slug)
    why = "; ".join(step.reasons)
    if kept is not None and step.status == "fresh":
        why = why_kept(kept.choice, kept.otherwise)
    return replace(
        _plain_tile(world, tier, subject),
        state=state_of(context, step, kept.choice if kept is not None else None),
        why=why[:_WHY_CHARACTERS],
        shown=shown,
        elapsed_s=elapsed_s if isinstance(elapsed_s, int | float) else None,
        has_to_render=step.is_to_do and step.record is None,
    )


def _draft(context: Context, world: World, tier: Tier, subject: Subject, files: PictureFiles) -> Tile:
    shown = files.enter_file(context, context.picture_place(world, tier, subject.slug))
    return replace(_plain_tile(world, tier, subject), shown=shown)


def _plain_tile(world: World, tier: Tier, subject: Subject) -> Tile:
    picked = world.choices.picks.get((tier, subject.slug))
    return Tile(
        id=picture_id(world, tier, subject.slug),
        slug=subject.slug,
        name=subject.name,
        state=DRAFT,
        asset=world_asset(world, TIER_NAMES[tier].images, subject.slug),
        picked="" if picked is None else picked.describe,
        region=subject.region or "",
        kind=subject.kind or "",
    )


def find_shown(
    context: Context, world: World, tier: Tier, slug: str, step: Step | None, files: PictureFiles
) -> tuple[ShownFile | None, Record | None]:
    """What the game has now, else what the store has of the present inputs; and the record of that, if it has one."""
    record = step.record if step is not None else None
    if step is None or step.status != "fresh" or record is None:
        published = files.enter_file(context, context.picture_place(world, tier, slug))
        if published is not None:
            return published, _record_of(context, world, tier, slug, published)
    return (None, None) if record is None else (shown_of(context, record, files), record)


def _record_of(context: Context, world: World, tier: Tier, slug: str, shown: ShownFile) -> Record | None:
    """The record of the picture that the game was given last, where that is what is there."""
    made_of = _published(context, world).get(context.picture_key(world, tier, slug))
    record = context.store.read_known("picture", made_of) if made_of else None
    is_it = record is not None and record.objects["picture"].sha256 == f"sha256:{shown.sha256}"
    return record if is_it else None


def shown_of(context: Context, record: Record, files: PictureFiles) -> ShownFile | None:
    """The picture of a record, from the store; None where that is gone and its size is not told."""
    stored = record.objects.get("picture")
    if stored is None:
        return None
    if "size_px" not in record.inputs:  # a person keeps it: only the file tells
        return files.enter_file(context, context.store.path_of(stored))
    width, height = record.inputs["size_px"]
    return ShownFile(files.enter(stored.sha256, context.store.path_of(stored)), width, height)
