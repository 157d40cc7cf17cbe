"""Packs and settings with one thing wrong each, and the hint that they get."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

A = "west/worlds/alpha/history.yaml"
W = "west/worlds/alpha/visual_style.yaml"
G = "west/visual_style.yaml"
P = "west/worlds/alpha/portrait_manifest.yaml"
S = "sq.yaml"


@dataclass(frozen=True)
class Case:
    """The hint as it comes, the files that earn it, and what a person answers where the hint asks for something.

    `then`: what is told in its place, where the hint says so.
    """

    hint: str
    files: Mapping[str, Any] = field(default_factory=dict[str, Any])
    answer: Any = None
    then: str = ""


def places(entry: str) -> dict[str, str]:
    return {A: f"points_of_interest:\n- {entry}\n"}


def loras(entry: str, more: str = "") -> dict[str, str]:
    return {G: f"positive_suffix: dust\nloras:\n- {entry}\n{more}"}


def people(entry: str) -> dict[str, str]:
    return {P: f"characters:\n- {entry}\n"}


ENTRY = "{name: one, file: west/landscape.safetensors, scale: 0.8, applies_to: [landscape]}"
OTHER = ENTRY.replace("one", "two").replace("0.8", "0.8, trigger: x")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _file(name: str, text: str) -> Any:
    def put(root: Path) -> None:
        path = root / name if name.startswith("content/") else root / "content/genre_packs" / name
        path.unlink()
        path.write_text(text)

    return put


def _move_up(root: Path) -> None:
    folder = root / "content/genre_packs/west/worlds/alpha"
    (folder / "inner/history.yaml").rename(folder / "history.yaml")


def _rename_folder(of: str, to: str) -> Any:
    return lambda root: (root / "content/genre_packs" / of).rename(root / "content/genre_packs" / to)


CASES: tuple[Case, ...] = (
    # what is no YAML
    Case('put it in quotes: name: "Fort: North"', places("name: Fort: North\n  visual_prompt: a mill")),
    Case('put it in quotes: name: "@Fort"', places("name: @Fort\n  visual_prompt: a mill")),
    Case('put it in quotes: name: "{{ fort }} x"', places("name: {{ fort }} x\n  visual_prompt: a mill")),
    Case("put all of it in quotes: name: \"'Fort' North\"", places('name: "Fort" North\n  visual_prompt: a mill')),
    Case('put it in quotes: "@loud"', {W: "visual_tag_overrides:\n  town:\n  - @loud\n"}),
    Case("use spaces", {A: "points_of_interest:\n- name: Fort\n\tvisual_prompt: a mill\n"}),
    Case("write a plain space there", {A: "points_of_interest:\n-\xa0name: Fort\n  visual_prompt: a mill\n"}),
    Case("close it at the end of the text", places('name: "Fort\n  visual_prompt: a mill')),
    Case(
        "keep one side, and remove the marks",
        {A: "<<<<<<< HEAD\npoints_of_interest: []\n=======\npoints_of_interest: []\n>>>>>>> b\n"},
        {A: "points_of_interest: []\n"},
    ),
    Case("correct the YAML", {G: "positive_suffix: dust\npositive_suffix: rain\n"}, {G: "positive_suffix: dust\n"}),
    Case("correct the YAML", places("1: a"), places("name: Fort\n  visual_prompt: a mill")),
    Case("correct the YAML", {S: "promotion: automatic\n  base_model: x\n"}, {S: "promotion: automatic\n"}),
    Case(
        "write the value out",
        {A: "points_of_interest:\n- &a {name: Fort, visual_prompt: a mill}\n- *a\n"},
        places("name: Fort\n  visual_prompt: a mill"),
    ),
    Case(
        "write the plain value, a text in quotes",
        places("name: !!str Fort\n  visual_prompt: a mill"),
        places('name: "Fort"\n  visual_prompt: a mill'),
    ),
    Case("remove it", {A: "points_of_interest: []\n# \x07\n"}, {A: "points_of_interest: []\n# \n"}),
    Case("save it as UTF-8", {A: "points_of_interest:\n- {name: Año, visual_prompt: a mill}\n".encode("latin-1")}),
    Case("flatten it", {A: f"points_of_interest: {'[' * 45}{']' * 45}\n"}, {A: "points_of_interest: []\n"}),
    # files
    Case("rename it to history.yaml", {"west/worlds/alpha/history.yml": "points_of_interest: []\n"}),
    Case(
        "rename it to portrait_manifest.yaml",
        {A: "points_of_interest: []\n", "west/worlds/alpha/portraits.yaml": "characters: []\n"},
    ),
    Case(
        "make one file of both",
        {A: "points_of_interest: []\n", "west/worlds/alpha/history.yml": "points_of_interest: []\n"},
    ),
    Case(
        "move what it says into history.yaml",
        {A: "points_of_interest: []\n", "west/worlds/alpha/places.yaml": "points_of_interest: []\n"},
        {"west/worlds/alpha/places.yaml": None},
    ),
    Case("move it up", {"west/worlds/alpha/inner/history.yaml": "points_of_interest: []\n"}, _move_up),
    Case(
        "cultures are files of their own in cultures/",
        {A: "points_of_interest: []\n", "west/worlds/alpha/cultures.yaml": "a: b\n"},
        {"west/worlds/alpha/cultures.yaml": None, "west/worlds/alpha/cultures/a.yaml": "aesthetic: b\n"},
    ),
    Case(
        "write one there",
        {**people("{name: Ann, description: a smith, culture: salt}"), "west/cultures/salt.yaml": "notes: b\n"},
        {"west/cultures/salt.yaml": "aesthetic: white robes\n"},
    ),
    Case(
        "did you mean salt_anglo?",
        {
            **people("{name: Ann, description: a smith, culture: salt_angl}"),
            "west/cultures/salt_anglo.yaml": "aesthetic: robes\n",
        },
    ),
    Case(
        "there are dutch, salt",
        {
            **people("{name: Ann, description: a smith, culture: big_hills}"),
            "west/cultures/salt.yaml": "aesthetic: robes\n",
            "west/cultures/dutch.yaml": "aesthetic: hats\n",
        },
        "salt",
    ),
    Case(
        "there are none",
        people("{name: Ann, description: a smith, culture: big_hills}"),
        {
            **people("{name: Ann, description: a smith, culture: big_hills}"),
            "west/cultures/big_hills.yaml": "aesthetic: hats\n",
        },
    ),
    Case("put the file itself there", {A: _pipe}, _file(A, "points_of_interest: []\n")),
    Case(
        "put the file itself there",
        {**loras(ENTRY), "content/lora/west/landscape.safetensors": _link},
        _file("content/lora/west/landscape.safetensors", ""),
    ),
    Case(
        "to wait, move the folder away",
        {A: "points_of_interest: []\n", "west/worlds/alpha/world.yaml": "draft: true\n"},
        _rename_folder("west/worlds/alpha", "../alpha"),
    ),
    Case(
        "rename the folder",
        {"west/worlds/al\npha/history.yaml": "points_of_interest: []\n"},
        _rename_folder("west/worlds/al\npha", "west/worlds/alpha"),
    ),
    # shapes
    Case("write `key: value`", {G: "- dust\n"}, {G: "positive_suffix: dust\n"}),
    Case("write `key: value`", {S: "- a\n"}, {S: "promotion: manual\n"}),
    Case("write `chapters:` above it", {A: "- points_of_interest: []\n"}, {A: "chapters:\n- points_of_interest: []\n"}),
    Case("write `- …` entries", {A: "chapters: {a: b}\n"}, [{"points_of_interest": []}]),
    Case("correct it", {A: "chapters:\n- 5\n"}, {"points_of_interest": []}),
    Case(
        "write `- name: …` entries",
        {A: "points_of_interest: {Fort: a mill}\n"},
        [{"name": "Fort", "visual_prompt": "a mill"}],
    ),
    Case("write `name: …`", places("Fort"), {"name": "Fort", "visual_prompt": "a mill"}),
    Case("add `name` or `slug`", places("{visual_prompt: a mill}"), "Fort"),
    Case("write one", places("{name: Fort}"), "a mill"),
    Case("write it", places('{name: Fort, visual_prompt: "TODO"}'), "a mill"),
    Case("write it, or remove it", places('{name: Fort, visual_prompt: "TODO", description: a mill}')),
    Case("write the prompt there: `solo: …`", places("{name: Fort, visual_prompt: {solo: 5}}"), "a mill"),
    Case(
        "write a whole number from 0 to 4294967295, or `+1` for the next after the one it has",
        places("{name: Fort, visual_prompt: a mill, seed: random}"),
        7,
    ),
    Case(
        "write `[width, height]`: whole numbers from 64 to 4096 in steps of 16, such as `[1024, 768]`",
        places("{name: Fort, visual_prompt: a mill, size_px: 1024}"),
        [1024, 768],
    ),
    Case(
        "at most 4194304 are rendered: write smaller sides",
        places("{name: Fort, visual_prompt: a mill, size_px: [4096, 4096]}"),
        [2048, 2048],
    ),
    Case(
        "write a whole number from 1 to 200", places("{name: Fort, visual_prompt: a mill, num_inference_steps: 0}"), 4
    ),
    Case(
        "leave it out, or say what is wanted in the prompt",
        places("{name: Fort, visual_prompt: a mill, negative_prompt: fog}"),
    ),
    Case("write `draft: true`, or remove it", places("{name: Fort, visual_prompt: a mill, draft: soon}"), True),
    Case('write `visual_prompt: "a mill, dust"`', places("{name: Fort, visual_prompt: [a mill, dust]}")),
    Case("write `type: town`", places("{name: Fort, visual_prompt: a mill, type: [town, port]}")),
    Case("write one, or remove it", places("{name: Fort, visual_prompt: a mill, type: []}"), "town"),
    Case("put it in quotes", places("{name: 1876, visual_prompt: a mill}")),
    Case("put it in quotes", places("{name: true, visual_prompt: a mill}")),
    Case("put it in quotes", {G: "positive_suffix: 1876\n"}),
    Case(
        "put it in quotes",
        {**people("{name: Ann, description: a smith, culture: salt}"), "west/cultures/salt.yaml": "aesthetic: 5\n"},
    ),
    Case("write a text there", places("{name: {north: Fort}, visual_prompt: a mill}"), "Fort"),
    Case("write a text there", places("{name: Fort, visual_prompt: a mill, description: [1, 2]}"), "a mill"),
    Case('write it as one: "old, dry"', places("{name: Fort, description: [old, dry]}")),
    Case(
        'write it as one: "old, dry"',
        {
            **people("{name: Ann, description: a smith, culture: salt}"),
            "west/cultures/salt.yaml": "aesthetic: [old, dry]\n",
        },
    ),
    Case("write a text there", {G: "positive_suffix: {a: b}\n"}, {G: "positive_suffix: dust\n"}),
    Case("write a text there", {G: "visual_tag_overrides: {town: [1]}\n"}, "dusty"),
    Case(
        'put it in quotes: aesthetic: "old: dry"',
        {
            **people("{name: Ann, description: a smith, culture: salt}"),
            "west/cultures/salt.yaml": "aesthetic: old: dry\n",
        },
    ),
    Case("did you mean `visual_prompt`?", places("{name: Fort, description: x, visual_promt: a mill}")),
    Case(
        "give one a `slug:` of its own",
        places("{name: A B, visual_prompt: a mill}\n- {name: a-b, visual_prompt: a tent}"),
        places("{name: A B, visual_prompt: a mill}\n- {name: a-b, slug: other, visual_prompt: a tent}"),
    ),
    Case(
        "write both names the same way, or remove one",
        places("{name: Caf\u00e9, visual_prompt: a mill}\n- {name: Cafe\u0301, visual_prompt: a tent}"),
        places("{name: Caf\u00e9, visual_prompt: a mill}\n- {name: Cafe\u0301 2, visual_prompt: a tent}"),
    ),
    Case(
        "the first one is used; make them equal",
        places("{name: Fort, visual_prompt: a mill}\n- {name: Fort, visual_prompt: a tent}"),
        places("{name: Fort, visual_prompt: a mill}\n- {name: Fort, visual_prompt: a mill}"),
    ),
    Case(
        "that one is used; make them equal",
        {
            "west/worlds/alpha/creatures.yaml": "creatures:\n- {name: Bat, visual_prompt: a bat}\n",
            "west/worlds/alpha/bestiary.yaml": "entries:\n- {name: Bat, visual_prompt: a rat}\n",
        },
        {"west/worlds/alpha/bestiary.yaml": "entries: []\n"},
    ),
    Case(
        "did you mean mill?",
        {**places("{name: Mill, visual_prompt: a mill}"), **people("{name: Ann, visual_prompt: a, backdrop_poi: mil}")},
    ),
    Case(
        "name the slug of a place",
        {
            **places("{name: Mill, visual_prompt: a mill}"),
            **people("{name: Ann, visual_prompt: a, backdrop_poi: fort}"),
        },
        "mill",
    ),
    Case(
        "remove what is a slip; list in `ignore_keys:` of sq.yaml what is for others",
        {**places("{name: Mill, visual_prompt: a mill, dialect: slow}")},
        {S: "base_model: tiny-flux\nmissing_adapter: none\nignore_keys: [dialect]\n"},
    ),
    Case(
        "give it a `slug:` of its own, or write `picture_path:` with {world} in sq.yaml",
        {
            A: "points_of_interest:\n- {name: Fort, visual_prompt: a mill}\n",
            "west/worlds/beta/history.yaml": "points_of_interest:\n- {name: Fort, visual_prompt: a tent}\n",
        },
        {S: "missing_adapter: none\npicture_path: 'worlds/{world}/{kind}/{slug}.png'\n"},
    ),
    # style
    Case("write it, or leave the key out", loras(f"{ENTRY[:-1]}, trigger: ''}}")),
    Case("rename it", loras(ENTRY.replace("one", "'a b'")), "a_b"),
    Case("shorten it", loras(ENTRY.replace("one", "a" * 70)), "short"),
    Case(
        "remove it",
        loras(ENTRY.replace("west/landscape", '"we\\0st/landscape').replace("tensors", 'tensors"')),
        "west/landscape.safetensors",
    ),
    Case(
        "write its path there, such as west/style",
        loras(ENTRY.replace("scale: 0.8", "scale: 0.8, reference: ../style")),
        "west/landscape",
    ),
    Case(
        "write a path below it, such as genre/landscape.safetensors",
        loras(ENTRY.replace("west/", "../")),
        "west/landscape.safetensors",
    ),
    Case("rename it to .safetensors", loras(ENTRY.replace(".safetensors", ".sft")), "west/landscape.safetensors"),
    Case("export it as .safetensors", loras(ENTRY.replace(".safetensors", ".ckpt")), "west/landscape.safetensors"),
    Case(
        "leave the entry out, or name it in a world's `exclude`",
        loras(ENTRY.replace("0.8", "0")),
        lambda root: (root / "content/genre_packs/west/visual_style.yaml").write_text("positive_suffix: dust\n"),
    ),
    Case("write e.g. 0.8", loras(ENTRY.replace("0.8", "11"))),
    Case("write e.g. 0.8", loras(ENTRY.replace("0.8", "high"))),
    Case("write e.g. [landscape]", loras(ENTRY.replace("[landscape]", "landscape"))),
    Case("write e.g. [landscape]", loras(ENTRY.replace("[landscape]", "[5]"))),
    Case("name a tier, such as landscape", loras(ENTRY.replace("[landscape]", "[]")), ["landscape"]),
    Case("did you mean landscape?", loras(ENTRY.replace("[landscape]", "[landscap]"))),
    Case(
        "known are landscape, portrait, creature, scene",
        loras(ENTRY.replace("[landscape]", "[landscape, boat]")),
        ["landscape"],
    ),
    Case("write e.g. 42", {G: "base_seed: many\n"}),
    Case("write `type: tags`", {G: "visual_tag_overrides: [a]\n"}, {"town": "dusty"}),
    Case('write it as one: "dust, rain"', {G: "positive_suffix: [dust, rain]\n"}),
    Case("write `- name: …` entries", {G: "loras: {add: []}\n"}, []),
    Case("write `exclude:` and `add:`", {W: "loras: []\n"}, {"exclude": [], "add": []}),
    Case("write `- …` entries", {W: "loras: {exclude: one}\n"}, []),
    Case("only `exclude` and `add` belong here", {W: "loras: {remove: [one]}\n"}, {W: "loras: {exclude: []}\n"}),
    Case("write name, file, scale and applies_to", loras("one"), {G: "positive_suffix: dust\n"}),
    Case(
        "add it",
        loras(ENTRY.replace("name: one, ", "")),
        lambda root: (root / "content/genre_packs/west/visual_style.yaml").write_text("loras:\n- " + ENTRY),
    ),
    Case("give each its own name", loras(f"{ENTRY}\n- {ENTRY.replace('landscape]', 'portrait]')}"), "two"),
    Case("write a number from 0 to 2, such as 0.8", loras(ENTRY.replace("0.8", "3")), 0.8),
    Case("remove it", loras(ENTRY, "lora: west/old.safetensors\n")),
    Case(
        "write `loras:` with `exclude` and `add`",
        {**loras(ENTRY), W: "lora: west/old.safetensors\n"},
        {W: "loras: {exclude: [one], add: []}\n"},
    ),
    Case(
        "add `lora`, or write `loras`",
        {G: "lora_scale: 0.5\n"},
        {G: "lora_scale: 0.5\nlora: west/landscape.safetensors\n"},
    ),
    Case("remove it, or correct the name", {**loras(ENTRY), W: "loras: {exclude: [on], add: []}\n"}),
    Case("give it a name of its own", {**loras(ENTRY), W: f"loras: {{add: [{ENTRY}]}}\n"}, "two"),
    Case(
        "put the file there, add the dataset, or take one out of the style",
        {**loras(ENTRY), "content/lora/west/landscape.safetensors": None},
        {G: "positive_suffix: dust\n"},
    ),
    Case(
        "rename one of them",
        {
            "west/worlds/alpha/visual_style.yaml": f"loras: {{add: [{ENTRY}]}}\n",
            A: "points_of_interest: []\n",
            "west/worlds/beta/visual_style.yaml": f"loras: {{add: [{OTHER.replace('two', 'one')}]}}\n",
        },
        {"west/worlds/beta/visual_style.yaml": f"loras: {{add: [{OTHER}]}}\n"},
    ),
    Case("use one of …", {G: "preferred_model: sdxl\n"}, "tiny-flux"),
    # prompts
    Case(
        "shorten it, or write `dropped_style: warn` in sq.yaml",
        {G: f"positive_suffix: {'dust and sun ' * 40}\n", **places("{name: Fort, visual_prompt: a mill}")},
        then="would be too long",
    ),
    Case(
        "shorten it",
        places(f"{{name: Fort, visual_prompt: {'a mill ' * 60}}}"),
        places("{name: Fort, visual_prompt: a mill}"),
    ),
    Case(
        "shorten them, or the style; `sq-pipeline prompts --world west/alpha` shows all",
        {G: "positive_suffix: dust\n", **places(f"{{name: Fort, description: 'A mill. {'It is old. ' * 60}'}}")},
        places("{name: Fort, description: A mill.}"),
    ),
    Case(
        "describe one; make two entries; `ignore_prompt_checks: [scenes]` in sq.yaml ends this",
        places("{name: Fort, visual_prompt: 'a mill at noon, meanwhile a fire'}"),
        {S: "base_model: tiny-flux\nmissing_adapter: none\nignore_prompt_checks: [scenes]\n"},
    ),
    Case("write true or false", {G: "name_in_prompt: maybe\n"}, {G: "name_in_prompt: false\n"}),
    # settings
    Case("correct the value", {S: "promotion: maybe\n"}, "manual"),
    Case("did you mean `promotion`?", {S: "promotoin: manual\n"}),
    Case("remove it", {S: "gpu: 5\n"}),
    Case("add {slug}", {S: "picture_path: images/{kind}.png\n"}, "images/{kind}/{slug}.png"),
    Case("end it in {slug}.png", {S: "picture_path: images/{slug}/{kind}\n"}, "images/{kind}/{slug}.png"),
    Case("write it as 'images/{kind}/{slug}.png' is", {S: "picture_path: ../{slug}.png\n"}, "images/{kind}/{slug}.png"),
    Case(
        "write it as 'images/{kind}/{slug}.png' is",
        {S: "picture_path: 'images/{slug.png'\n"},
        "images/{kind}/{slug}.png",
    ),
    Case(
        "it may hold {kind}, {slug}, {world}",
        {S: "picture_path: 'images/{genre}/{slug}.png'\n"},
        "images/{kind}/{slug}.png",
    ),
    Case(
        "write only {kind}, {slug}, {world}", {S: "picture_path: 'images/{slug:>3}.png'\n"}, "images/{kind}/{slug}.png"
    ),
    Case("take another folder", {S: "picture_path: 'images/archive/{slug}.png'\n"}, "images/{kind}/{slug}.png"),
)
