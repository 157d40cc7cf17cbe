"""However much is wrong with what somebody brings, what is said of it is short; and a pipe is waited for by nobody."""

import json
import os
import pickle
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sq_pipeline.cli import app
from sq_pipeline.common import strict_yaml
from sq_pipeline.common.errors import ContentError, DatasetError, Fault, SqPipelineError, bounded
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import read_holder
from sq_pipeline.common.plain_file import read_plain_text
from sq_pipeline.defs.instance import prepare_home
from sq_pipeline.pipeline.context import read_content
from sq_pipeline.training.checkpoint_folders import divergence_of
from sq_pipeline.training.dataset_files import read_recipe
from sq_pipeline_tests.pipeline.fast import write_game, write_yaml

MANY = 2_000


def said(data: DataDir, *words: str) -> str:
    """All that a command says, as a person would see it."""
    answer = CliRunner().invoke(app, [*words, "--data", str(data.root)])
    faults = answer.exception.faults if isinstance(answer.exception, SqPipelineError) else ()
    assert isinstance(answer.exception, SystemExit | SqPipelineError | None), answer.exception
    return answer.output + "".join(f"error: {fault}\n" for fault in faults)


@pytest.fixture
def game(data: DataDir) -> DataDir:
    write_game(data)
    write_yaml(data.settings_file, {"missing_adapter": "none"})
    return data


def _places(entry: Any) -> dict[str, Any]:
    return {"chapters": [{"title": "One", "points_of_interest": [entry] * MANY}]}


KEYS = {f"key{number}": 1 for number in range(MANY)}
HISTORY, STYLE = "genre_packs/west/worlds/old/history.yaml", "genre_packs/west/visual_style.yaml"


@pytest.mark.parametrize(
    ("file", "value"),
    [
        (HISTORY, _places({"visual_prompt": "x"})),
        (HISTORY, _places({"name": [1], "visual_prompt": {}})),
        (HISTORY, _places(5)),
        (HISTORY, KEYS),
        (HISTORY, {"chapters": [5] * MANY}),
        (STYLE, {"loras": [{"nam": 1}] * MANY}),
        (STYLE, {"visual_tag_overrides": KEYS}),
        (STYLE, KEYS),
        ("../sq.yaml", KEYS),
        ("lora-datasets/west/landscape/lora.yaml", KEYS),
        ("genre_packs/west/worlds/old/creatures.yaml", {"creatures": [{"slug": 5}] * MANY}),
    ],
)
@pytest.mark.parametrize("command", [("plan",), ("prompts",)])
def test_thousands_of_faults_are_a_hundred_and_a_count(
    command: tuple[str, ...], file: str, value: Any, game: DataDir
) -> None:
    (game.content_root / file).write_text(json.dumps(value))
    text = said(game, *command)
    assert len(text) < 250_000
    assert max(map(len, text.splitlines())) < 5_000


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were compared with those that may be meant."""
    texts: list[str] = []
    find = strict_yaml.difflib.get_close_matches

    def counted(text: str, *arguments: Any, **named: Any) -> list[str]:
        texts.append(text)
        return find(text, *arguments, **named)

    monkeypatch.setattr(strict_yaml.difflib, "get_close_matches", counted)
    strict_yaml._near_miss.cache_clear()
    return texts


def _people(**more: str) -> dict[str, Any]:
    each = [{key: text.format(number) for key, text in more.items()} for number in range(MANY)]
    return {"characters": [{"name": f"Bo {number}", "appearance": "x", **keys} for number, keys in enumerate(each)]}


PEOPLE, RECIPE = "genre_packs/west/worlds/old/portrait_manifest.yaml", "lora-datasets/west/landscape/lora.yaml"


@pytest.mark.parametrize(
    ("file", "value", "most"),
    [
        (RECIPE, KEYS, 101),
        (STYLE, KEYS, 1000),
        (PEOPLE, _people(backdrop_poi="mil_{}"), 101),
        (PEOPLE, _people(culture="old_{}"), 101),
    ],
    ids=["a recipe", "a style", "backdrops", "cultures"],
)
def test_of_thousands_of_slips_the_first_are_compared_with_what_may_be_meant(
    file: str, value: Any, most: int, game: DataDir, compared: list[str]
) -> None:
    """Half a millisecond each: 50,000 keys took half a minute."""
    culture = game.content_root / "genre_packs/west/worlds/old/cultures/old_folk.yaml"
    culture.parent.mkdir()
    culture.write_text("aesthetic: grey cloth\n")
    (game.content_root / file).write_text(json.dumps(value))
    if file == RECIPE:
        with pytest.raises(DatasetError):
            read_recipe(game.datasets_root / "west/landscape", "west")
    else:
        read_content(game)
    assert most - 10 <= len(compared) <= most + 10  # the pack's other keys and files are compared too


@pytest.mark.parametrize("name", ["{}.txt", "{}.png", "{}.psd"])
def test_thousands_of_faulty_files_are_a_hundred_and_a_count(name: str, game: DataDir) -> None:
    folder = game.datasets_root / "west/landscape"
    for number in range(MANY):
        (folder / name.format(number + 1000)).write_text("west")
    assert len(said(game, "dataset", "check", str(folder))) < 100_000


def test_a_hundred_faults_and_a_count() -> None:
    faults = [Fault("a.yaml", f"key{number}", "is wrong", "mend it") for number in range(1000)]
    assert bounded(faults[:101]) == tuple(faults[:101])
    few = bounded(faults)
    assert few == (*faults[:100], Fault("a.yaml", "", "900 more faults", "correct these first, then look again"))
    assert bounded(few) == few
    assert pickle.loads(pickle.dumps(ContentError(faults))).faults == few
    assert bounded([*faults, Fault("b.yaml", "", "is wrong", "")])[-1].file == ""


def _check(data: DataDir, path: Path) -> str:
    return said(data, "dataset", "check", str(path.parent))


def _give_up(_number: int, _frame: object) -> None:
    raise AssertionError("the pipe is waited for")


PIPES: dict[str, tuple[str, Callable[[DataDir, Path], object]]] = {
    "a table of captions": ("content/lora-datasets/west/landscape/metadata.jsonl", _check),
    "another": ("content/lora-datasets/west/landscape/captions.json", _check),
    "a person's recipe": ("content/lora-datasets/west/landscape/lora.yaml", _check),
    "a picture": ("content/lora-datasets/west/landscape/more.png", _check),
    "a caption": ("content/lora-datasets/west/landscape/0.caption", _check),
    "a world": ("content/genre_packs/west/worlds/old/history.yaml", lambda data, _: said(data, "plan")),
    "a published picture": ("content/genre_packs/west/images/poi/mill.png", lambda data, _: said(data, "plan")),
    "a picture to look at": (
        "content/genre_packs/west/images/poi/inn.png",
        lambda data, path: said(data, "verify-image", str(path)),
    ),
    "a published adapter": ("content/lora/west/landscape.safetensors", lambda data, _: said(data, "plan")),
    "who holds a lock": ("store/run.holder", lambda _, path: read_holder(path)),
    "what is known of a training": (
        "store/checkpoints/x/diverged.json",
        lambda data, path: divergence_of(data, path.parent.name, "chip", "lora.yaml"),
    ),
}


@pytest.mark.parametrize(("place", "act"), PIPES.values(), ids=list(PIPES))
def test_a_pipe_is_waited_for_by_nobody(place: str, act: Callable[[DataDir, Path], object], game: DataDir) -> None:
    path = game.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    before = signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(60)
    try:
        act(game, path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_device_is_no_text() -> None:
    with pytest.raises(OSError, match="is no plain file"):
        read_plain_text(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("dagster.yaml", "a: [", "dagster.yaml: line 2"),
        ("dagster.yaml", "- a\n", "its top level is a list"),
        ("dagster.yaml", None, "is no plain file"),
        ("history/runs.db", None, "runs.db: is no plain file; move it away"),
        ("schedules/schedules.db", None, "is no plain file"),
    ],
)
def test_what_is_no_home_of_dagsters_is_told_in_a_line(name: str, text: str | None, told: str, data: DataDir) -> None:
    home = prepare_home(data)
    path = home / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if text is None:
        os.mkfifo(path)
    else:
        path.write_text(text)
    with pytest.raises(SqPipelineError, match=re.escape(told)) as caught:
        prepare_home(data)
    assert len(caught.value.faults) == 1
