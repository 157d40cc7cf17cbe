"""A game as plain Python values, and how it is written to disk. Knows nothing of the product.

Here: what a person writes (packs, datasets, keymap, verify prompts, settings) and the machine it is made on.
Not here: what must be made of it (`oracle`), what people change in it (`edits`), making it (`bench`).
"""

import io
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import yaml
from PIL import Image

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


@dataclass
class Genre:
    """`chapters` is the genre-level history.yaml, whose places belong to the world `default`."""

    style: Style
    worlds: dict[str, World] = field(default_factory=dict[str, World])
    chapters: list[Chapter] | None = None


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
    portrait_px: tuple[int, int] = (16, 32)
    training_px: int = SIDE_PX
    reads_negative: list[str] = field(default_factory=lambda: ["flux1-dev"])  # as later families will
    remap_revision: int = 1
    verify_revision: int = 1
    render_revision: int = 1


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

    def place(self, name: str) -> Place | None:
        return next((place for chapter in self.chapters() for place in chapter.places if place.name == name), None)


def _dataset(look: int, trigger: str, *, is_subject: bool = False) -> Dataset:
    names = ("a.png", "b.png", "c.png")
    captions = [f"{trigger} number {index}" if is_subject else trigger for index in range(3)]
    pictures = {name: Picture(look + at, captions[at]) for at, name in enumerate(names)}
    recipe = {"trigger": trigger, "min_pairs": 3, "iterations": 3, "rank": 1, "learning_rate": 0.001}
    return Dataset(pictures, {**recipe, "kind": "subject"} if is_subject else recipe)


def first_game() -> Game:
    """Genre `west`: world `old` inherits its adapter, `paper` has its own instead, `bare` has none.

    Genre `sea`: no worlds, so its places are the world `default`'s; another base model; an adapter of the author's
    own, named by the legacy keys.
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
                "visual_tag_overrides": {"ruin": "broken walls", "mine": "rails"},
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
                ]
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
            ),
        },
    )
    legacy = {"lora": "sea/landscape.safetensors", "lora_scale": 0.6, "lora_trigger": "sea"}
    sea_places = [Place("Reef", "a reef at noon", has_solo=True), Place("Wreck", None, "A wreck in the sand.", "ruin")]
    sea = Genre(Style({"preferred_model": "dev"}, legacy=legacy), chapters=[Chapter(sea_places)])
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
        verify={tier: VerifyPrompts([f"a {tier}"]) for tier in ("landscape", "portrait", "scene")},
        settings={"promotion": "automatic", "thresholds": {"ssim_changed_max": 0.999}},
        machine=Machine({"tiny-flux": "sha256:" + "0" * 64, "flux1-dev": "sha256:" + "d" * 64}),
    )


def _entry(lora: Lora) -> dict[str, Any]:
    values = {"name": lora.name, "file": lora.file, "scale": lora.scale, "applies_to": lora.applies_to}
    return values if lora.trigger is None else {**values, "trigger": lora.trigger}


def _style_text(style: Style, *, is_world: bool) -> bytes:
    if style.is_broken:
        return b"positive_suffix: [an open bracket\n"
    values = {**style.texts, **style.legacy}
    if style.loras and not is_world:
        values["loras"] = [_entry(lora) for lora in style.loras]
    if is_world and (style.exclude or style.add):
        values["loras"] = {"exclude": style.exclude, "add": [_entry(lora) for lora in style.add]}
    if style.is_reversed:
        values = dict(reversed(values.items()))
    return _yaml(values, style.comment)


def _yaml(value: Any, comment: str = "") -> bytes:
    # aliases are refused, and the same list may stand in two places: so through JSON
    return _dump(json.dumps(value, ensure_ascii=False), comment)


@cache
def _dump(text: str, comment: str) -> bytes:
    body = yaml.dump(json.loads(text), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    return ((f"# {comment}\n" if comment else "") + body).encode()


def _place(place: Place) -> dict[str, Any]:
    prompt = {"solo": place.prompt, "night": "never read"} if place.has_solo else place.prompt
    values = {
        "name": place.name,
        "slug": place.slug,
        "description": place.description or None,
        "visual_prompt": prompt,
        "type": place.kind,
        "region": place.region,
    }
    return {key: value for key, value in values.items() if value is not None}


def _mention(place: Place) -> dict[str, Any]:
    return _place(Place(place.name, slug=place.slug))


def _history(chapters: list[Chapter]) -> bytes:
    here = {place.name: place for chapter in chapters for place in chapter.places}
    return _yaml(
        {
            "chapters": [
                {
                    "title": f"Chapter {number}",
                    "narrative_log": chapter.prose,
                    "points_of_interest": [
                        *map(_place, chapter.places),
                        *(_mention(here[name]) for name in chapter.again if name in here),
                    ],
                }
                for number, chapter in enumerate(chapters, start=1)
            ]
        }
    )


@cache
def _png(look: int, packing: int) -> bytes:
    pixels = np.random.default_rng(look).integers(0, 255, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=packing)
    return buffer.getvalue()


@cache
def _adapter_file(look: int, note: str) -> bytes:
    numbers = np.random.default_rng(look)
    module = "lora_unet_single_blocks_0_linear2"
    tensors = {
        f"{module}.lora_down.weight": numbers.normal(size=(1, 4)).astype(np.float32),
        f"{module}.lora_up.weight": numbers.normal(size=(4, 1)).astype(np.float32),
    }
    return safetensors.numpy.save(tensors, {"note": note})


def _keymap(keymap: Keymap) -> bytes:
    rules = [
        {"pattern": rf"(\w+)\.(\d+)\.(.+)\.{old}", "target": rf"{keymap.prefix}\1_\2_\3.{new}", "transpose": True}
        for old, new in (("lora_a", "lora_down.weight"), ("lora_b", "lora_up.weight"))
    ]
    values = {
        "name": "mlx-to-mflux",
        "version": keymap.version,
        "source": "mlx",
        "target": "mflux",
        "loader": "mflux",
        "loader_versions": keymap.loader_versions,
        "rules": list(reversed(rules)) if keymap.is_reversed else rules,
    }
    return _yaml(values, keymap.comment)


def files_of(game: Game) -> dict[str, bytes]:
    """Every file that a person writes, by its path in the data directory."""
    files = {"sq.yaml": _yaml(game.settings), "keymaps/mlx-to-mflux.yaml": _keymap(game.keymap)}
    for name, genre in game.genres.items():
        root = f"content/genre_packs/{name}"
        files[f"{root}/visual_style.yaml"] = _style_text(genre.style, is_world=False)
        if genre.chapters is not None:
            files[f"{root}/history.yaml"] = _history(genre.chapters)
        for world_name, world in genre.worlds.items():
            if world.style is not None:
                files[f"{root}/worlds/{world_name}/visual_style.yaml"] = _style_text(world.style, is_world=True)
            if world.chapters:
                files[f"{root}/worlds/{world_name}/history.yaml"] = _history(world.chapters)
    for folder, dataset in game.datasets.items():
        root = f"content/lora-datasets/{folder}"
        files[f"{root}/lora.yaml"] = _yaml(dataset.recipe, dataset.comment)
        for file, picture in dataset.pictures.items():
            files[f"{root}/{file}"] = _png(picture.look, picture.packing)
            files[f"{root}/{Path(file).stem}.txt"] = picture.caption.encode()
    for file, external in game.externals.items():
        files[f"content/lora/{file}"] = _adapter_file(external.look, external.note)
    for tier, verify in game.verify.items():
        prompts = [{"prompt": prompt, "seed": 7} for prompt in verify.prompts]
        values = {"version": 1, "control_word": verify.control_word, "prompts": prompts}
        files[f"verify_prompts/{tier}.yaml"] = _yaml(values, verify.comment)
    return files


def write_files(files: dict[str, bytes], root: Path, before: dict[str, bytes]) -> None:
    """Bring the disk from `before` to `files`; what is the same is not touched."""
    for name in before.keys() - files.keys():
        path = root / name
        path.unlink()
        while not any(path.parent.iterdir()):  # an empty folder would be a world, or a dataset
            path = path.parent
            path.rmdir()
    for name, content in files.items():
        if before.get(name) != content:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # a copied game's pictures are links
            path.write_bytes(content)
