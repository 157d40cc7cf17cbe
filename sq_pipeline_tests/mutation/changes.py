"""The ways to change a game, which edits are put together from.

Each makes a function that changes a game in place, and does nothing where the game has no such thing (any more). Not
here: what must be made again (`edits`, `tier_edits`).
"""

import copy
from collections.abc import Callable

from sq_pipeline_tests.mutation.game import Act, Chapter, Game, Lora, Person, Place, Style, World

Change = Callable[[Game], object]


def text(style: str, key: str, value: object) -> Change:
    return lambda game: game.style_of(style).texts.update({key: value})


def styles_of(game: Game) -> list[Style]:
    """Every style file that is there."""
    found = [genre.style for genre in game.genres.values()]
    worlds = [world for genre in game.genres.values() for world in genre.worlds.values()]
    return found + [world.style for world in worlds if world.style is not None]


def entry(name: str, /, **values: object) -> Change:
    """Change an adapter's entry, wherever it stands."""

    def change(game: Game) -> None:
        for lora in [lora for style in styles_of(game) for lora in [*style.loras, *style.add]]:
            if lora.name == name:
                vars(lora).update(values)

    return change


def exclude(world: str, name: str) -> Change:
    """A world leaves out an adapter that it inherits."""

    def change(game: Game) -> None:
        style, inherited = game.style_of(world), game.genres[world.partition("/")[0]].style.loras
        if name in [lora.name for lora in inherited] and name not in style.exclude:
            style.exclude = [*style.exclude, name]

    return change


def include(world: str, name: str) -> Change:
    """A world inherits an adapter again."""

    def change(game: Game) -> None:
        style = game.style_of(world)
        style.exclude = [other for other in style.exclude if other != name]

    return change


def add(world: str, name: str) -> Change:
    """A world adds an adapter of its own; its dataset lies there already."""

    def change(game: Game) -> None:
        style = game.style_of(world)
        if name not in [lora.name for lora in style.add]:
            file = f"{world}/landscape.safetensors"
            style.add.append(Lora(name, file, 0.5, ["landscape"], f"west_{world.partition('/')[2]}"))

    return change


def rename_adapter(old: str, new: str) -> Change:
    def change(game: Game) -> None:
        entry(old, name=new)(game)
        for style in styles_of(game):
            style.exclude = [new if name == old else name for name in style.exclude]

    return change


def place(name: str, /, **values: object) -> Change:
    def change(game: Game) -> None:
        found = game.place(name)
        if found is not None:
            vars(found).update(values)

    return change


def person(name: str, /, **values: object) -> Change:
    def change(game: Game) -> None:
        found = game.person(name)
        if found is not None:
            vars(found).update(values)

    return change


def recipe(folder: str, **values: object) -> Change:
    return lambda game: game.datasets[folder].recipe.update(values)


def picture(folder: str, name: str, /, **values: object) -> Change:
    def change(game: Game) -> None:
        if name in game.datasets[folder].pictures:
            vars(game.datasets[folder].pictures[name]).update(values)

    return change


def machine(**values: object) -> Change:
    return lambda game: vars(game.machine).update(values)


def legacy(**values: object) -> Change:
    return lambda game: game.genres["sea"].style.legacy.update(values)


def settings(**values: object) -> Change:
    return lambda game: game.settings.update(values)


def tier(name: str, /, **values: object) -> Change:
    """What sq.yaml says of a tier, beside what it says already."""

    def change(game: Game) -> None:
        said = game.settings.get("tiers", {})
        game.settings["tiers"] = {**said, name: {**said.get(name, {}), **values}}

    return change


def size(tier: str, width_px: int, height_px: int) -> Change:
    """Another size of the base models for a tier."""
    return lambda game: game.machine.sizes_px.update({tier: (width_px, height_px)})


def threshold(**values: float) -> Change:
    return lambda game: game.settings["thresholds"].update(values)


def fidelity(largest_error: float, reason: str) -> Change:
    moved = {"relative_error_float32_max": {"value": largest_error, "reason": reason}}
    return lambda game: game.settings["thresholds"].update(fidelity=moved)


def keymap(**values: object) -> Change:
    return lambda game: vars(game.keymap).update(values)


def verify(tier: str, **values: object) -> Change:
    return lambda game: vars(game.verify[tier]).update(values)


def style(key: str, **values: object) -> Change:
    return lambda game: vars(game.style_of(key)).update(values)


def both(*changes: Change) -> Change:
    return lambda game: [change(game) for change in changes]


def rename_kept(name: str, new: str) -> Change:
    """Rename a place and keep its slug."""

    def change(game: Game) -> None:
        found = game.place(name)
        if found is not None:
            found.name, found.slug = new, found.slug or name.lower()

    return change


def remove(name: str) -> Change:
    def change(game: Game) -> None:
        for chapter in game.chapters():
            chapter.places = [found for found in chapter.places if found.name != name]

    return change


def put(world: str, chapter: int, found: Place) -> Change:
    """Add a place at the end of a chapter, where the world has one."""

    def change(game: Game) -> None:
        chapters = game.genres["west"].worlds.get(world, World([])).chapters
        if chapter < len(chapters) and game.place(found.name) is None:
            chapters[chapter].places.append(copy.copy(found))

    return change


def move(name: str, world: str, chapter: int) -> Change:
    def change(game: Game) -> None:
        found = game.place(name)
        if found is not None and chapter < len(game.genres["west"].worlds.get(world, World([])).chapters):
            remove(name)(game)
            put(world, chapter, found)(game)

    return change


def remove_person(name: str) -> Change:
    def change(game: Game) -> None:
        for cast in game.casts():
            cast[:] = [found for found in cast if found.name != name]

    return change


def put_person(world: str, found: Person) -> Change:
    """Add a person at the end of a world's manifest."""

    def change(game: Game) -> None:
        worlds = game.genres["west"].worlds
        if world in worlds and game.person(found.name) is None:
            worlds[world].people.append(copy.copy(found))

    return change


def move_person(name: str, world: str) -> Change:
    def change(game: Game) -> None:
        found = game.person(name)
        if found is not None and world in game.genres["west"].worlds:
            remove_person(name)(game)
            put_person(world, found)(game)

    return change


def reverse_people(world: str) -> Change:
    def change(game: Game) -> None:
        if world in game.genres["west"].worlds:
            game.world(f"west/{world}").people.reverse()

    return change


def swap_slugs_of_people(first: str, second: str) -> Change:
    def change(game: Game) -> None:
        if game.person(first) and game.person(second):
            both(person(first, slug=second.lower()), person(second, slug=first.lower()))(game)

    return change


def swap_slugs(first: str, second: str) -> Change:
    def change(game: Game) -> None:
        if game.place(first) and game.place(second):
            both(place(first, slug=second.lower()), place(second, slug=first.lower()))(game)

    return change


def rename_picture(folder: str, old: str, new: str) -> Change:
    def change(game: Game) -> None:
        pictures = game.datasets[folder].pictures
        if old in pictures:
            pictures[new] = pictures.pop(old)

    return change


def swap_pictures(folder: str, first: str, second: str) -> Change:
    def change(game: Game) -> None:
        pictures = game.datasets[folder].pictures
        if first in pictures and second in pictures:
            pictures[first], pictures[second] = pictures[second], pictures[first]

    return change


def decide(act: str, name: str, number: int = 0) -> Change:
    """`pick` of a take, `lock`, `adopt` of a file with this look, `unlock`."""
    return lambda game: game.acts.append(Act(act, name, number))


def roll_back(game: Game) -> None:
    """A person puts the version of an adapter that was in use before back."""
    game.rollbacks += 1


def retrigger(folder: str, word: str) -> Change:
    """Another trigger in the recipe and in all captions."""

    def change(game: Game) -> None:
        recipe(folder, trigger=word)(game)
        for found in game.datasets[folder].pictures.values():
            found.caption = word

    return change


def chapter_prose(game: Game) -> None:
    for chapter in game.chapters():
        chapter.prose = "Another prose."


def tags(key: str, kind: str, words: str) -> Change:
    def change(game: Game) -> None:
        found = game.style_of(key).texts
        found["visual_tag_overrides"] = {**found.get("visual_tag_overrides", {}), kind: words}

    return change


def weights(name: str, value: str) -> Change:
    return lambda game: game.machine.weights.update({name: value})


def add_world(game: Game) -> None:
    game.genres["west"].worlds.setdefault("new", World([Chapter([Place("Tower", "a tower")])]))
