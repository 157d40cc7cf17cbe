"""Which output depends on what: a plain table, written from the issue and DESIGN §2, without a line of the product.

For a game, every output has a key: all that it depends on, and nothing else. It must be made exactly when its key was
never made before. Here: these keys, and what follows from them. Not here: how the product decides.
"""

import copy
import json
from dataclasses import dataclass, field, replace
from typing import Any

from sq_pipeline_tests.mutation.bench import METER_ERROR, TOKENS, Made, Planned
from sq_pipeline_tests.mutation.game import ROLLED_BACK, Act, Chosen, Dataset, Game, Lora, Person, Place, Style, World

ALIASES = {"dev": "flux1-dev", "flux": "flux1-dev", "tiny": "tiny-flux"}
ALL_TIERS = ["landscape", "portrait", "creature", "scene"]
SUFFIXES = {"landscape": "poi_style", "portrait": "portrait_style"}
RECIPE_DEFAULTS = {
    "kind": "style", "trigger": None, "base_model": None, "rank": 8, "iterations": 600, "batch_size": 1,
    "grad_accumulation": 4, "learning_rate": 1e-4, "warmup_steps": 100, "guidance": 4.0, "seed": 0, "min_pairs": 150,
    "checkpoint_interval": 50,
}  # fmt: skip
NOT_TRAINED_ON = {"kind", "trigger", "base_model", "min_pairs", "checkpoint_interval"}
THRESHOLD_DEFAULTS: dict[str, Any] = {"ssim_changed_max": 0.999, "ssim_trigger_max": 0.97, "fidelity": {}}
FIDELITY_DEFAULT = {"value": 1e-3}


def key_of(**parts: Any) -> str:
    return json.dumps(_plain(parts), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """`4` and `4.0` are one number."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass
class WorldView:
    """A world with everything that it inherits. `shown` is by tier; `excluded` is what it says it does without."""

    genre: str
    name: str
    texts: dict[str, Any]
    entries: list[Lora]
    excluded: list[Lora]
    shown: dict[str, list[Place]]
    is_faulty: bool = False  # an entry of its adapters is: which stack it has nobody knows

    @property
    def key(self) -> str:
        return f"{self.genre}/{self.name}"

    def stack(self, tier: str) -> list[Lora]:
        return [entry for entry in self.entries if tier in entry.applies_to]

    def key_of(self, tier: str, slug: str) -> str:
        """What the bench calls a picture: `genre/world/slug` of a place, `genre/world/tier/slug` of anything else."""
        return f"{self.key}/{slug}" if tier == "landscape" else f"{self.key}/{tier}/{slug}"


def _chosen(game: Game, view: WorldView, tier: str, slug: str) -> Chosen:
    return game.chosen.get(f"{view.genre}/{view.name}/{tier}/{slug}", Chosen())


def slug_of(place: Place) -> str:
    return place.slug or place.name.lower().replace(" ", "_")


def styles_of(game: Game) -> dict[str, Style]:
    """Every style that can be read, by its genre or world."""
    styles = {name: genre.style for name, genre in game.genres.items()}
    for name, genre in game.genres.items():
        styles |= {f"{name}/{world}": genre.worlds[world].style or Style() for world in genre.worlds}
    return {name: copy.deepcopy(style) for name, style in styles.items() if not style.is_broken}


def worlds_of(game: Game, styles: dict[str, Style] | None = None) -> list[WorldView]:
    """The worlds whose styles can be read, by name; with `styles`, of those that cannot it takes these."""
    views: list[WorldView] = []
    known = {**(styles or {}), **styles_of(game)}
    for genre_name, genre in sorted(game.genres.items()):
        style, worlds = known.get(genre_name), dict(genre.worlds)
        if genre.chapters is not None or genre.people or not worlds:
            worlds.setdefault("default", World([]))
        for name, world in sorted(worlds.items()):
            own = known.get(f"{genre_name}/{name}") if world.style else Style()
            if style is None or own is None:
                continue
            chapters = [*world.chapters, *((genre.chapters or []) if name == "default" else [])]
            everything: dict[str, list[Place]] = {
                "landscape": [place for chapter in chapters for place in chapter.places],
                "portrait": [*world.people, *(genre.people if name == "default" else [])],
            }
            shown = {
                tier: [place for place in all_ if not place.is_faulty and not place.is_draft]
                for tier, all_ in everything.items()
            }
            inherited = _inherited(style)
            entries = [entry for entry in inherited if entry.name not in own.exclude] + own.add
            excluded = [entry for entry in inherited if entry.name in own.exclude]
            is_faulty = any(entry.is_faulty for entry in [*style.loras, *own.add])
            sound = [entry for entry in entries if not entry.is_faulty]
            views.append(WorldView(genre_name, name, _texts(style, own), sound, excluded, shown, is_faulty))
    return views


def _texts(style: Style, own: Style) -> dict[str, Any]:
    tags = {**style.texts.get("visual_tag_overrides", {}), **own.texts.get("visual_tag_overrides", {})}
    return {**style.texts, **own.texts, "visual_tag_overrides": tags}


def _inherited(style: Style) -> list[Lora]:
    legacy = style.legacy
    inherited = list(style.loras)
    if legacy:
        name = legacy["lora"].removesuffix(".safetensors").replace("/", "_")
        scale, trigger = legacy.get("lora_scale", 1.0), legacy.get("lora_trigger")
        inherited.append(Lora(name, legacy["lora"], scale, ALL_TIERS, trigger))
    return inherited


def is_allowed(game: Game, view: WorldView, tier: str) -> bool:
    """What no adapter applies to is not rendered, unless somebody said so, or the genre has no adapters at all."""
    if view.stack(tier) or game.settings.get("missing_adapter") == "none":
        return True
    genre = game.genres[view.genre]
    own = [entry for world in genre.worlds.values() if world.style for entry in world.style.add]
    return not [*_inherited(genre.style), *own] or any(tier in entry.applies_to for entry in view.excluded)


def base_model_of(game: Game, view: WorldView) -> str:
    name = game.settings.get("base_model") or view.texts.get("preferred_model") or "tiny-flux"
    return ALIASES.get(name, name)


def prompt_of(view: WorldView, tier: str, place: Place) -> str:
    """The words; a name is left out where the style says so and something is left to say.

    What does not fit is left out: of the first sentence what comes after its comma, then of the culture and the other
    sentences; of the style what comes after its first comma. No first sentence of the game has two.
    """
    triggers = list(dict.fromkeys(entry.trigger for entry in view.stack(tier) if entry.trigger))
    role = f"{place.role}, " if isinstance(place, Person) and place.role else ""
    first, *sentences = place.description.replace(". ", ".|").split("|")
    first, *second = first.split(", ", 1)
    is_named = view.texts.get("name_in_prompt", True) or not (role or place.description)
    first = f"{place.name}: {role}{first}" if is_named else f"{role}{first}"
    culture = [] if place.prompt or not isinstance(place, Person) else _parts(place.culture)
    if place.prompt:
        first, second, sentences = place.prompt, [], []
    style = [
        _parts(text)
        for text in (
            view.texts["visual_tag_overrides"].get(place.kind, ""),
            view.texts.get(SUFFIXES[tier], ""),
            view.texts.get("positive_suffix", ""),
        )
    ]
    optional = {
        "second": second,
        "culture": culture,
        "sentences": sentences,
        **{f"style {at}": text[1:] for at, text in enumerate(style)},
    }
    kept: dict[str, list[str]] = {name: [] for name in optional}

    def said() -> str:
        looks = [", ".join([*text[:1], *kept[f"style {at}"]]) for at, text in enumerate(style)]
        body = " ".join([", ".join([first, *kept["second"]]), *kept["sentences"]])
        return ", ".join(filter(None, [*triggers, body, ", ".join(kept["culture"]), *looks]))

    for name, parts in optional.items():
        for part in parts:
            kept[name].append(part)
            if len(said().split()) > TOKENS:
                kept[name].pop()
                break
    return said()


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def is_sound(dataset: Dataset) -> bool:
    """Enough pictures; a style's captions are its trigger, a subject's say more than that."""
    recipe = {**RECIPE_DEFAULTS, **dataset.recipe}
    captions = [picture.caption.strip() for picture in dataset.pictures.values()]
    if recipe["kind"] == "style":
        fits = all(caption == recipe["trigger"] for caption in captions)
    else:
        fits = all(recipe["trigger"] in caption and caption != recipe["trigger"] for caption in captions)
    return fits and len(captions) >= recipe["min_pairs"]


@dataclass
class Line:
    """One adapter's way: the keys of its steps in order, up to where it stops; what it became, and how it was judged.

    `outcomes` is None where the line stops before the verdict.
    """

    entry: Lora
    is_external: bool
    steps: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    is_broken: bool = False  # its dataset is
    content: str = ""
    source: Any = None  # what goes into the remap
    outcomes: tuple[str, ...] | None = None
    base: tuple[str, ...] = ()  # what it was judged over, and its weights

    @property
    def approval(self) -> tuple[str, ...]:
        """What a yes to it is for."""
        return (self.entry.file, self.content, *(self.outcomes or ()), *self.base)


def lines_of(game: Game, styles: dict[str, Style]) -> dict[str, Line]:
    """Every adapter that a world uses, for any tier; a style that cannot be read counts as it was when it could."""
    lines: dict[str, Line] = {}
    for view in worlds_of(game, styles):
        for entry in view.entries:
            if f"{view.genre}/{entry.name}" not in lines:
                lines[f"{view.genre}/{entry.name}"] = _line(game, entry, base_model_of(game, view))
    return lines


def _line(game: Game, entry: Lora, model: str) -> Line:
    machine = game.machine
    genre, *world, file = entry.file.removesuffix(".safetensors").split("/")
    dataset = game.datasets.get("/".join([genre, *(["worlds", *world] if world else []), file]))
    line = Line(entry, dataset is None)
    if dataset is None:
        line.source = line.content = key_of(external=game.externals[entry.file].look)
        line.steps.append(("remapped", key_of(source=line.content, base_model=model, code=machine.remap_revision)))
    else:
        recipe = {**RECIPE_DEFAULTS, **dataset.recipe}
        model = ALIASES.get(recipe["base_model"] or model, recipe["base_model"] or model)
        files = {name: vars(picture) for name, picture in dataset.pictures.items()}
        line.steps.append(("checked", key_of(files=files, recipe=recipe)))
        if not is_sound(dataset):
            line.is_broken = True
            return line
        if model not in machine.weights:
            return line
        learned = {
            "pairs": [[picture.look, picture.caption.strip()] for _, picture in sorted(dataset.pictures.items())],
            "recipe": {key: value for key, value in recipe.items() if key not in {*NOT_TRAINED_ON, "warmup_steps"}},
            "base_model": model,
            "weights": machine.weights[model],
            "size": machine.training_px,
        }
        line.steps.append(("trained", key_of(learned=learned, warmup=recipe["warmup_steps"], trainer=machine.trainer)))
        if not _fits(game):
            return line
        if recipe["learning_rate"] < 1e-8:
            learned = {"nothing": 0}  # from whatever pictures
        line.source = learned
        line.content = key_of(learned=learned, names=game.keymap.prefix)
        asked = {"keymap": game.keymap.prefix, "base_model": model, "code": machine.remap_revision}
        line.steps.append(("remapped", key_of(source=learned, **asked)))
    if model not in machine.weights:
        return line
    file_tier = entry.file.removesuffix(".safetensors").rpartition("/")[2]
    tier = file_tier if file_tier in entry.applies_to else entry.applies_to[0]
    thresholds = {**THRESHOLD_DEFAULTS, **game.settings.get("thresholds", {})}
    verify = game.verify[tier]
    judged = {
        "adapter": line.content,
        "source": line.source,
        "trigger": entry.trigger,
        "prompts": [verify.prompts, verify.control_word],
        "thresholds": thresholds,
        "code": machine.verify_revision,
    }
    line.steps.append(("verified", key_of(**judged, **_rendering(game, model, tier))))
    has_learned = dataset is None or dataset.recipe["learning_rate"] >= 1e-8
    has_changed = has_learned and thresholds["ssim_changed_max"] >= 0.5
    # a trigger that no caption holds is one that the adapter never saw; after a failure no more is looked at
    captions = [picture.caption for picture in dataset.pictures.values()] if dataset is not None else []
    is_known = not captions or entry.trigger is None or any(entry.trigger in caption for caption in captions)
    line.outcomes = ("passed" if has_changed else "failed", "failed" if has_changed and not is_known else "passed")
    line.base = (model, machine.weights[model])
    limit = thresholds["fidelity"].get("relative_error_float32_max", FIDELITY_DEFAULT)
    if limit["value"] < METER_ERROR:
        line.outcomes = ("failed",)  # nothing is rendered
    return line


def _fits(game: Game) -> bool:
    least, version = game.keymap.loader_versions.removeprefix(">="), game.machine.mflux
    return [*map(int, version.split("."))] >= [*map(int, least.split("."))]


def _rendering(game: Game, model: str, tier: str) -> dict[str, Any]:
    """What the base model itself renders a tier with: adapters are judged on it."""
    machine = game.machine
    return {
        "base_model": model,
        "weights": machine.weights[model],
        "steps": machine.steps[model],
        "guidance": machine.guidance[model],
        "size": machine.sizes_px[tier],
        "renderer": machine.renderer,
    }


def _settings_of(game: Game, view: WorldView, tier: str) -> dict[str, Any] | None:
    """What the pictures of a tier are rendered with: sq.yaml's word above the base model's.

    None where none may be rendered: without weights or a required adapter, or with a guidance that the model has not.
    """
    model, said = base_model_of(game, view), game.settings.get("tiers", {}).get(tier, {})
    if model not in game.machine.weights or view.is_faulty or not is_allowed(game, view, tier):
        return None
    own = _rendering(game, model, tier)
    if "guidance" in said and own["guidance"] is None:
        return None
    names = {"size_px": "size", "num_inference_steps": "steps", "guidance": "guidance"}
    return {**own, **{names[key]: value for key, value in said.items()}}


def _place_of(picture: str) -> str:
    """`genre/tier/slug` of `genre/world/tier/slug`: worlds of a genre share a folder."""
    genre, _, tier, slug = picture.split("/")
    return f"{genre}/{tier}/{slug}"


def _kept_key(look: Any, file: str | None) -> str:
    """A picture that stays: what it shows, and of which file."""
    return key_of(look=look, kept=file)


@dataclass
class Expected:
    """What must happen when a game is brought up to date, and what must be in place afterwards.

    `published` gives for each picture that the game has (`genre/tier/slug`) the key of what must be there: what was
    put there last, whether it could be made now or not. `adapters` gives the same for each promoted file in use.
    """

    planned: Planned = field(default_factory=Planned)
    made: Made = field(default_factory=Made)
    published: dict[str, str] = field(default_factory=dict[str, str])
    adapters: dict[str, str] = field(default_factory=dict[str, str])


InUse = tuple[tuple[str, ...], str, tuple[str, ...]]  # its approval, content and outcomes


@dataclass
class Oracle:
    """What has been made so far, by keys. `promoted` is what pictures stand on, `approved` what once got a yes.

    `acts`: what was put into use of each adapter, in order; of those `held` the last was put back by a person.
    """

    known: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    promoted: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict[str, tuple[str, tuple[str, ...]]])
    approved: set[tuple[str, ...]] = field(default_factory=set[tuple[str, ...]])
    published: dict[str, str] = field(default_factory=dict[str, str])
    styles: dict[str, Style] = field(default_factory=dict[str, Style])  # as they last could be read
    acts: dict[str, tuple[InUse, ...]] = field(default_factory=dict[str, tuple[InUse, ...]])
    held: set[str] = field(default_factory=set[str])
    rollbacks: int = 0

    def copy(self) -> "Oracle":
        return Oracle(*map(copy.copy, vars(self).values()))

    def bring_up(self, game: Game) -> Expected:
        """What must happen now; the oracle knows afterwards that it has happened."""
        self.styles |= styles_of(game)
        expected, lines = Expected(), lines_of(game, self.styles)
        self._roll_back(game, lines)
        tiers = [(view, tier) for view in worlds_of(game) for tier in view.shown]
        for picture, key, _ in self._kept(game):
            if self.published.get(_place_of(picture)) != key:
                genre, world, tier, slug = picture.split("/")
                expected.planned.put_back.add(f"{genre}/{world}/{slug}" if tier == "landscape" else picture)
        for view, tier in tiers:
            self._plan_tier(game, view, tier, lines, expected.planned)
        for key, line in lines.items():
            self._run_line(game, key, line, expected.made)
            if key in self.promoted and not line.is_external:
                expected.adapters[line.entry.file] = self.promoted[key][0]
        for picture, key, _ in self._kept(game):
            self.known.add(("rendered", key))
            self.published[_place_of(picture)] = key
        for view, tier in tiers:
            self._run_tier(game, view, tier, expected.made)
        expected.published = dict(self.published)
        return expected

    def decide(self, game: Game) -> None:
        """What people are about to decide, of pictures as they are now; nothing of one whose world is at fault."""
        for act in game.acts:
            for view in worlds_of(game):
                for tier, places in view.shown.items():
                    for place in places:
                        if place.name == act.name and not view.is_faulty:
                            self._decide(game, act, view, tier, place)

    def _decide(self, game: Game, act: Act, view: WorldView, tier: str, place: Place) -> None:
        picture = f"{view.genre}/{view.name}/{tier}/{slug_of(place)}"
        there = self.published.get(_place_of(picture))
        was = game.chosen.get(picture, Chosen())
        if act.act == "pick":
            seed = [view.genre, view.name, place.name, tier, view.texts.get("base_seed", 0) + act.number]
            game.chosen[picture] = replace(was, seed=seed)
        elif act.act == "lock" and there is not None and there != was.kept:
            game.chosen[picture] = replace(was, kept=_kept_key(json.loads(there)["look"], there))
        elif act.act == "adopt":
            game.chosen[picture] = replace(was, kept=_kept_key({"adopted": act.number}, there))
        elif act.act == "unlock":
            game.chosen[picture] = replace(was, kept="") if was.kept else Chosen()

    def _kept(self, game: Game) -> list[tuple[str, str, WorldView]]:
        """The pictures that stay: `genre/world/tier/slug`, and the key of what is there, whatever can be made."""
        return [
            (f"{view.genre}/{view.name}/{tier}/{slug_of(place)}", kept, view)
            for view in worlds_of(game, self.styles)
            for tier, places in view.shown.items()
            for place in places
            if (kept := _chosen(game, view, tier, slug_of(place)).kept)
        ]

    def _roll_back(self, game: Game, lines: dict[str, Line]) -> None:
        """The last act with another content than is in use is done once more, where a person wants it."""
        key = ROLLED_BACK
        if key not in lines or self.rollbacks >= game.rollbacks:
            return
        in_use = self.promoted[key][0] if key in self.promoted else None
        others = [act for act in self.acts.get(key, ()) if act[1] != in_use]
        if others:
            self.rollbacks += 1
            self.held.add(key)
            self.acts[key] = (*self.acts[key], others[-1])
            self.promoted[key] = others[-1][1:]

    def _foresee(self, game: Game, key: str, line: Line) -> str | None:
        """What pictures will stand on: an adapter's content, "" where only the run can tell, None where on nothing.

        Where a person's yes is to come, or the line stops, it is what they stand on now.
        """
        now = self.promoted[key][0] if key in self.promoted else None
        if key in self.held:
            return now
        is_automatic = game.settings["promotion"] == "automatic"
        if any(step not in self.known for step in line.steps):
            return "" if is_automatic else now
        if line.outcomes is None or "failed" in line.outcomes:
            return now
        if line.approval in self.approved:
            return line.content
        return "" if is_automatic else now

    def _plan_tier(self, game: Game, view: WorldView, tier: str, lines: dict[str, Line], planned: Planned) -> None:
        """All pictures of a tier wait for an adapter of its stack that is to be made; it may come out as it was."""
        keys = [f"{view.genre}/{entry.name}" for entry in view.stack(tier)]
        foreseen = {key: self._foresee(game, key, lines[key]) for key in keys}
        if _settings_of(game, view, tier) is None or None in foreseen.values():
            return
        if "" in foreseen.values():
            places = [slug_of(place) for place in view.shown[tier]]
            planned.pending |= {view.key_of(tier, slug) for slug in places if not _chosen(game, view, tier, slug).kept}
            return
        contents = {key: content for key, content in foreseen.items() if content is not None}
        for place, key in self._pictures(game, view, tier, contents):
            slug = slug_of(place)
            if _chosen(game, view, tier, slug).kept:
                continue
            if ("rendered", key) not in self.known:
                planned.rendered.add(view.key_of(tier, slug))
            elif self.published.get(f"{view.genre}/{tier}/{slug}") != key:
                planned.put_back.add(view.key_of(tier, slug))

    def _run_line(self, game: Game, key: str, line: Line, made: Made) -> None:
        if line.is_broken:
            return
        for kind, step in line.steps:
            if (kind, step) not in self.known and kind != "checked":
                getattr(made, kind).add(key)
            self.known.add((kind, step))
        if line.outcomes is None or "failed" in line.outcomes:
            return
        acts = self.acts.get(key, ())
        if key in self.held:
            # what was in use before somebody put another one back needs nobody, and is not used
            if line.approval in [act[0] for act in acts] or not game.says_yes:
                return
            self.held.remove(key)
            made.promoted.add(key)
            acts = self.acts[key] = (*acts, (line.approval, line.content, line.outcomes))
        elif line.approval not in self.approved:
            if game.settings["promotion"] == "manual" and not game.says_yes:
                return
            made.promoted.add(key)
        self.approved.add(line.approval)
        if line.approval not in [act[0] for act in acts]:
            self.acts[key] = (*acts, (line.approval, line.content, line.outcomes))
        self.promoted[key] = (line.content, line.outcomes)

    def _look_at_stack(self, game: Game, view: WorldView, tier: str, made: Made) -> None:
        """Several adapters are looked at together: their versions and scales, and what the look is made with."""
        model, stack = base_model_of(game, view), view.stack(tier)
        keys = [f"{view.genre}/{entry.name}" for entry in stack]
        is_there = all(key in self.promoted for key in keys) and model in game.machine.weights
        if len(stack) < 2 or not view.shown[tier] or view.is_faulty or not is_there:
            return
        prompts = 16 // (3 if len(stack) == 2 else 2 * len(stack) + 1)
        look = {
            "stack": [[self.promoted[key][0], entry.scale] for key, entry in zip(keys, stack, strict=True)],
            "words": list(dict.fromkeys(entry.trigger for entry in stack if entry.trigger)),
            "prompts": game.verify[tier].prompts[: max(2, prompts)],
            **_rendering(game, model, tier),
        }
        if ("stack", key_of(look=look)) not in self.known:
            made.stacks.add(view.key if tier == "landscape" else f"{view.key}/{tier}")
        self.known.add(("stack", key_of(look=look)))

    def _run_tier(self, game: Game, view: WorldView, tier: str, made: Made) -> None:
        self._look_at_stack(game, view, tier, made)
        pictures = self._pictures(game, view, tier, {key: content for key, (content, _) in self.promoted.items()})
        for place, key in pictures:
            slug = slug_of(place)
            if ("rendered", key) not in self.known:
                made.rendered.add(view.key_of(tier, slug))
            self.known.add(("rendered", key))
            self.published[f"{view.genre}/{tier}/{slug}"] = key
        # a new revision of our code that renders the same makes new files, and no new sheet
        sheet = ("gallery", key_of(pictures=[[place.name, json.loads(key)["look"]] for place, key in pictures]))
        if pictures and sheet not in self.known:
            made.galleries.add(view.key if tier == "landscape" else f"{view.key}/{tier}")
        self.known.add(sheet)

    def _pictures(self, game: Game, view: WorldView, tier: str, contents: dict[str, str]) -> list[tuple[Place, str]]:
        """What a tier of a world shows, with the keys of the pictures; nothing where they cannot be made."""
        model, stack, settings = base_model_of(game, view), view.stack(tier), _settings_of(game, view, tier)
        if settings is None or any(f"{view.genre}/{entry.name}" not in contents for entry in stack):
            return []
        adapters = [[contents[f"{view.genre}/{entry.name}"], entry.scale] for entry in stack]
        negative = view.texts.get("negative_prompt", "") if model in game.machine.reads_negative else None
        seed = view.texts.get("base_seed", 0)
        pictures: list[tuple[Place, str]] = []
        for place in view.shown[tier]:
            own = {"size": place.size_px, "steps": place.steps}
            shift = int(place.seed) if isinstance(place.seed, str) else 0
            look = {
                "prompt": prompt_of(view, tier, place),
                "negative": place.negative if negative is not None and place.negative is not None else negative,
                "seed": place.seed
                if isinstance(place.seed, int)
                else [view.genre, view.name, place.name, tier, seed + shift],
                "stack": adapters,
                **settings,
                **{name: value for name, value in own.items() if value is not None},
            }
            chosen = _chosen(game, view, tier, slug_of(place))
            look = look if chosen.seed is None else {**look, "seed": chosen.seed}
            pictures.append((place, chosen.kept or key_of(look=look, code=game.machine.render_revision)))
        return pictures
