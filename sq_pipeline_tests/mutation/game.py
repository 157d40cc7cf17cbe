"""A game as plain Python values. Knows nothing of the product.

Here: what a person writes (packs, datasets, keymap, verify prompts, settings) and the machine it is made on.
Not here: its files (`game_files`), what must be made of it (`oracle`), what people change in it (`edits`), making it
(`bench`).
"""

from dataclasses import dataclass, field
from typing import Any

SIDE_PX = 16  # of a training picture


@dataclass
class Place:
    name: str
    prompt: str | None = None
    description: str = ""
    kind: str | None = None
    slug: str | None = None
    region: str | None = None
    has_solo: bool = False  # the prompt is written as a mapping with `solo`
    is_faulty: bool = False  # its type is no text
    seed: int | str | None = None  # a number, or `+2`
    size_px: list[int] | None = None
    steps: int | None = None
    negative: str | None = None
    is_draft: bool = False
    note: str | None = None


@dataclass
class Person(Place):
    """Whom a portrait shows; `description` is written as `appearance`."""

    culture: str = ""
    role: str | None = None


@dataclass
class Chapter:
    places: list[Place]
    prose: str = "Prose for the narrator."
    again: list[str] = field(default_factory=list[str])  # places of other chapters, named once more


@dataclass
class Lora:
    name: str
    file: str
    scale: float
    applies_to: list[str]
    trigger: str | None = None
    is_faulty: bool = False  # its scale is no number


@dataclass
class Style:
    """One `visual_style.yaml`. `loras` is a genre's list; `exclude` and `add` are a world's."""

    texts: dict[str, Any] = field(default_factory=dict[str, Any])
    loras: list[Lora] = field(default_factory=list[Lora])
    exclude: list[str] = field(default_factory=list[str])
    add: list[Lora] = field(default_factory=list[Lora])
    legacy: dict[str, Any] = field(default_factory=dict[str, Any])
    comment: str = ""
    is_reversed: bool = False  # keys in another order
    is_broken: bool = False


@dataclass
class World:
    chapters: list[Chapter]
    style: Style | None = None
    people: list[Person] = field(default_factory=list[Person])


@dataclass
class Genre:
    """`chapters` and `people` are the genre-level files, which belong to the world `default`."""

    style: Style
    worlds: dict[str, World] = field(default_factory=dict[str, World])
    chapters: list[Chapter] | None = None
    people: list[Person] = field(default_factory=list[Person])


@dataclass
class Picture:
    """A training picture: `look` decides its pixels, `packing` how the file packs them."""

    look: int
    caption: str
    packing: int = 6


@dataclass
class Dataset:
    pictures: dict[str, Picture]
    recipe: dict[str, Any]
    comment: str = ""


@dataclass
class External:
    """An adapter file of the author's own, in the dialect that mflux loads."""

    look: int
    note: str = ""


@dataclass
class Keymap:
    prefix: str = "lora_unet_"  # the real change: other names in the file
    comment: str = ""
    version: int = 1
    is_reversed: bool = False
    loader_versions: str = ">=0.19"


@dataclass
class VerifyPrompts:
    prompts: list[str]
    control_word: str = "orrpelllorn"
    comment: str = ""


@dataclass
class Machine:
    """What is no file of the data directory: base models, engines, our own code's revisions."""

    weights: dict[str, str]
    renderer: dict[str, str] = field(default_factory=lambda: {"mflux": "1", "mlx": "1"})
    trainer: dict[str, str] = field(default_factory=lambda: {"ours": "1"})
    mflux: str = "0.24.0"
    chip: str = "a chip"
    steps: dict[str, int] = field(default_factory=lambda: {"tiny-flux": 8, "flux1-dev": 25})
    guidance: dict[str, float | None] = field(default_factory=lambda: {"tiny-flux": None, "flux1-dev": 3.5})
    sizes_px: dict[str, tuple[int, int]] = field(
        default_factory=lambda: {"landscape": (32, 16), "portrait": (64, 64), "creature": (16, 16), "scene": (48, 16)}
    )
    training_px: int = SIDE_PX
    reads_negative: list[str] = field(default_factory=lambda: ["flux1-dev"])  # as later families will
    remap_revision: int = 1
    verify_revision: int = 1
    render_revision: int = 1


ROLLED_BACK = "west/west_land"


@dataclass(frozen=True)
class Act:
    """A person decides something of the place or person of this name. `number`: of a take, or of a file's look."""

    act: str
    name: str
    number: int = 0


@dataclass(frozen=True)
class Chosen:
    """What was decided of a picture. `seed`: that of a pick; `kept`: the key of the picture that stays."""

    seed: Any = None
    kept: str = ""


@dataclass
class Game:
    genres: dict[str, Genre]
    datasets: dict[str, Dataset]
    externals: dict[str, External]
    keymap: Keymap
    verify: dict[str, VerifyPrompts]
    settings: dict[str, Any]
    machine: Machine
    says_yes: bool = False  # a person promotes what waits, before the game is brought up to date
    rollbacks: int = 0  # how often a person has put the version before of `ROLLED_BACK` back in use
    acts: list[Act] = field(default_factory=list[Act])  # what people are about to decide, before anything is made
    chosen: dict[str, Chosen] = field(default_factory=dict[str, Chosen])  # by `genre/world/tier/slug`
    choices: dict[str, bytes] = field(default_factory=dict[str, bytes])  # their file by genre, once they have decided

    def world(self, key: str) -> World:
        genre, _, name = key.partition("/")
        return self.genres[genre].worlds[name]

    def style_of(self, key: str) -> Style:
        """The style file of `genre` or `genre/world`, made where there is none."""
        if "/" not in key:
            return self.genres[key].style
        genre, _, name = key.partition("/")
        world = self.genres[genre].worlds.setdefault(name, World([]))
        world.style = world.style or Style()
        return world.style

    def chapters(self) -> list[Chapter]:
        found: list[Chapter] = []
        for genre in self.genres.values():
            found += genre.chapters or []
            found += [chapter for world in genre.worlds.values() for chapter in world.chapters]
        return found

    def casts(self) -> list[list[Person]]:
        """The people of each file."""
        worlds = (world for genre in self.genres.values() for world in genre.worlds.values())
        return [*(genre.people for genre in self.genres.values()), *(world.people for world in worlds)]

    def place(self, name: str) -> Place | None:
        return next((place for chapter in self.chapters() for place in chapter.places if place.name == name), None)

    def person(self, name: str) -> Person | None:
        return next((person for cast in self.casts() for person in cast if person.name == name), None)


def _dataset(look: int, trigger: str, *, is_subject: bool = False) -> Dataset:
    names = ("a.png", "b.png", "c.png")
    captions = [f"{trigger} number {index}" if is_subject else trigger for index in range(3)]
    pictures = {name: Picture(look + at, captions[at]) for at, name in enumerate(names)}
    recipe = {"trigger": trigger, "min_pairs": 3, "iterations": 3, "rank": 1, "learning_rate": 0.001}
    return Dataset(pictures, {**recipe, "kind": "subject"} if is_subject else recipe)


def first_game() -> Game:
    """Genre `west`: world `old` inherits its adapter, `paper` has its own instead, `bare` has none.

    Genre `sea`: no worlds, so its places are the world `default`'s; another base model; an adapter of the author's
    own, named by the legacy keys and so for every tier.

    The place and the person `Reef` have everything in common but the tier: slug, prompt and stack.
    """
    long_tale = "Crates and nets and barrels and ropes and sails stand about in heaps that nobody counts any more."
    dock = f"A dock where boats lie. Ropes hang over the water. {long_tale}"
    west = Genre(
        Style(
            {
                "positive_suffix": "wide view",
                "negative_prompt": "text",
                "base_seed": 1,
                "poi_style": "ink drawing",
                "portrait_style": "close up",
                "visual_tag_overrides": {"ruin": "broken walls", "mine": "rails", "rider": "dusty"},
            },
            loras=[
                Lora("west_land", "west/landscape.safetensors", 0.8, ["landscape", "scene"], "west"),
                Lora("west_face", "west/portrait.safetensors", 0.9, ["portrait"], "west_face"),
            ],
        ),
        {
            "old": World(
                [
                    Chapter([Place("Mill", "a mill by the river"), Place("Mine", None, "A mine. Carts wait.", "mine")]),
                    Chapter([Place("Inn", "an inn at dusk", "Not read beside a prompt.", "ruin")]),
                ],
                people=[
                    Person("Ada", None, "A grey braid. A tin star.", culture="river folk"),
                    Person("Bo", "a man in a red scarf", kind="rider", culture="not read beside a prompt"),
                ],
            ),
            "paper": World(
                [Chapter([Place("Gate", "a city gate"), Place("Dock", None, dock)])],
                Style(
                    {"positive_suffix": "on yellow paper"},
                    exclude=["west_land"],
                    add=[Lora("paper_land", "west/paper/landscape.safetensors", 0.7, ["landscape"], "west_paper")],
                ),
            ),
            "bare": World(
                [Chapter([Place("Well", "a dry well"), Place("Fort", None, "A fort on a hill.", "ruin")])],
                Style({"base_seed": 5}, exclude=["west_land", "west_face"]),
                [Person("Gil", None, "A bald man with a pipe.")],
            ),
        },
    )
    legacy = {"lora": "sea/landscape.safetensors", "lora_scale": 0.6, "lora_trigger": "sea"}
    sea_places = [Place("Reef", "a reef at noon", has_solo=True), Place("Wreck", None, "A wreck in the sand.", "ruin")]
    sea = Genre(
        Style({"preferred_model": "dev"}, legacy=legacy),
        chapters=[Chapter(sea_places)],
        people=[Person("Reef", "a reef at noon")],
    )
    return Game(
        genres={"west": west, "sea": sea},
        datasets={
            "west/landscape": _dataset(10, "west"),
            "west/portrait": _dataset(20, "west_face"),
            "west/worlds/paper/landscape": _dataset(30, "west_paper", is_subject=True),
            "west/worlds/bare/landscape": _dataset(40, "west_bare"),  # nobody uses it yet
            "west/worlds/old/landscape": _dataset(50, "west_old"),  # nor this
        },
        externals={"sea/landscape.safetensors": External(1)},
        keymap=Keymap(),
        verify={tier: VerifyPrompts([f"a {tier}"]) for tier in ("landscape", "portrait", "creature", "scene")},
        settings={"promotion": "automatic", "thresholds": {"ssim_changed_max": 0.999}},
        machine=Machine({"tiny-flux": "sha256:" + "0" * 64, "flux1-dev": "sha256:" + "d" * 64}),
    )
