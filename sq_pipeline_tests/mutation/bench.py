"""The product at work on a game, without Dagster: engines that cost nothing, and bringing a data directory up to date.

Here: what is made, and what was really made. Not here: what should have been (`oracle`).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from PIL import Image

from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.base_models import BASE_MODELS, BaseModel, SizePx, as_flux1
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.base_models.ports import EngineDescription, TokenCounts
from sq_pipeline.common.errors import BaseModelError, Fault, SelectionError, SqPipelineError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import TIERS
from sq_pipeline.pictures.ports import AppliedAdapter, RenderedImage, RenderRequest
from sq_pipeline.pictures.rendering import TracedRenderer
from sq_pipeline.pipeline import inputs as lineage
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.adapters.promote import promote, roll_back
from sq_pipeline.pipeline.choices import choose
from sq_pipeline.pipeline.context import Context, Engines, Step
from sq_pipeline.pipeline.plan import Plan, make_plan
from sq_pipeline.pipeline.promotions.sign_offs import sign_offs_of
from sq_pipeline.pipeline.worlds.make_world_asset import make_world_asset
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture
from sq_pipeline.pipeline.worlds.world_asset import Failed
from sq_pipeline.pipeline.worlds.world_state import WorldState
from sq_pipeline.training.ports import TrainRequest
from sq_pipeline_tests.fakes import FakeMeter, FakeTrainer, FakeValidationMeter
from sq_pipeline_tests.mutation.game import ROLLED_BACK, Act, Game, Machine

TOKENS = 30  # what a base model reads, in words
SAID = choose.Said("Ada")
METER_ERROR = 1e-6  # what the loader does to every update

_KINDS = {"mlx_adapter": "trained", "mflux_adapter": "remapped", "verification": "verified"}


def _numbers(*parts: object) -> np.random.Generator:
    digest = hashlib.sha256("\n".join(map(repr, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


@dataclass
class Painter:
    """A renderer: noise of everything it is asked, with a fainter noise of each adapter's tensors over it."""

    weights: Mapping[str, str]
    versions: Mapping[str, str]
    rendered: int = 0  # not counting what a judgement looks at
    model_loads: int = 0

    def describe(self) -> EngineDescription:
        return EngineDescription("painter", self.versions, "a chip")

    def render(self, request: RenderRequest) -> RenderedImage:
        self.rendered += request.must_be_whole
        asked = replace(request, adapters=(), tier="")  # a tier makes no difference by itself
        shape = (request.height_px, request.width_px, 3)
        pixels = _numbers(asked, self.weights[request.base_model], self.versions).uniform(40, 215, shape)
        for use in request.adapters:
            pattern = _pattern_of(use.path)
            if pattern is not None:
                pixels += use.lora_scale * np.random.default_rng(pattern).uniform(-25, 25, shape)
        applied = tuple(AppliedAdapter(use.path, use.lora_scale, 2, 2, 1, 1) for use in request.adapters)
        return RenderedImage(np.clip(np.round(pixels), 0, 255).astype(np.uint8), 0.0, applied)


def _pattern_of(path: Path) -> int | None:
    """A number for an adapter's tensors; None where they are all zero."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    if not any(content[end:]):
        return None
    names = sorted(json.loads(content[8:end]).keys() - {"__metadata__"})
    return int.from_bytes(hashlib.sha256(repr(names).encode() + content[end:]).digest()[:8], "little")


@dataclass
class Pupil(FakeTrainer):
    """A trainer whose adapter depends on what it is asked, except on `warmup_steps` and on its own version.

    So these two train again and come out identical. A learning rate of nothing learns nothing: all zeros.
    """

    weights: Mapping[str, str] = field(default_factory=dict[str, str])

    def layout_for(self, request: TrainRequest) -> list[TensorInfo]:
        return [
            TensorInfo(f"{module}.{matrix}", "F32", shape)
            for module, inputs, outputs in modules_of(as_flux1(BASE_MODELS[request.base_model], "this game"))
            for matrix, shape in (("lora_a", (inputs, 1)), ("lora_b", (1, outputs)))
        ]

    def _tensors(
        self, request: TrainRequest, layout: list[TensorInfo]
    ) -> Iterator[tuple[TensorInfo, npt.NDArray[Any]]]:
        pairs: list[tuple[str, str]] = []
        for example in request.examples:
            with Image.open(example.image_path) as image:
                pairs.append((hashlib.sha256(image.tobytes()).hexdigest(), example.caption))
        ignored = {"warmup_steps", "min_pairs", "kind", "trigger", "base_model", "checkpoint_interval"}
        recipe = request.recipe.model_dump(exclude=ignored)
        size = BASE_MODELS[request.base_model].training_size
        numbers = _numbers(pairs, recipe, request.base_model, self.weights[request.base_model], size)
        has_learned = request.recipe.learning_rate >= 1e-8
        for info in layout:
            matrix = numbers.normal(0, 0.1, info.shape) if has_learned else np.zeros(info.shape)
            yield info, matrix.astype(np.float32).view(np.uint32)


class Words:
    """A token a word."""

    def count_tokens(self, text: str) -> TokenCounts:
        return TokenCounts("T5", len(text.split()), TOKENS, len(text.split()), TOKENS)


def registry_of(machine: Machine) -> dict[str, BaseModel]:
    """The base models of the game, as small as FLUX.1 can be: a block of each kind, two numbers wide."""
    training = SizePx(machine.training_px, machine.training_px)
    return {
        name: replace(
            BASE_MODELS[name],
            double_blocks=1,
            single_blocks=1,
            hidden_size=2,
            num_inference_steps=machine.steps[name],
            guidance=machine.guidance[name],
            sizes={tier: SizePx(*machine.sizes_px[tier]) for tier in TIERS},
            training_size=training,
            reads_negative_prompt=name in machine.reads_negative,
        )
        for name in ("tiny-flux", "flux1-dev")
    }


@contextmanager
def at_machine(machine: Machine) -> Iterator[None]:
    """The product on this machine: its base models and its code's revisions."""
    with ExitStack() as stack:
        stack.enter_context(patch.dict(BASE_MODELS, registry_of(machine), clear=True))  # type: ignore[arg-type]
        for name in ("remap_revision", "verify_revision", "render_revision"):
            stack.enter_context(patch.object(lineage, name.upper(), getattr(machine, name)))
        yield


def engines_of(machine: Machine) -> tuple[Engines, Painter, Pupil]:
    painter, pupil = Painter(machine.weights, machine.renderer), Pupil(weights=machine.weights)

    def weights_hash(name: str) -> str:
        if name not in machine.weights:
            raise BaseModelError(Fault(f"models/{name}", "", f"{name} is not on this machine", "get it"))
        return machine.weights[name]

    engines = Engines(
        trainer=lambda _name: pupil,
        renderer=lambda: TracedRenderer(painter),
        fidelity_meter=lambda: FakeMeter(METER_ERROR),
        validation_meter=FakeValidationMeter,
        loss_meter=FakeValidationMeter,
        trainer_versions=lambda _name: machine.trainer,
        renderer_versions=machine.renderer,
        mflux_version=machine.mflux,
        chip=machine.chip,
        token_counter=lambda name: Words(),
        weights_hash=weights_hash,
    )
    return engines, painter, pupil


@dataclass
class Made:
    """What was made by work, not taken from the store: adapters by their keys, pictures by `picture_key`.

    Galleries, and stacks that were looked at, are by their world, or `genre/world/tier` where they show no places.
    """

    trained: set[str] = field(default_factory=set[str])
    remapped: set[str] = field(default_factory=set[str])
    verified: set[str] = field(default_factory=set[str])
    promoted: set[str] = field(default_factory=set[str])
    stacks: set[str] = field(default_factory=set[str])
    rendered: set[str] = field(default_factory=set[str])
    galleries: set[str] = field(default_factory=set[str])


@dataclass
class Planned:
    """The pictures that a plan names: to be rendered, to be put back from the store, to come after an adapter."""

    rendered: set[str] = field(default_factory=set[str])
    put_back: set[str] = field(default_factory=set[str])
    pending: set[str] = field(default_factory=set[str])


def picture_key(state: WorldState, slug: str) -> str:
    """`genre/world/slug` of a place, `genre/world/tier/slug` of anything else."""
    return f"{gallery_key(state)}/{slug}"


def gallery_key(state: WorldState) -> str:
    return state.world.key if state.tier == "landscape" else f"{state.world.key}/{state.tier}"


def perform_acts(data: DataDir, game: Game, files: dict[str, bytes]) -> None:
    """Let people decide what they are about to; the game and its files have their choices afterwards."""
    if not game.acts:
        return
    with at_machine(game.machine):
        engines, _, _ = engines_of(game.machine)
        for act in game.acts:
            _perform(data, engines, act)
    game.acts = []
    for genre in game.genres:
        path = data.picture_choices(genre)
        name = path.relative_to(data.root).as_posix()
        game.choices.pop(genre, None)
        files.pop(name, None)
        if path.exists():
            game.choices[genre] = files[name] = path.read_bytes()


def _perform(data: DataDir, engines: Engines, act: Act) -> None:
    context = Context(data, engines, looks_ahead=False)
    pictures = [
        NamedPicture(world, tier, subject)
        for world in context.catalog.worlds.values()
        for tier, subjects in world.subjects.items()
        for subject in subjects
        if subject.name == act.name and tier not in world.faulty_tiers
    ]
    for picture in pictures:
        with suppress(SqPipelineError):  # there is no picture yet, or nothing was decided
            match act.act:
                case "pick":
                    choose.pick(context, picture, act.number, SAID)
                case "lock":
                    choose.lock(context, picture, SAID)
                case "adopt":
                    file = data.root / "mine.png"
                    Image.fromarray(_numbers("adopted", act.number).integers(0, 255, (8, 8, 3), np.uint8)).save(file)
                    choose.adopt(context, picture, file, SAID, is_any_size=True)
                    file.unlink()
                case _:
                    choose.unlock(context, picture.key, picture.tier)


def read_plan(plan: Plan) -> Planned:
    planned = Planned()
    for state in plan.worlds:
        for slug, step in state.pictures.items():
            key = picture_key(state, slug)
            if step.status == "pending":
                planned.pending.add(key)
            elif step.status == "stale":
                is_made = step.record is None and slug not in state.kept
                (planned.rendered if is_made else planned.put_back).add(key)
    return planned


def bring_up(data: DataDir, game: Game) -> tuple[Made, Planned]:
    """What `defs.runs.bring_up_to_date` does, with the same steps in the same order, without Dagster's cost."""
    with at_machine(game.machine):
        engines, painter, pupil = engines_of(game.machine)
        context = Context(data, engines)
        plan = make_plan(context, None)
        if _roll_back(context, plan, game):
            plan = make_plan(context, None)
        planned, made = read_plan(plan), Made()
        for _ in range(2):
            if has_adapter_steps(plan):
                for key, states in plan.adapters.items():
                    run_adapter(context, key, states, made)
                plan = make_plan(context, None)
        has_promoted = game.says_yes and _say_yes(context, plan, made)
        context.looks_ahead = False
        if has_promoted or has_adapter_steps(plan):
            plan = make_plan(context, None)  # nothing else changed it
        assert len(pupil.requests) == len(made.trained)
        before = painter.rendered
        for state in plan.worlds:
            if any(step.is_to_do for step in state.steps()):
                run_world(context, state, made)
        assert painter.rendered - before == len(made.rendered)
        return made, planned


def has_adapter_steps(plan: Plan) -> bool:
    return any(step.is_to_do for states in plan.adapters.values() for step in states.values())


def run_adapter(context: Context, key: str, states: Mapping[str, Step], made: Made) -> None:
    """As Dagster: in order, and nothing after a step that failed or a verification that did not pass."""
    adapter = context.catalog.adapters[key]
    for name, step in states.items():
        if not step.is_to_do:
            continue
        try:
            record, is_made = make_adapter_asset(context, adapter, name)
        except SqPipelineError:
            return
        if is_made and name not in ("training_dataset", "chosen_checkpoint"):
            getattr(made, _KINDS.get(name, "promoted")).add(key)
        if name == "verification" and not record.info["has_passed"]:
            return


def _roll_back(context: Context, plan: Plan, game: Game) -> bool:
    """Put the version before back in use, as often as the game says; False where it is done, or there is none."""
    if ROLLED_BACK not in plan.adapters:
        return False
    adapter = context.catalog.adapters[ROLLED_BACK]
    if sum(one.act == "rollback" for one in sign_offs_of(context, adapter)) >= game.rollbacks:
        return False
    try:
        roll_back(context, adapter, None, "Bo")
    except SelectionError:
        return False
    return True


def _say_yes(context: Context, plan: Plan, made: Made) -> bool:
    """True where there was something to say it to."""
    waiting = [key for key, states in plan.adapters.items() if states["promoted_adapter"].status == "waiting"]
    for key in waiting:
        promote(context, context.catalog.adapters[key], "Ada")
    made.promoted |= set(waiting)
    return bool(waiting)


def run_world(context: Context, state: WorldState, made: Made) -> None:
    world = state.world
    wanted = {slug for slug, step in state.prompts.items() if step.is_to_do}
    if state.lacks_stack:
        list(make_world_asset(context, world, state.tier, "prompts", wanted))
        kept = {slug for slug in state.kept if state.pictures[slug].is_to_do}
        list(make_world_asset(context, world, state.tier, "images", kept))
        return
    if state.stack.is_to_do:
        (stack,) = make_world_asset(context, world, state.tier, "stack")
        assert not isinstance(stack, Failed)
        made.stacks |= {gallery_key(state)} if stack.is_made and "check" in stack.record.info else set()
    wanted |= {slug for slug, step in state.pictures.items() if step.is_to_do}
    list(make_world_asset(context, world, state.tier, "prompts", wanted))
    for outcome in make_world_asset(context, world, state.tier, "images", wanted):
        if isinstance(outcome, Failed):
            assert state.pictures[outcome.subject.slug].status == "blocked", outcome.reason
        elif outcome.is_made:
            assert outcome.subject is not None
            made.rendered.add(picture_key(state, outcome.subject.slug))
    if state.gallery is not None and state.gallery.is_to_do:
        (sheet,) = make_world_asset(context, world, state.tier, "gallery")
        assert not isinstance(sheet, Failed)
        made.galleries |= {gallery_key(state)} if sheet.is_made else set()
