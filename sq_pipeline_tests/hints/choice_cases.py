"""What is wrong with choices of pictures, one thing each: what a person asks, the hint that they get, and what they do.

The data directory stands as ROOT in a hint. Not here: carrying it out (`test_choices`).
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from sq_pipeline.common.fingerprints import hash_file, short
from sq_pipeline.content.choices import HEAD
from sq_pipeline.pipeline.choices.choose import lock, pick
from sq_pipeline_tests.pipeline.fast import chapter, poi
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_choices import MILL, choices_file, choose, context_of, file_of, reword, take_of
from sq_pipeline_tests.pipeline.test_choices_file import line, write
from sq_pipeline_tests.pipeline.test_theirs import paint, retouch

Do = Callable[[Game], Any]


@dataclass(frozen=True)
class ChoiceCase:
    """`ask`: what is refused, or tells the hint, with words between `|`. `make`: what there is before; what it returns
    stands for the placeholders of commands.

    `answer`: what a person does who follows the hint without a command. `then`: what they ask in place of `ask`, where
    the hint says so. `first`: what comes before each command of the hint.
    """

    hint: str
    ask: str
    make: Do
    answer: Do | None = None
    then: str = ""
    first: Do | None = None


def _names(*names: str) -> Do:
    def rename(game: Game) -> None:
        game.edit("worlds/old/history.yaml", {"chapters": [chapter(*map(poi, names))]})

    return rename


def _all(*steps: Do) -> Do:
    def do(game: Game) -> Mapping[str, Any]:
        return {name: value for step in steps for name, value in (step(game) or {}).items()}

    return do


def _lines(*lines: str) -> Do:
    return lambda game: write(game, *lines)


def _text(text: str) -> Do:
    return lambda game: choices_file(game).write_text(HEAD + text) and None


def _of_the_game(game: Game) -> None:
    choices_file(game).write_text("choices: [{id: ask, text: Who are you?}]\n")


def _renamed(game: Game) -> None:
    choices_file(game).rename(choices_file(game).with_name("dialogue.yaml"))


def _lock(name: str = MILL) -> Do:
    return lambda game: choose(game, lock, name=name) and None


def _pick(take: int = 1) -> Do:
    return lambda game: choose(game, pick, take) and None


def _locked(letter: str) -> str:
    return line(act="lock", take="", seed="", file_sha256=f"sha256:{letter * 64}")


def _one_that_is_there(game: Game) -> None:
    write(game, line(act="lock", take="", seed="", file_sha256=hash_file(file_of(game))))


def _nothing(_game: Game) -> None:
    pass


def _merge(game: Game) -> None:
    one, other = line(), line(picture="old/inn")
    text = f"choices:\n<<<<<<< mine\n- {one}\n=======\n- {other}\n>>>>>>> theirs\n"
    choices_file(game).write_text(text)


def _without_marks(game: Game) -> None:
    lines = choices_file(game).read_text().splitlines()
    choices_file(game).write_text("\n".join(line for line in lines if line[0] in "c-"))


def _mine(game: Game, size: tuple[int, int] = (128, 96), mode: str = "RGB") -> Mapping[str, Any]:
    path = game.data.root / "mine.png"
    Image.new(mode, size, (9, 8, 7, 100)[: len(mode)]).save(path)
    return {"FILE": path}


def _words(game: Game) -> None:
    (game.data.root / "words.png").write_text("not a picture")


def _scaled(game: Game) -> None:
    path = game.data.root / "mine.png"
    Image.open(path).resize((128, 96)).save(path)


def _opaque(game: Game) -> None:
    path = game.data.root / "mine.png"
    Image.open(path).convert("RGB").save(path)


def _put_there(game: Game) -> None:
    shutil.copyfile(game.data.root / "mine.png", file_of(game))


def _take(game: Game) -> None:
    take_of(game, 2)


def _retouched_take(game: Game) -> None:
    _take(game)
    retouch(game.data.takes_root / "west/old/landscape/mill/take-2.png")


def _lost_version(game: Game) -> Mapping[str, Any]:
    """Two versions before the one that is there, of which the store has one no more."""
    names: dict[str, Any] = {}
    for name, words in (("GONE", "a mill in snow"), ("THERE", "a mill in the rain"), ("", "a mill at dawn")):
        reword(game, visual_prompt=words)
        game.run()
        names[name] = hash_file(file_of(game))
    store = context_of(game).store
    lost = store.find(names["GONE"], ".png")
    assert lost is not None
    store.lend(lost).unlink()
    return {name: short(value) for name, value in names.items()}


def _lost_lock(game: Game) -> None:
    _one_that_is_there(game)
    shutil.rmtree(game.data.store_root / "objects")
    file_of(game).unlink()


def _of_a_file(game: Game) -> None:
    paint(file_of(game))


_AGAIN = "remove the line that is not meant, or choose again: "
_TAKE_2 = "ROOT/store/takes/west/old/landscape/mill/take-2.png"

CASES = (
    # the file
    ChoiceCase("rename it, if you want to choose pictures; or leave it", "plan", _of_the_game, _renamed),
    ChoiceCase("rename it, or move it away", "lock|west/old/mill|--by|Ada", _of_the_game, _renamed),
    ChoiceCase("begin each choice with `- `", "plan", _text("choices: {}\n"), _lines(line())),
    ChoiceCase("write `{picture: WORLD/SLUG, act: …}`", "plan", _text("choices:\n- 7\n"), _lines(line())),
    ChoiceCase("remove it: the file holds `choices` alone", "plan", _text("choices: []\nmore: 1\n"), _lines(line())),
    ChoiceCase("remove it, or correct its name", "plan", _lines(line(sed=7)), _lines(line())),
    ChoiceCase("pick needs it; choose again", "plan", _lines(line(seed="")), _pick()),
    ChoiceCase(
        "keep the lines of both sides, and take the marks out; two choices of one picture are told then",
        "plan",
        _merge,
        _without_marks,
    ),
    ChoiceCase(
        f"{_AGAIN}`sq-pipeline pick west/old/mill --take N --by WHO --tier landscape`",
        "plan",
        _lines(line(take=1, seed=7), line(take=2, seed=8)),
        _lines(line(take=2, seed=8)),
    ),
    ChoiceCase(
        f"{_AGAIN}`sq-pipeline lock west/old/mill --by WHO --tier landscape`",
        "plan",
        _lines(_locked("1"), _locked("2")),
        _one_that_is_there,
    ),
    ChoiceCase(
        "put it back as it was, or move it away",
        f"lock|{MILL}|--by|Ada",
        _text("choices: 7\n"),
        lambda game: choices_file(game).rename(game.data.root / "aside") and None,
    ),
    # the content beside it
    ChoiceCase(
        "nothing of it is lost; if it was renamed, "
        "`sq-pipeline choices move west/old/mill mills --tier landscape` takes the choice along",
        "plan",
        _all(_lock(), _names("Mills", "Mine", "Inn")),
    ),
    ChoiceCase(
        "nothing of it is lost; if it was renamed, "
        "`sq-pipeline choices move west/old/mill SLUG --tier landscape` takes the choice along",
        "plan",
        _all(_lock(), _names("Waterfall", "Mine", "Inn"), lambda _: {"SLUG": "waterfall"}),
    ),
    ChoiceCase(
        "nothing of it is lost; put its world back, or remove the line",
        "plan",
        _lines(line(picture="gone/mill")),
        lambda game: choices_file(game).unlink(),
    ),
    ChoiceCase(
        "remove it, or drop the choice: `sq-pipeline unlock west/old/mill --tier landscape`",
        "plan",
        _all(lambda game: reword(game, seed=5), _pick()),
        reword,
    ),
    ChoiceCase("let it go with `sq-pipeline unlock west/old/mill --tier landscape`", "plan", _lost_lock),
    # choosing
    ChoiceCase(
        "name one from 0 to 4294967295",
        f"pick|{MILL}|--take=-1|--by|Ada",
        _nothing,
        then=f"pick|{MILL}|--take=1|--by|Ada",
    ),
    ChoiceCase("say who decides it", f"lock|{MILL}|--by| ", _nothing, then=f"lock|{MILL}|--by|Ada"),
    ChoiceCase(
        "bring it up to date with `sq-pipeline run`, "
        "or bring a file: `sq-pipeline adopt west/old/mill FILE --by WHO --tier landscape`",
        f"lock|{MILL}|--by|Ada",
        _all(lambda game: file_of(game).unlink(), _mine),
    ),
    ChoiceCase(
        "drop that first: `sq-pipeline unlock west/old/inn --tier landscape`",
        f"choices|move|{MILL}|inn",
        _all(_lock(), _lock("west/old/inn"), _names("Mine", "Inn")),
    ),
    ChoiceCase("see `sq-pipeline choices list`", f"unlock|{MILL}", _lock("west/old/inn"), then="unlock|west/old/inn"),
    ChoiceCase(
        "take another: `sq-pipeline history west/old/mill --tier landscape`",
        f"restore|{MILL}|GONE|--by|Ada",
        _lost_version,
        then=f"restore|{MILL}|THERE|--by|Ada",
    ),
    ChoiceCase("leave it out: `sq-pipeline run` brings it up to date", f"run|--replace|{MILL}", _nothing, then="run"),
    # files of a person's
    ChoiceCase("name a picture", f"adopt|{MILL}|nowhere.png|--by|Ada", _mine, then=f"adopt|{MILL}|FILE|--by|Ada"),
    ChoiceCase(
        "give a PNG or JPEG file",
        f"adopt|{MILL}|ROOT/words.png|--by|Ada",
        _all(_words, _mine),
        then=f"adopt|{MILL}|FILE|--by|Ada",
    ),
    ChoiceCase(
        "scale it, or keep it at its own size: "
        "`sq-pipeline adopt west/old/mill ROOT/mine.png --by WHO --any-size --tier landscape`",
        f"adopt|{MILL}|FILE|--by|Ada",
        lambda game: _mine(game, (64, 64)),
        _scaled,
    ),
    ChoiceCase(
        "save it without an alpha channel, or put it at content/genre_packs/west/images/poi/mill.png "
        "and keep it as it is: `sq-pipeline lock west/old/mill --by WHO --tier landscape`",
        f"adopt|{MILL}|FILE|--by|Ada",
        lambda game: _mine(game, mode="RGBA"),
        _opaque,
        first=_put_there,
    ),
    # takes that somebody looked at
    ChoiceCase(
        "look at it anew: `sq-pipeline takes west/old/mill --from 2 --count 1 --tier landscape`; "
        f"or have it as it is: `sq-pipeline adopt west/old/mill {_TAKE_2} --by WHO --tier landscape`",
        f"pick|{MILL}|--take|2|--by|Ada",
        _all(_take, reword),
    ),
    ChoiceCase(
        f"to have it as it is: `sq-pipeline adopt west/old/mill {_TAKE_2} --by WHO --tier landscape`",
        f"pick|{MILL}|--take|2|--by|Ada",
        _retouched_take,
    ),
    # the three ways out
    ChoiceCase(
        "Keep it with `sq-pipeline adopt west/old/mill --by WHO --tier landscape`, "
        "or as it is with `sq-pipeline lock west/old/mill --by WHO --tier landscape`; "
        "or archive it with `sq-pipeline run --replace west/old/mill --tier landscape`",
        "plan",
        lambda game: retouch(file_of(game)),
    ),
    # the gallery's folder
    ChoiceCase(
        "name an empty or a new folder",
        "gallery|--export|ROOT/content",
        _nothing,
        then="gallery|--export|ROOT/shown",
    ),
)
