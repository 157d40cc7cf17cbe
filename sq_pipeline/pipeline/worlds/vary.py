"""What takes are varied over, as a person says it (`scale=0.6,0.8`): reading that, and what each value changes.

A new key is a function that reads a value, and a line in `KEYS`. Not here: rendering (`takes`), drawing (`grids`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sq_pipeline.base_models.base_models import resolve_base_model
from sq_pipeline.common.errors import Fault, SqPipelineError
from sq_pipeline.common.fingerprints import short
from sq_pipeline.common.hints import command, option
from sq_pipeline.common.strict_yaml import near_miss
from sq_pipeline.content.records import Adapter, LoraEntry
from sq_pipeline.content.stacks import stack_for
from sq_pipeline.content.style_file import why_no_scale
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.versions import LEFT_OUT, WORDS, find_version, known_versions
from sq_pipeline.pipeline.worlds.world_state import AppliedEntry, WorldState

OPTION = "--vary"
_MOST_AXES = 2
_MOST_KNOWN = 8


@dataclass(frozen=True)
class Slot:
    """A place in a stack: the entry that stands there, and the adapter behind it."""

    entry: LoraEntry
    record: Record


@dataclass(frozen=True)
class Scene:
    """What takes are rendered with. `slots`: the stack by its places; None for one that is left out."""

    context: Context
    state: WorldState
    slots: tuple[Slot | None, ...]

    def with_slot(self, place: int, slot: Slot | None) -> "Scene":
        """The same, with something else in one place."""
        return replace(self, slots=(*self.slots[:place], slot, *self.slots[place + 1 :]))

    def as_state(self) -> WorldState:
        """The world as it would stand if it were so."""
        slots = [slot for slot in self.slots if slot is not None]
        return replace(
            self.state,
            world=replace(self.state.world, entries=tuple(slot.entry for slot in slots)),
            entries=tuple(AppliedEntry(slot.entry.name, slot.entry.lora_scale, slot.record) for slot in slots),
        )


def scene_of(context: Context, state: WorldState) -> Scene:
    """The scene as the world has it."""
    stack = stack_for(state.world, state.tier)
    slots = tuple(Slot(entry, applied.record) for entry, applied in zip(stack, state.entries, strict=True))
    return Scene(context, state, slots)


@dataclass(frozen=True)
class Value:
    """One value of an axis: `text` names it in files and tables, `label` on the sheet; `change` makes it so."""

    text: str
    label: str
    change: Callable[[Scene], Scene]


@dataclass(frozen=True)
class Axis:
    """What is varied: `name` as it was said, `label` for the sheet, `way` to use a value that one likes."""

    name: str
    label: str
    way: str
    values: tuple[Value, ...]


class _WrongValueError(Exception):
    """A value that cannot be: the problem, and the hint."""

    def __init__(self, problem: str, hint: str, file: str = "") -> None:
        super().__init__(problem)
        self.fault = Fault(file, OPTION, problem, hint)


@dataclass(frozen=True)
class Key:
    """A key that can be varied. `read`: a value of it, of the adapter at a place (0 where it `is_of_all`).

    `word`: before the name of that adapter, where there are several. `way`: how one uses a value that one likes.
    """

    read: Callable[[Scene, int, str], Value]
    example: str
    way: Callable[[], str]
    is_of_all: bool = False
    word: str = ""


def _read_scale(scene: Scene, place: int, text: str) -> Value:
    del scene
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise _WrongValueError(f"the scale {text!r} is no number", "write e.g. 0.8")
    if problem := why_no_scale(scale):
        hint = "write e.g. 0.8" if scale else f"to see it without, write {option('takes', OPTION, 'adapter=none')}"
        raise _WrongValueError(f"the scale {text!r} {problem}", hint)

    def change(scene: Scene) -> Scene:
        slot = scene.slots[place]
        return scene.with_slot(place, slot and replace(slot, entry=replace(slot.entry, lora_scale=scale)))

    return Value(f"{scale:g}", f"{scale:g}", change)


def _read_adapter(scene: Scene, place: int, text: str) -> Value:
    context, world = scene.context, scene.state.world
    if text == LEFT_OUT:
        return Value(text, text, lambda scene: scene.with_slot(place, None))
    slot = scene.slots[place]
    assert slot is not None  # as the world has it, every place is taken
    own = context.catalog.adapters[f"{world.genre}/{slot.entry.name}"]
    others = [adapter for adapter in context.catalog.adapters.values() if adapter.genre == world.genre]
    adapter = next((one for one in others if text in (one.name, one.key)), None)
    if adapter is not None and any(
        other is not None and other.entry.name == adapter.name for at, other in enumerate(scene.slots) if at != place
    ):
        way = option("takes", OPTION, f"adapter:{adapter.name}=none")
        raise _WrongValueError(f"{adapter.name} is in the stack already", f"vary it with {way}")
    found = find_version(context, adapter or own, None if adapter else text)
    if isinstance(found, str):
        raise _WrongValueError(found, _known_of(context, own, others, text))
    new = adapter or own
    version = short(found.data_version)

    def change(scene: Scene) -> Scene:
        at = scene.slots[place]
        trigger = new.trigger if adapter else slot.entry.trigger
        entry = replace((at or slot).entry, name=new.name, file=new.file, trigger=trigger)
        return scene.with_slot(place, Slot(entry, found))

    name = new.name if adapter else version if text not in WORDS else f"{text} {version}"
    return Value(new.name if adapter else version, name, change)


def _known_of(context: Context, own: Adapter, others: Sequence[Adapter], text: str) -> str:
    names, versions = [other.name for other in others], known_versions(context, own)
    if text not in WORDS and (near := near_miss(text, [*names, *WORDS])):
        return f"did you mean {near}?"
    shown = [*names[:_MOST_KNOWN], *versions[:_MOST_KNOWN], *WORDS]
    return f"known are {', '.join(shown)}"


def _read_base_model(scene: Scene, place: int, text: str) -> Value:
    del place
    try:
        base_model = resolve_base_model(text)
        context = scene.context.with_base_model(base_model.name)
        context.weights_hash(base_model)
    except SqPipelineError as error:
        fault = error.faults[0]
        raise _WrongValueError(fault.problem, fault.hint, fault.file) from None
    return Value(base_model.name, base_model.name, lambda scene: replace(scene, context=context))


KEYS: Mapping[str, Key] = {
    "adapter": Key(
        _read_adapter,
        "adapter=none,previous",
        lambda: (
            f"an earlier version: {command('adapter rollback', 'NAME', '--by', 'WHO')}; another adapter: its entry in "
            "`loras` of the style"
        ),
        word="in place of",
    ),
    "base_model": Key(
        _read_base_model,
        "base_model=tiny-flux,tiny-flux-8bit",
        lambda: "write it as `preferred_model` in the style",
        is_of_all=True,
    ),
    "scale": Key(
        _read_scale,
        "scale=0.6,0.8",
        lambda: "write it as `scale` of its entry in `loras` of the style",
        word="scale of",
    ),
}


def read_axes(scene: Scene, said: Sequence[str], faults: list[Fault]) -> tuple[Axis, ...]:
    """What is varied, columns first. What is wrong is added to `faults`; what is sound comes back all the same."""
    if len(said) > _MOST_AXES:
        faults.append(Fault("", OPTION, f"{len(said)} things are varied at once", "name 2 at most"))
    axes = [_read_axis(scene, text, faults) for text in said]
    found = tuple(axis for axis in axes if axis is not None)
    for axis in {axis.label: axis for axis in found if [a.label for a in found].count(axis.label) > 1}.values():
        faults.append(Fault("", OPTION, f"{axis.label} is varied twice", "write all its values after one `=`"))
    return found


def _read_axis(scene: Scene, said: str, faults: list[Fault]) -> Axis | None:
    head, _, tail = said.partition("=")
    name, _, of = (part.strip() for part in head.partition(":"))
    key = KEYS.get(name)
    if key is None:
        near = near_miss(name, KEYS)
        hint = f"did you mean {near}?" if near else f"write it as {option('takes', OPTION, KEYS['scale'].example)}"
        faults.append(Fault("", OPTION, f"{name!r} cannot be varied; {', '.join(KEYS)} can", hint))
        return None
    texts = [text.strip() for text in tail.split(",") if text.strip()]
    if not texts:
        hint = f"write e.g. {option('takes', OPTION, key.example)}"
        faults.append(Fault("", OPTION, f"{said!r} names no value", hint))
    faults += [
        Fault("", OPTION, f"{text!r} is there twice", "write it once")
        for text in dict.fromkeys(texts)
        if texts.count(text) > 1
    ]
    place = 0 if key.is_of_all else _place_of(scene, name, of, faults)
    if place is None:
        return None
    if key.is_of_all and of:
        faults.append(Fault("", OPTION, f"{name} is of the whole picture, not of {of!r}", f"write {name}=…"))
    values: list[Value] = []
    for text in dict.fromkeys(texts):
        try:
            values.append(key.read(scene, place, text))
        except _WrongValueError as error:
            faults.append(error.fault)
    slot = scene.slots[place] if len(scene.slots) > 1 and not key.is_of_all else None
    label = name if slot is None else f"{key.word} {slot.entry.name}"
    return Axis(f"{name}:{of}" if of else name, label, key.way(), tuple(values))


def _place_of(scene: Scene, name: str, of: str, faults: list[Fault]) -> int | None:
    """The place in the stack that is meant; without a name the only one."""
    names = [slot.entry.name for slot in scene.slots if slot is not None]
    if of in names or (not of and len(names) == 1):
        return names.index(of) if of else 0
    if not names:
        problem = f"no adapter applies to {scene.state.key}, so its {name} cannot be varied"
        faults.append(Fault("", OPTION, problem, f"see {command('plan')}"))
        return None
    problem = f"{of!r} is not in the stack" if of else f"the stack has {len(names)} adapters, so say which"
    near = near_miss(of, names) if of else None
    ways = ", ".join(f"{name}:{one}=…" for one in ([near] if near else names))
    faults.append(Fault("", OPTION, problem, f"write {ways}" if len(names) == 1 or near else f"write one of {ways}"))
    return None
