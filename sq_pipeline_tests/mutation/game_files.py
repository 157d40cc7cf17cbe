"""A game on disk: every file that a person writes, as bytes, and bringing a folder from one game to another.

Not here: the game as values (`game`). Knows nothing of the product.
"""

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import yaml
from PIL import Image

from sq_pipeline_tests.mutation.game import SIDE_PX, Chapter, Game, Keymap, Lora, Person, Place, Style


def _entry(lora: Lora) -> dict[str, Any]:
    scale = "loud" if lora.is_faulty else lora.scale
    values = {"name": lora.name, "file": lora.file, "scale": scale, "applies_to": lora.applies_to}
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
        "type": ["no", "text"] if place.is_faulty else place.kind,
        "region": place.region,
        "seed": place.seed,
        "size_px": place.size_px,
        "num_inference_steps": place.steps,
        "negative_prompt": place.negative,
        "draft": place.is_draft or None,
        "note": place.note,
    }
    return {key: value for key, value in values.items() if value is not None}


def _person(person: Person) -> dict[str, Any]:
    values = {("appearance" if key == "description" else key): value for key, value in _place(person).items()}
    own = {"culture": person.culture or None, "role": person.role}
    return {**values, **{key: value for key, value in own.items() if value is not None}}


def _manifest(people: list[Person]) -> bytes:
    return _yaml({"characters": [_person(person) for person in people]})


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
        if name in game.choices:
            files[f"{root}/choices.yaml"] = game.choices[name]
        if genre.chapters is not None:
            files[f"{root}/history.yaml"] = _history(genre.chapters)
        if genre.people:
            files[f"{root}/portrait_manifest.yaml"] = _manifest(genre.people)
        for world_name, world in genre.worlds.items():
            if world.style is not None:
                files[f"{root}/worlds/{world_name}/visual_style.yaml"] = _style_text(world.style, is_world=True)
            if world.chapters:
                files[f"{root}/worlds/{world_name}/history.yaml"] = _history(world.chapters)
            if world.people:
                files[f"{root}/worlds/{world_name}/portrait_manifest.yaml"] = _manifest(world.people)
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
