"""What every step of a run works with: one reading of the content, the store, the settings, and the engines.

A context is made for one run and remembers what it has read, so a run sees one state of the files.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from sq_pipeline.base_models.base_models import (
    DEFAULT_BASE_MODEL,
    BaseModel,
    RenderSettings,
    SizePx,
    resolve_base_model,
)
from sq_pipeline.base_models.ports import TokenCounter
from sq_pipeline.common.errors import ContentError, Fault, SelectionError, StorageError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.stat_cache import StatCache
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.packs import read_catalog
from sq_pipeline.content.records import Adapter, Catalog, World
from sq_pipeline.pictures.ports import Renderer
from sq_pipeline.pipeline.explain import explain_change
from sq_pipeline.pipeline.inputs import Inputs
from sq_pipeline.pipeline.store import Record, Store, StoredObject
from sq_pipeline.settings import Settings, load_settings
from sq_pipeline.training.plan import TrainingPlan
from sq_pipeline.training.ports import Trainer, ValidationMeter
from sq_pipeline.training.recipe import TrainerName
from sq_pipeline.verification.ports import FidelityMeter, LossMeter

Status = Literal["fresh", "stale", "pending", "blocked", "waiting"]

REUSED = "is as it was once before; taken from the store"


class TrainsAhead(Protocol):
    """What begins trainings of this run while another one of it is under way."""

    def begin(self, trainings: Sequence[tuple[str, str]]) -> None:
        """Begin with these: an adapter's key, and the fingerprint of its training."""
        ...

    def close(self) -> None:
        """End what still runs; it goes on from its checkpoints another time."""
        ...


@dataclass(frozen=True)
class Engines:
    """The doors to the engines. Only the first five load anything, and only when what they give is used.

    `trainer` and `trainer_versions` take a trainer's name, and raise TrainingError or ContentError for one that is
    not there; the versions enter fingerprints and are cheap. `training_ahead`: what begins trainings in other
    processes; a trainer that is asked for one of them takes it up. None where all is trained in this process.
    `training_faults`: what a trainer would refuse of a plan, asked before it is made.
    """

    trainer: Callable[[TrainerName], Trainer]
    renderer: Callable[[], Renderer]
    fidelity_meter: Callable[[], FidelityMeter]
    validation_meter: Callable[[], ValidationMeter]
    loss_meter: Callable[[], LossMeter]
    trainer_versions: Callable[[TrainerName], Mapping[str, str]]
    renderer_versions: Mapping[str, str]
    mflux_version: str
    chip: str
    token_counter: Callable[[str], TokenCounter]
    weights_hash: Callable[[str], str]
    training_ahead: Callable[[], TrainsAhead] | None = None
    training_faults: Callable[[TrainerName, TrainingPlan], Sequence[Fault]] = lambda _name, _plan: ()


@dataclass(frozen=True)
class Step:
    """One asset now: what it would be made from, what that became (None: nothing yet), and why it is not fresh.

    `stale`: can be made now; with a record, without work. `pending`: after something upstream. `blocked`: a fault.
    `waiting`: for a person.
    `because`: the nearest step upstream that is not fresh either (see `pipeline.chain`).
    """

    asset: str
    kind: str
    status: Status
    inputs: Inputs = field(default_factory=dict)
    record: Record | None = None
    reasons: tuple[str, ...] = ()
    because: "Step | None" = field(default=None, repr=False)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its inputs."""
        return fingerprint(self.inputs)

    @property
    def is_to_do(self) -> bool:
        """True when a run would make it, now or after something upstream."""
        return self.status in ("stale", "pending")

    def as_record(
        self,
        data_version: str,
        objects: Mapping[str, StoredObject] | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> Record:
        """The record of what was made of its inputs."""
        return Record(
            kind=self.kind,
            fingerprint=self.fingerprint,
            inputs=self.inputs,
            data_version=data_version,
            objects=dict(objects or {}),
            info=dict(info or {}),
        )


def read_content(data: DataDir) -> Catalog:
    """The content as `sq.yaml` has it read; as by default where that is at fault, to have something to show."""
    try:
        settings = load_settings(data)
    except ContentError:
        settings = Settings()
    return _read_content(data, settings, StatCache(data))


def _read_content(data: DataDir, settings: Settings, files: StatCache) -> Catalog:
    return read_catalog(data, files, settings.picture_paths, settings.ignore_keys)


class Context:
    """The content, store, settings and engines of one data directory, read once."""

    def __init__(self, data: DataDir, engines: Engines, *, looks_ahead: bool = True) -> None:
        """`looks_ahead`: an adapter that is to be made again counts as made again (a plan; all of it is made at
        once). Otherwise worlds stand on what is promoted now, and a training may wait for the night.
        """
        self.data = data
        self.engines = engines
        self.looks_ahead = looks_ahead
        self.run_trains: tuple[str, ...] = ()  # keys of the adapters that this run is going to train, if it is known
        self.settings: Settings = load_settings(data)
        self.files = StatCache(data)
        self.catalog: Catalog = _read_content(data, self.settings, self.files)
        self.store = Store(data.store_root, self.files)
        with suppress(StorageError):  # what cannot be written now says so when it must be
            self.store.keep_records_as_files()
        self.told: list[str] = []  # what a person should hear of that was done for them
        self._memory: dict[Any, Any] = {}
        self._steps: dict[str, Step] = {}  # what was found of each asset, until it is made

    def look_again(self) -> "Context":
        """One over the same reading of the content, for who knows that nothing in it was touched since.

        Of all that was found, only the texts of prompts and their counters are taken over.
        """
        again = copy(self)
        again.store = Store(self.data.store_root, self.files)
        again.told, again._steps = [], {}
        again._memory = {key: value for key, value in self._memory.items() if key[0] in ("text", "tokens")}
        return again

    def remember(self, key: Any, make: Callable[[], Any]) -> Any:
        """`make()` once for each key."""
        if key not in self._memory:
            self._memory[key] = make()
        return self._memory[key]

    def forget(self, key: Any) -> None:
        """Read again what `remember` has: it was just changed."""
        self._memory.pop(key, None)

    def tell(self, line: str) -> None:
        """Let a person hear of something that was done for them, once."""
        if line not in self.told:
            self.told.append(line)

    def describe_state(self) -> list[str]:
        """All that a person should hear of, a line each."""
        return [*self.told, *self.store.describe_state()]

    def weights_hash(self, base_model: BaseModel) -> str:
        """The hash of a base model's weights; raises BaseModelError."""
        return self.remember(("weights", base_model.name), lambda: self.engines.weights_hash(base_model.name))

    def token_counter(self, base_model: BaseModel) -> TokenCounter:
        """The counter of a base model; raises BaseModelError."""
        return self.remember(("tokens", base_model.name), lambda: self.engines.token_counter(base_model.name))

    def trainer_versions(self, name: TrainerName) -> Mapping[str, str]:
        """What of a trainer enters fingerprints; raises TrainingError or ContentError where it is not there."""
        return self.remember(("trainer", name), lambda: self.engines.trainer_versions(name))

    def base_model_of_world(self, world: World) -> BaseModel:
        """What a world is rendered with: `sq.yaml`, else the pack's `preferred_model`, else tiny-flux."""
        return resolve_base_model(self.settings.base_model or world.style.preferred_model or DEFAULT_BASE_MODEL)

    def with_base_model(self, name: str) -> "Context":
        """The same content, store and engines, where every world is rendered with this base model."""
        other = copy(self)
        other.settings = self.settings.model_copy(update={"base_model": name})
        other._memory, other._steps = {}, {}  # what was found depends on it
        return other

    def render_settings(self, base_model: BaseModel, tier: Tier) -> RenderSettings:
        """What a tier is rendered with: `sq.yaml`, else the base model's own. Raises ContentError."""
        own, given = base_model.settings_for(tier), self.settings.tiers.get(tier)
        if given is None:
            return own
        if given.guidance is not None and own.guidance is None:
            field, problem = f"tiers.{tier}.guidance", f"{base_model.name} takes none"
            raise ContentError(Fault(self.data.relative(self.data.settings_file), field, problem, "remove it"))
        written = given.model_dump(exclude_none=True)
        if "size_px" in written:
            written["size"] = SizePx(*written.pop("size_px"))
        return replace(own, **written)

    def base_model_of_adapter(self, adapter: Adapter) -> BaseModel:
        """What an adapter is trained over where its recipe names nothing: that of the first world using it."""
        world = self.catalog.first_world_of(adapter)
        if world is not None:
            return self.base_model_of_world(world)
        return resolve_base_model(self.settings.base_model or DEFAULT_BASE_MODEL)

    def adapter(self, key: str) -> Adapter:
        """The adapter `genre/name`, or the only one with that name; raises SelectionError."""
        adapters = self.catalog.adapters
        found = [adapter for adapter in adapters.values() if key in (adapter.key, adapter.name)]
        if len(found) == 1:
            return found[0]
        problem = f"there is no adapter {key!r}" if not found else f"{key!r} is the name of several adapters"
        raise SelectionError(Fault("", "NAME", problem, f"known are {', '.join(sorted(adapters)) or 'none'}"))

    def picture_place(self, world: World, tier: Tier, slug: str) -> Path:
        """Where the game looks for a picture."""
        return self.settings.picture_paths.path(self.data, world.genre, world.name, tier, slug)

    def picture_key(self, world: World, tier: Tier, slug: str) -> str:
        """Under what name the store remembers which picture the game has."""
        return self.settings.picture_paths.key(world.name, tier, slug)

    def step(self, asset: str, kind: str, inputs: Inputs) -> Step:
        """An asset whose inputs are known: fresh when it was last made from these, else stale with what changed.

        Stale with a record: an earlier edit was undone; the store has it, and it is only taken up again. What was found
        once is remembered until the asset is made, so that one look at a world serves a whole run.
        """
        known = self._steps.get(asset)
        if known is None or known.inputs != inputs:
            known = self._steps[asset] = self._find_step(asset, kind, inputs)
        return known

    def _find_step(self, asset: str, kind: str, inputs: Inputs) -> Step:
        wanted = fingerprint(inputs)
        record = self.store.read_record(kind, wanted)
        if record is not None:
            if self.store.read_current_fingerprint(asset) == wanted:
                return Step(asset, kind, "fresh", inputs, record)
            return Step(asset, kind, "stale", inputs, record, (REUSED,))
        current = self.store.read_current(asset)
        if current is None:
            reasons = ["never made"]
        elif current[0] == wanted:
            reasons = [self.store.describe_missing(kind, wanted)]
        else:
            reasons = explain_change(current[1], inputs) or ["its inputs changed"]
        return Step(asset, kind, "stale", inputs, None, tuple(reasons))

    def adapter_file(self, stored: StoredObject) -> Path:
        """A stored adapter's file, for what opens it by itself: the one way by which paths leave the store."""
        return self.store.lend(stored)

    def recover(self, step: Step, copies: Callable[[], Iterable[Path]], can_lack: Sequence[str] = ()) -> Record | None:
        """The record of a step whose objects the store has lost, put back from sound copies; None without all of them.

        `copies`: files that may hold one of its objects. `can_lack`: objects that nothing is made from.
        """
        known = self.store.read_known(step.kind, step.fingerprint)
        if step.record is not None or known is None or self.store.read_record(step.kind, step.fingerprint) is not None:
            return None
        lost = {name: stored for name, stored in known.objects.items() if self.store.why_missing(stored)}
        problems = {name: self.store.describe_missing_object(stored) for name, stored in lost.items()}
        for name, stored in list(lost.items()):
            source = next((path for path in copies() if _is_copy(self, path, stored)), None)
            if source is not None:
                self.store.put_file(source, source.suffix)
                self.store.forget_damage(stored)
                self.tell(f"{problems[name]}; put back from {self.data.relative(source)}")
                del lost[name]
        if not lost.keys() <= set(can_lack):
            return None
        if lost:
            self.tell(f"{step.asset}: {'; '.join(map(str, map(problems.get, lost)))}; nothing is made again for it")
            known = known.model_copy(
                update={"objects": {name: stored for name, stored in known.objects.items() if name not in lost}}
            )
            self.store.write_record(known)
        return known

    def keep(self, step: Step, record: Record) -> Record:
        """Enter a made asset in the store."""
        with self.store.together():
            self.store.write_record(record)
            return self.reuse(step, record)

    def reuse(self, step: Step, record: Record) -> Record:
        """Remember that an asset is what the store has of it."""
        self.store.write_current(step.asset, record)
        self._steps.pop(step.asset, None)
        return record


def _is_copy(context: Context, path: Path, stored: StoredObject) -> bool:
    try:
        is_as_large = not path.is_symlink() and path.is_file() and path.stat().st_size == stored.byte_count
        return is_as_large and context.files.hash_of(path) == stored.sha256
    except OSError:
        return False
