"""The asset `prompts`: the text and seed that a picture is asked with. How one is put together: `content.prompts`."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from sq_pipeline.base_models.ports import TokenCounter
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.tiers import TIER_NAMES, Tier
from sq_pipeline.content.prompts import Prompt, write_prompt
from sq_pipeline.content.records import Subject, World
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import prompt_inputs
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.world_asset import Made, WorldAsset
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_asset


def _enter_status(context: Context, state: WorldState) -> WorldState:
    """Write each text, or say why there is none. Raises BaseModelError where nothing counts its tokens."""
    world, base_model = state.world, context.base_model_of_world(state.world)
    if wrong := world.faulty_tiers.get(state.tier):
        return replace(state, faults={subject.slug: tuple(map(str, wrong)) for subject in state.subjects})
    counter = context.token_counter(base_model)
    prompts: dict[str, Step] = {}
    texts: dict[str, Prompt] = {}
    faults: dict[str, tuple[str, ...]] = {}
    for subject in state.subjects:
        key = ("text", world.key, state.tier, subject.slug)
        try:
            text: Prompt = context.remember(
                key,
                lambda of=subject: text_of(context, world, state.tier, of, counter),
            )
        except SqPipelineError as error:
            faults[subject.slug] = tuple(map(str, error.faults))
            continue
        texts[subject.slug] = text
        asset = world_asset(world, state.names.prompts, subject.slug)
        prompts[subject.slug] = context.step(asset, "prompt", prompt_inputs(text, base_model))
    return replace(state, prompts=prompts, texts=texts, faults=faults)


def text_of(context: Context, world: World, tier: Tier, subject: Subject, counter: TokenCounter) -> Prompt:
    """What the picture of a subject is asked with. Raises ContentError."""
    return write_prompt(world, subject, tier, counter, insists_on_style=context.settings.dropped_style == "error")


def _make(context: Context, state: WorldState, slugs: Collection[str]) -> Iterator[Made]:
    """Write the prompts of these subjects; those that cannot be written are left out (their pictures say why)."""
    with context.store.together():
        made = [
            Made(_make_prompt(context, state.prompts[subject.slug], state.texts[subject.slug]), False, subject)
            for subject in state.subjects
            if subject.slug in slugs and subject.slug in state.prompts
        ]
    yield from made


def _make_prompt(context: Context, step: Step, text: Prompt) -> Record:
    if step.record is not None:
        return context.reuse(step, step.record)
    counts = {name: count for name, count in text.counts.as_json().items() if name.endswith("_tokens")}
    info = {**counts, "dropped": list(text.dropped)}
    return context.keep(step, step.as_record(fingerprint(step.inputs), info=info))


ASSET = WorldAsset(
    part="prompts",
    upstream=(),
    sources=("yaml", "visual_style", "base_model"),
    enter_status=_enter_status,
    steps=lambda state: state.prompts,
    make=_make,
    description=lambda _, tier: (
        f"The words and the seed that each {TIER_NAMES[tier].noun}'s picture is asked with, and what was left out."
    ),
    tags=("text",),
    is_by_subject=True,
)
