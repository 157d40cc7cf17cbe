"""The survey: how every picture stands, kept in memory and looked at anew when a file that matters was touched.

A thread of its own looks, world by world, those first for which something was made; pages read what it last found.
Not here: what is found of a world (`groups`) and of a picture (`details`).
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sq_pipeline.common.endings import explain_end
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.fingerprints import fingerprint, short
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import TIERS, Tier
from sq_pipeline.content.records import World
from sq_pipeline.gallery.details import details_of
from sq_pipeline.gallery.groups import Group, empty_group, look_at_group
from sq_pipeline.gallery.picture_files import PictureFiles
from sq_pipeline.gallery.stamps import ContentStamp, content_stamp, store_stamp
from sq_pipeline.gallery.states import STATES
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.rendering_now import rendering_now
from sq_pipeline.pipeline.worlds.world_state import world_folder
from sq_pipeline.pipeline.worlds.world_status import world_state_of

_LOOK_S = 0.4
_SHARE = 20  # looking whether files were touched takes at most one part in so many of the time
_ASLEEP_S = 30  # after so long without a page that asks, nobody looks
_AGAIN_S = 0.5  # how often a look that takes long asks whether it is out of date
_STORE_GONE = (
    "The store is gone, or nothing was made yet. What the game has is shown; a run makes again what is missing"
)

Stamp = tuple[ContentStamp, int]  # of the content, of the store


@dataclass(frozen=True)
class _Place:
    """What a group is of. `written`: where its world's files are; `pictures`: where the game has its pictures."""

    world: World
    tier: Tier
    written: str
    pictures: frozenset[str]

    def depends_on(self, files: Collection[str], assets: Iterable[str]) -> bool:
        """True where something of these may be its own: it is looked at first."""
        named = f"{world_folder(self.world)}/", f"{self.world.genre_part}/loras/"
        return (
            not self.pictures.isdisjoint(files)
            or any(file.startswith(self.written) for file in files)
            or any(asset.startswith(named) for asset in assets)
        )


class Survey:
    """Of one data directory. `make_context` is called for each look, and raises where the settings cannot be read."""

    def __init__(self, data: DataDir, make_context: Callable[[], Context]) -> None:
        self.data = data
        self.files = PictureFiles()
        self.make_context = make_context
        self._context: Context | None = None
        self._using = threading.Lock()  # a context is for one thread at a time
        self._groups: dict[str, Group] = {}
        self._places: dict[str, _Place] = {}
        self._pictures: dict[str, tuple[str, str]] = {}  # by id, the group and the slug
        self._to_look: set[str] = set()
        self._current: dict[str, str] = {}
        self._stamp: Stamp | None = None
        self._picture_folders: frozenset[str] = frozenset()
        self._notices: tuple[str, ...] = ()
        self._rendering: str | None = None
        self.looks = 0  # how often anything was looked at: a panel shows more than the overview tells
        self._asked_at = time.monotonic()
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="survey", daemon=True)

    # --- the thread

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; does not wait for a look that is under way."""
        self._has_ended.set()

    def _go_on(self) -> None:
        wait_s = 0.0
        while not self._has_ended.wait(wait_s):
            wait_s = _LOOK_S
            if time.monotonic() - self._asked_at > _ASLEEP_S and not self._to_look and self._stamp is not None:
                continue
            began = time.monotonic()
            stamp = self._stamp_now()
            wait_s = max(_LOOK_S, _SHARE * (time.monotonic() - began))
            if self._is_other(stamp) or self._to_look:
                self.look(stamp)

    def _stamp_now(self) -> Stamp:
        return content_stamp(self.data, self._picture_folders), store_stamp(self.data)

    def _is_other(self, stamp: Stamp) -> bool:
        known = self._stamp
        return known is None or stamp[0].files != known[0].files or stamp[1] != known[1]

    def look(self, stamp: Stamp | None = None) -> None:
        """Look at everything that may have changed; returns early where files were touched meanwhile.

        Nothing that is wrong with the data directory is raised: it becomes a notice.
        """
        stamp = stamp or self._stamp_now()
        self._rendering = rendering_now(self.data)
        try:
            self._look(stamp)
        except SqPipelineError as error:
            self._to_look = set()
            self._notices = (*self._state_of_store(), *map(str, error.faults))
        except Exception as error:
            self._to_look = set()
            fault = explain_end(error)
            if fault is None:  # a bug of ours: its traceback is for the terminal, and the page lives on
                sys.stderr.write(traceback.format_exc())
            self._notices = (*self._state_of_store(), str(fault or f"{type(error).__name__}: {error}"))
        self._stamp = self._told_apart(stamp)
        self.looks += 1

    def _told_apart(self, stamp: Stamp) -> Stamp:
        """The stamp with what are pictures by now, where nothing was touched since it was taken."""
        again = content_stamp(self.data, self._picture_folders)
        return (again, stamp[1]) if again.files == stamp[0].files else stamp

    def _look(self, stamp: Stamp) -> None:
        before = self._stamp[0] if self._stamp is not None and self._places else None
        is_content_same = before is not None and before.words == stamp[0].words
        with self._using:
            known = self._context if is_content_same else None
            context = self._context = known.look_again() if known else self.make_context()
            places = {
                group.id: (_place(context, world, tier), group)
                for world in context.catalog.worlds.values()
                for tier in _tiers_of(world)
                for group in (empty_group(context, world, tier),)
            }
            current = context.store.read_all_current()
        touched = stamp[0].touched(before) if before is not None else set[str]()
        self._picture_folders = frozenset(
            path.rpartition(os.sep)[0] for place, _ in places.values() for path in place.pictures
        )
        changed = {
            asset for asset in current.keys() | self._current.keys() if current.get(asset) != self._current.get(asset)
        }
        self._current = current
        self._groups = {id: self._groups.get(id, group) for id, (_, group) in places.items()}
        self._places = {id: place for id, (place, _) in places.items()}
        self._notices = (*self._state_of_store(), *_faults_of_no_world(context))
        first = [id for id, place in self._places.items() if place.depends_on(touched, changed)]
        order = dict.fromkeys((*first, *(id for id in places if id in self._to_look), *places))
        self._to_look = set(places)
        self._look_at(context, order, stamp)
        with self._using:
            context.files.save()
            self._notices = (*self._notices, *context.store.describe_state())

    def _look_at(self, context: Context, order: dict[str, None], stamp: Stamp) -> None:
        asked_at = time.monotonic()
        for id in order:
            if self._has_ended.is_set():
                return
            place = self._places[id]
            with self._using:
                before, settles = self._groups.get(id), self._rendering is None  # a run may be writing all the time
                group = look_at_group(context, place.world, place.tier, self.files, before, settles=settles)
            self._groups[id] = group
            self._pictures |= {tile.id: (id, tile.slug) for tile in group.tiles or ()}
            self._to_look.discard(id)
            if time.monotonic() - asked_at > _AGAIN_S:
                asked_at = time.monotonic()
                if (
                    content_stamp(self.data, self._picture_folders).files != stamp[0].files
                    or context.store.read_all_current() != self._current
                ):
                    return

    def _state_of_store(self) -> tuple[str, ...]:
        return () if (self.data.store_root / "objects").is_dir() else (_STORE_GONE,)

    def look_at_one(self, picture_id: str) -> None:
        """Look at the group of a picture that was just changed, whatever else changed; raises SqPipelineError."""
        context = self.make_context()
        group_id, _ = self._pictures.get(picture_id, ("", ""))
        place = self._places.get(group_id)
        world = None if place is None else context.catalog.worlds.get(place.world.key)
        if place is None or world is None:
            return
        with self._using:
            self._context, self._places[group_id] = context, replace(place, world=world)
            self._groups[group_id] = look_at_group(context, world, place.tier, self.files)
            self.looks += 1

    def look_at_all(self) -> None:
        """Look until everything was looked at; raises SqPipelineError where the settings cannot be read."""
        self.make_context()
        self.look()
        while self._to_look:
            self.look()

    # --- what pages read

    def overview(self) -> dict[str, Any]:
        """All groups without their pictures, what a person should hear of, and a revision of it all."""
        self._asked_at = time.monotonic()
        groups = [group.as_json() for group in self._shown_groups()]
        found = {
            "name": self.data.root.name,
            "groups": groups,
            "states": dict(STATES),
            "notices": list(dict.fromkeys(self._notices)),
            "rendering": self._rendering,
            "is_looking": bool(self._to_look) or self._stamp is None,
        }
        return {**found, "revision": short(fingerprint(found))}

    def _shown_groups(self) -> Iterator[Group]:
        for group in list(self._groups.values()):
            yield group.with_rendering(self._rendering)

    def named(self, picture_id: str) -> tuple[str, Tier] | None:
        """A picture as commands name it, and its tier; None for one that is not expected."""
        group_id, slug = self._pictures.get(picture_id, ("", ""))
        place = self._places.get(group_id)
        return None if place is None else (f"{place.world.key}/{slug}", place.tier)

    def tiles(self, group_id: str) -> dict[str, Any] | None:
        """The pictures of a group; None for one that there is not."""
        group = self._groups.get(group_id)
        if group is None:
            return None
        group = group.with_rendering(self._rendering)
        return {"revision": group.revision, "tiles": [tile.as_json() for tile in group.tiles or ()]}

    def details(self, picture_id: str) -> dict[str, Any] | None:
        """All about a picture; None for one that is not expected."""
        group_id, slug = self._pictures.get(picture_id, ("", ""))
        place = self._places.get(group_id)
        if place is None or self._context is None:
            return None
        with self._using:
            state = world_state_of(self._context, place.world, place.tier)
            return details_of(self._context, state, slug, self.files)

    def all_details(self, group_id: str) -> dict[str, Any]:
        """`details` of every picture of a group, by its id."""
        place, context = self._places[group_id], self._context
        assert context is not None  # there are places, so somebody has looked
        with self._using:
            state = world_state_of(context, place.world, place.tier)
            slugs = [(tile.id, tile.slug) for tile in self._groups[group_id].tiles or ()]
            found = {id: details_of(context, state, slug, self.files) for id, slug in slugs}
        return {id: details for id, details in found.items() if details is not None}


def _place(context: Context, world: World, tier: Tier) -> _Place:
    written = f"{context.data.world_root(world.genre, world.name)}{os.sep}"
    expected = (*world.subjects.get(tier, ()), *world.drafts.get(tier, ()))
    pictures = frozenset(str(context.picture_place(world, tier, subject.slug)) for subject in expected)
    return _Place(world, tier, written, pictures)


def _tiers_of(world: World) -> list[Tier]:
    """The tiers that it shows something of, or should."""
    shown = {tier: world.subjects.get(tier) or world.drafts.get(tier) for tier in TIERS}
    return [tier for tier in TIERS if shown[tier] or (world.faults and tier in world.tiers)]


def _faults_of_no_world(context: Context) -> list[str]:
    """Faults of packs that have no world to be shown at."""
    known = context.catalog.worlds
    return [str(fault) for key, faults in context.catalog.faults.items() if key not in known for fault in faults]
