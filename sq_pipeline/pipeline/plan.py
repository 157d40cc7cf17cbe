"""The plan: everything that is not fresh, and why. Reads files and records; loads no model."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sq_pipeline.common.errors import Fault, SqPipelineError
from sq_pipeline.common.tiers import TIER_NAMES, TIERS, Tier, select_tiers
from sq_pipeline.content.records import Subject, World
from sq_pipeline.content.stacks import stack_for
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.checkpoints.kept_checkpoints import outdated_choice
from sq_pipeline.pipeline.adapters.chosen_checkpoint import pictures_at_most as choice_pictures
from sq_pipeline.pipeline.adapters.facts import missing_file, remarks_of
from sq_pipeline.pipeline.adapters.training_dataset import dataset_warnings
from sq_pipeline.pipeline.adapters.verification import pictures_at_most as verification_pictures
from sq_pipeline.pipeline.adapters.verification import sound_scales
from sq_pipeline.pipeline.chain import chain_of, is_waiting
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.prompt_notes import warnings_of_prompts
from sq_pipeline.pipeline.settled import Settled, find_settled, locked_of, settle
from sq_pipeline.pipeline.worlds.in_use import note_of
from sq_pipeline.pipeline.worlds.stack import warnings_of_stack
from sq_pipeline.pipeline.worlds.stack_look import pictures_at_most as stack_pictures
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_asset
from sq_pipeline.pipeline.worlds.world_status import world_state_of


@dataclass(frozen=True)
class JudgedPictures:
    """How many are rendered with adapters to choose checkpoints, to verify, and to look at stacks; at most."""

    choices: int = 0
    verifications: int = 0
    stacks: int = 0


@dataclass(frozen=True)
class Plan:
    """The steps of the selected worlds and of the adapters they need; faults of worlds that cannot be read.

    `worlds` are those tiers of worlds with something to do or to tell; `settled` are the others, all fresh.
    `pictures`: how many pictures judgements that are to be made render at most. `drafts`: the pictures that are
    expected and not made.
    """

    adapters: dict[str, dict[str, Step]]
    worlds: tuple[WorldState, ...]
    settled: tuple[Settled, ...]
    faults: tuple[Fault, ...]
    warnings: tuple[Fault | str, ...]
    pictures: JudgedPictures = JudgedPictures()
    drafts: tuple[str, ...] = ()

    def steps(self) -> Iterable[Step]:
        """Every step that was looked at, adapters first; those of settled worlds are not."""
        for states in self.adapters.values():
            yield from states.values()
        for world in self.worlds:
            yield from world.steps()

    @property
    def locked(self) -> list[dict[str, Any]]:
        """The pictures that people keep: `asset`, who said so, and `reasons` why it would be made again otherwise."""
        settled = [told for found in self.settled for told in found.locked]
        return [*settled, *(told for state in self.worlds for told in locked_of(state))]

    @property
    def fresh(self) -> int:
        """How many assets are as they should be."""
        return sum(step.status == "fresh" for step in self.steps()) + sum(found.fresh for found in self.settled)

    def as_json(self) -> dict[str, Any]:
        """`stale` (what a run would make), `blocked` (what it cannot), `fresh` (a count), `faults`, `warnings`.

        Of each: `asset`, `status`, `reasons`, and `chain`: what led there, from the nearest asset to the first one.
        """
        steps = list(self.steps())
        return {
            "stale": [_as_json(step) for step in steps if step.is_to_do],
            "blocked": [_as_json(step) for step in steps if step.status in ("blocked", "waiting")],
            "fresh": self.fresh,
            "choice_pictures": self.pictures.choices,
            "verification_pictures": self.pictures.verifications,
            "stack_pictures": self.pictures.stacks,
            "drafts": list(self.drafts),
            "locked": self.locked,
            "faults": [str(fault) for fault in self.faults],
            "warnings": [str(warning) for warning in self.warnings],
        }


def _as_json(step: Step) -> dict[str, Any]:
    reasons = list(step.reasons)
    status = "waiting" if is_waiting(step) else step.status
    return {"asset": step.asset, "status": status, "reasons": reasons, "chain": list(chain_of(step))}


def adapters_of(worlds: Iterable[World], tier: str | None) -> list[str]:
    """The keys of the adapters that these worlds use, for one tier or any, each once."""
    keys = [
        f"{world.genre}/{entry.name}"
        for world in worlds
        for entry in (world.entries if tier is None else stack_for(world, tier))
    ]
    return list(dict.fromkeys(keys))


def make_plan(context: Context, world: str | None, tier: str | None = None) -> Plan:
    """The plan for one world or all, and for one tier or all.

    Raises SelectionError or ContentError for a world or a tier that is named.
    """
    worlds, tiers = context.catalog.select(world), select_tiers(tier)
    adapters = {key: adapter_steps_of(context, context.catalog.adapters[key]) for key in adapters_of(worlds, tier)}
    at_fault = context.catalog.faults
    faults = [fault for key, group in at_fault.items() if world in (None, key) for fault in group]
    faults += (fault for key in adapters for fault in missing_file(context, context.catalog.adapters[key]))
    states: list[WorldState] = []
    settled: list[Settled] = []
    for item in worlds:
        for shown in item.tiers:
            if shown not in tiers:
                continue
            found = find_settled(context, item, shown)
            if found is not None:
                settled.append(found)
                continue
            state = world_state_of(context, item, shown)
            settle(context, state)
            states.append(state)
    context.files.save()
    warnings = (
        *context.catalog.warnings,
        *(warning for found in settled for warning in found.warnings),
        *(warning for state in states for warning in (*warnings_of_stack(state), *warnings_of_prompts(context, state))),
        *_outdated_choices(context, adapters),
        *(note for key in adapters for note in dataset_warnings(context, context.catalog.adapters[key], adapters[key])),
        *_remarks(context, adapters),
        *_in_use(context, adapters),
        *_unknown_in_gate(context),
        *_unsound_scales(worlds, adapters),
        *_unread_negatives(context, worlds, tiers),
    )
    pictures = _pictures(context, adapters, states)
    drafts = tuple(
        world_asset(item, TIER_NAMES[shown].images, subject.slug)
        for item in worlds
        for shown, found in item.drafts.items()
        if shown in tiers
        for subject in found
    )
    return Plan(adapters, tuple(states), tuple(settled), tuple(dict.fromkeys(faults)), warnings, pictures, drafts)


def _pictures(
    context: Context, adapters: Mapping[str, Mapping[str, Step]], states: Iterable[WorldState]
) -> JudgedPictures:
    choices = verifications = 0
    for key, steps in adapters.items():
        adapter = context.catalog.adapters[key]
        chosen = choice_pictures(context, adapter)
        if chosen and steps["chosen_checkpoint"].is_to_do:
            choices += chosen
        if steps["verification"].is_to_do:
            verifications += verification_pictures(context, adapter, has_choice=chosen > 0)
    return JudgedPictures(choices, verifications, stack_pictures(context, states))


def _outdated_choices(context: Context, adapters: Mapping[str, Mapping[str, Step]]) -> Iterator[Fault]:
    for key, steps in adapters.items():
        training = steps["mlx_adapter"].record if "mlx_adapter" in steps else None
        warning = outdated_choice(context, context.catalog.adapters[key], training) if training else None
        if warning is not None:
            yield warning


def _remarks(context: Context, adapters: Iterable[str]) -> Iterator[Fault]:
    """What is to be told of the strength of adapters from elsewhere."""
    for key in adapters:
        adapter = context.catalog.adapters[key]
        if remarks := remarks_of(context, adapter):
            yield Fault(adapter.place, "", "; ".join(remarks), "")
        if adapter.dataset is not None and adapter.reference is not None:
            problem = f"is not looked at: {adapter.name} is held against its own dataset"
            yield Fault(key, "reference", problem, "leave it out")


def _unknown_in_gate(context: Context) -> Iterator[Fault]:
    """Limits of the gate for a name that is neither a tier nor an adapter: nobody would be held to them."""
    known = dict.fromkeys((*TIERS, *(a.tier for a in context.catalog.adapters.values()), *context.catalog.adapters))
    for name in context.settings.thresholds.gate_for:
        if name not in known:
            file = context.data.relative(context.data.settings_file)
            problem = "is the name of no tier and of no adapter, so nobody is held to it"
            yield Fault(file, f"thresholds.gate_for.{name}", problem, f"known are {', '.join(known)}")


def _unsound_scales(worlds: Iterable[World], adapters: Mapping[str, Mapping[str, Step]]) -> Iterator[Fault]:
    """Scales at which worlds use an adapter, beyond those at which its verification found it sound."""
    for world in worlds:
        for entry in world.entries:
            key = f"{world.genre}/{entry.name}"
            sound = sound_scales(adapters[key]["verification"].record) if key in adapters else None
            if sound is not None and not sound[0] <= entry.lora_scale <= sound[1]:
                problem = f"is {entry.lora_scale:g}, and {entry.name} was found sound from {sound[0]:g} to {sound[1]:g}"
                yield Fault(world.key, f"{entry.name}.scale", problem, "take one in between, or look at the pictures")


def _unread_negatives(context: Context, worlds: Iterable[World], tiers: Collection[Tier]) -> Iterator[Fault]:
    """Negative prompts of entries that the world's base model does not read, a line for each file."""
    for world in worlds:
        shown = (subject for tier, found in world.subjects.items() if tier in tiers for subject in found)
        said = [subject for subject in shown if subject.own.negative_prompt]
        try:
            base_model = context.base_model_of_world(world) if said else None
        except SqPipelineError:
            continue  # its pictures say so
        if base_model is None or base_model.reads_negative_prompt:
            continue
        first: dict[str, Subject] = {}
        for subject in said:
            first.setdefault(subject.file, subject)
        for file, count in Counter(subject.file for subject in said).items():
            more = "" if count == 1 else f", nor those of {count - 1} more entries"
            problem = f"is not read by {base_model.name}{more}"
            hint = "leave it out, or say what is wanted in the prompt"
            yield Fault(file, f"{first[file].where}.negative_prompt", problem, hint)


def _in_use(context: Context, adapters: Mapping[str, Mapping[str, Step]]) -> Iterator[Fault]:
    """What is to be told of the versions in use; where a step waits or is blocked, its reasons say so already."""
    for key, steps in adapters.items():
        adapter = context.catalog.adapters[key]
        note = note_of(context, adapter, steps)
        if note is not None and steps["promoted_adapter"].status in ("fresh", "stale"):
            yield Fault(adapter.place, "", note, "")
