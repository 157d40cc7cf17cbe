"""What a command is refused for is not refused any more, once its hint is carried out: from where the person stands."""

import functools
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sq_pipeline.cli.printing import print_table
from sq_pipeline.cli.ui_command import _insist_free
from sq_pipeline.common.errors import ContentError, SelectionError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs import runs
from sq_pipeline.pipeline.manifests import read_manifest
from sq_pipeline_tests.builders import make_image, write_adapter
from sq_pipeline_tests.hints.conftest import Cli
from sq_pipeline_tests.hints.parsing import commands_in
from sq_pipeline_tests.pipeline.fast import FastEngines, write_game, write_yaml
from sq_pipeline_tests.pipeline.line import Line


@pytest.fixture
def stands(tmp_path: Path, shipped: DataDir, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person stands above a small game, `my game`, and has set nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SQ_DATA", raising=False)
    data = DataDir(tmp_path / "my game")
    for part in ("keymaps", "verify_prompts"):
        shutil.copytree(shipped.root / part, data.root / part)
    (data.root / "models").symlink_to(shipped.models_root)
    write_game(data)
    return tmp_path


def _kohya(folder: Path) -> None:
    """Another trainer's folder, whose name is no plain word."""
    below = folder / "it's (mine)/10_mill"
    below.mkdir(parents=True)
    for number in range(3):
        make_image(number).save(below / f"{number}.png")
        (below / f"{number}.caption").write_text("old_west")


def _two(folder: Path) -> None:
    for name in "ab":
        write_adapter(folder / f"two/{name}.safetensors")


def _files(**files: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, text in files.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


@dataclass(frozen=True)
class Refused:
    """A command, the hint that it gets, and what the person runs then; `make`: what lies there, `environ`: is set."""

    hint: str
    words: str
    then: str
    make: Callable[[Path], object] | None = None
    environ: Mapping[str, str] | None = None
    now: Mapping[str, str] | None = None


_OTEL = "OTEL_TRACES_EXPORTER"
_PLAN = ("plan", "--data", "my game")
REFUSED = (
    Refused(
        "known are west/old, west/paper",
        "plan|--data|my game|--world|west/olde",
        "plan|--data|my game|--world|west/old",
    ),
    Refused("known are none", "plan|--data|bare|--world|a/b", "plan|--data|bare", _files(bare__content__x="")),
    Refused(
        "known are west/paper_land, west/west_land",
        "adapter|choose|west_lnd|--proposed|--data|my game",
        "adapter|choose|west/west_land|--proposed|--data|my game",
    ),
    Refused(
        "use one of landscape, portrait, creature, scene",
        "plan|--data|my game|--tier|boat",
        "plan|--data|my game|--tier|scene",
    ),
    Refused(
        "give `--iteration N --by WHO`, or `--proposed` alone",
        "adapter|choose|west_land|--data|my game",
        "adapter|choose|west_land|--data|my game|--iteration|2|--by|Ann",
    ),
    Refused(
        "give `--iteration N --by WHO`, or `--proposed` alone",
        "adapter|choose|west_land|--data|my game",
        "adapter|choose|west_land|--data|my game|--proposed",
    ),
    Refused(
        "use otlp, console or none",
        "plan|--data|my game",
        "plan|--data|my game",
        None,
        {_OTEL: "jaeger"},
        {_OTEL: "none"},
    ),
    Refused(
        "use http/protobuf",
        "plan|--data|my game",
        "plan|--data|my game",
        None,
        {_OTEL: "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {_OTEL: "none", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
    ),
    Refused(
        "use mflux with a version (mflux 0.18.1), diffusers, ComfyUI or sd-scripts",
        "adapter|inspect|two/a.safetensors|--loader|mflux",
        "adapter|inspect|two/a.safetensors|--loader|mflux 0.18.1",
        _two,
    ),
    Refused(
        "use mflux with a version (mflux 0.18.1), diffusers, ComfyUI or sd-scripts",
        "adapter|inspect|two/a.safetensors|--loader|forge",
        "adapter|inspect|two/a.safetensors|--loader|ComfyUI",
        _two,
    ),
    Refused("name the one that is meant", "adapter|inspect|two", "adapter|inspect|two/a.safetensors", _two),
    Refused(
        "name the adapter's file, or its folder", "adapter|inspect|my game", "adapter|inspect|two/a.safetensors", _two
    ),
    Refused("check the path", "adapter|inspect|a.safetensors", "adapter|inspect|two/a.safetensors", _two),
    Refused(
        "name a PNG",
        "verify-image|notes.png|--data|my game",
        "verify-image|two.png|--data|my game",
        lambda folder: (_files(**{"notes.png": "hello"})(folder), make_image(1).save(folder / "two.png")),
    ),
    Refused(
        "name the .safetensors file",
        "adapter|inspect|two.png",
        "adapter|inspect|two/a.safetensors",
        lambda folder: (_two(folder), make_image(1).save(folder / "two.png")),
    ),
    Refused(
        "name the file to write",
        "adapter|remap|two/a.safetensors|two|--target|kohya",
        "adapter|inspect|two/a.safetensors",
        _two,
    ),
    Refused("name the folder of the dataset", "dataset|import|nowhere|out", "dataset|import|it's (mine)|out", _kohya),
    Refused(
        "name one elsewhere", "dataset|import|it's (mine)|it's (mine)/out", "dataset|import|it's (mine)|out", _kohya
    ),
    Refused(
        "name a new or an empty folder", "dataset|import|it's (mine)|my game", "dataset|import|it's (mine)|out", _kohya
    ),
    Refused(
        "captions are .txt, .caption, .json, or a metadata.jsonl or .csv",
        "dataset|import|my game/content/genre_packs|out",
        "dataset|import|it's (mine)|out",
        _kohya,
    ),
    Refused("write it as GENRE/WORLD/SLUG", "takes|mill|--data|my game", "takes|west/old/mill|--data|my game"),
    Refused("did you mean mill?", "takes|west/old/mil|--data|my game", "takes|west/old/mill|--data|my game"),
    Refused("known are inn, mill, mine", "takes|west/old/fort|--data|my game", "takes|west/old/inn|--data|my game"),
    Refused(
        "ask for 1 to 64, from 0 to 4294967232",
        "takes|west/old/mill|--count|0|--data|my game",
        "takes|west/old/mill|--count|1|--data|my game",
    ),
    Refused(
        "name one: landscape, portrait",
        "takes|west/old/mill|--data|my game",
        "takes|west/old/mill|--tier|portrait|--data|my game",
        lambda folder: write_yaml(
            folder / "my game/content/genre_packs/west/worlds/old/portrait_manifest.yaml",
            {"characters": [{"name": "Mill", "appearance": "A man called Mill."}]},
        ),
    ),
    Refused("name a new or an empty folder", "demo|full|--no-run", "demo|new|--no-run", _files(full__a="")),
    Refused("add --baked", "adapter|fidelity|two/a.safetensors|--bits|4", "adapter|inspect|two/a.safetensors", _two),
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case.hint[:40]} {case.words[:20]}")
def test_what_a_command_is_refused_for_goes_with_its_hint(
    stands: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, case: Refused
) -> None:
    if case.make is not None:
        case.make(stands)
    for name, value in (case.environ or {}).items():
        monkeypatch.setenv(name, value)
    code, said = cli(*case.words.split("|"))
    assert code, said
    assert case.hint in said
    for name, value in (case.now or {}).items():
        monkeypatch.setenv(name, value)
    assert case.hint not in cli(*case.then.split("|"))[1]


def test_another_trainer_s_dataset_is_imported_as_the_hint_says(stands: Path, cli: Cli) -> None:
    _kohya(stands)
    code, said = cli("dataset", "check", "it's (mine)")
    (words,) = {tuple(words) for words in commands_in(said)}
    assert (code, words[:3]) == (1, ("dataset", "import", "it's (mine)"))
    code, said = cli.carry_out(words)
    assert code == 0, said
    assert "write one, with the `trigger`" in said
    (made,) = stands.glob("it's (mine)-imported")
    (made / "lora.yaml").write_text("trigger: old_west\nmin_pairs: 1\nbase_model: tiny-flux\n")
    (words,) = commands_in(said)
    assert words[:2] == ["dataset", "check"]
    code, said = cli.carry_out(words)
    assert (code, [*commands_in(said)]) == (0, []), said


@pytest.mark.long
@pytest.mark.parametrize("name", ["my new game", "it's"])
def test_a_data_directory_is_made_as_the_hint_says(stands: Path, cli: Cli, name: str) -> None:
    for words in (("plan", "--data", name), ("doctor", "--data", name)):
        _, said = cli(*words)
        found = next(words for words in commands_in(said) if words[0] == "demo")
        assert found in (["demo", "DIR"], ["demo", name])
    code, said = cli.carry_out([*found, "--no-run"], DIR=name)
    assert code == 0, said
    (words,) = commands_in(said)
    assert words[0] == "plan"
    assert "not a data directory" not in cli.carry_out(words)[1]
    assert "not a data directory" not in cli("doctor", "--data", name)[1]


@pytest.mark.long
def test_the_way_from_training_to_promotion_is_what_the_hints_say(
    stands: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With engines that cost nothing: promote, run, promote; each as told, in a directory that `--data` names."""
    engines = FastEngines()
    monkeypatch.setattr("sq_pipeline.wiring.real_engines", engines)
    monkeypatch.setattr(runs, "bring_up_to_date", functools.partial(runs.bring_up_to_date, make_engines=engines))
    monkeypatch.setattr("sq_pipeline.cli.pipeline_commands.end_with_parent", lambda: None)
    (stands / "my game/sq.yaml").write_text("base_model: tiny-flux\n")
    at = ("--data", "my game")
    for words in (("promote", "west_land", "--by", "Ann"), ("choose", "west_land", "--iteration", "1", "--by", "Ann")):
        code, said = cli("adapter", *words, *at)
        assert (code, [*commands_in(said)]) == (1, [["run", *at]]), said
    code, said = cli.carry_out(["run", *at])
    waiting = [words for words in commands_in(said) if words[:2] == ["adapter", "promote"]]
    assert [words[2] for words in waiting] != [], said
    for words in waiting:
        assert words[-2:] == [*at]
        code, told = cli.carry_out(words)
        assert code == 0, told
    assert not [*commands_in(cli("plan", *at)[1])]
    code, said = cli("adapter", "choose", "west_land", "--iteration", "99", "--by", "Ann", *at)
    assert (code, "; choose " in said) == (1, True), said
    kept = said.rpartition("; choose ")[2].split(" or ")[0].strip()
    code, said = cli("adapter", "choose", "west_land", "--iteration", kept, "--by", "Ann", *at)
    assert (code, [*commands_in(said)]) == (0, [["run", *at]]), said
    recipe = stands / "my game/content/lora-datasets/west/landscape/lora.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 1", "seed: 9"))
    code, said = cli.carry_out(["run", *at])
    assert "1 trained" in said, said
    choose = [words for words in commands_in(cli("plan", *at)[1]) if words[1] == "choose"]
    assert choose, cli("plan", *at)[1]
    code, said = cli.carry_out(choose[0])
    assert code == 0, said
    assert not [words for words in commands_in(cli("plan", *at)[1]) if words[1] == "choose"]


def test_what_there_is_to_put_back_is_said(stands: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    line, back = Line(DataDir(stands / "my game")), ("adapter", "rollback", "west_land", "--by", "Ann")
    monkeypatch.setattr("sq_pipeline.wiring.real_engines", line.engines)
    at = ("--data", "my game")
    code, said = cli(*back, *at)
    assert (code, [*commands_in(said)]) == (1, [["plan", *at]]), said
    assert "west/loras/west_land/promoted_adapter" in cli.carry_out(["plan", *at])[1]
    line.set("automatic")
    line.bring_up()
    code, said = cli(*back, *at)
    assert (code, [*commands_in(said)]) == (1, [["adapter", "history", "west_land", *at]]), said
    code, said = cli.carry_out(["adapter", "history", "west_land", *at])
    assert (code, "in use" in said) == (0, True), said


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _of_another_version(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9999")


@pytest.mark.parametrize("damage", [_pipe, _of_another_version])
def test_what_was_damaged_in_the_store_is_moved_away(stands: Path, cli: Cli, damage: Callable[[Path], object]) -> None:
    """Moved, never deleted: what a person has is still there."""
    path = stands / "my game/store/records.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    damage(path)
    ask = ("plan", "--data", "my game")
    assert "move it away; it is made again" in cli(*ask)[1]
    path.rename(stands / "aside")
    assert "move it away" not in cli(*ask)[1]


def test_a_manifest_that_says_nothing_is_moved_away(stands: Path) -> None:
    data = DataDir(stands / "my game")
    path = data.manifest("west")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("adapters: [1]\n")
    with pytest.raises(ContentError, match="restore the file, or move it away"):
        read_manifest(data, "west")
    path.rename(stands / "aside")
    assert read_manifest(data, "west") == {}


@pytest.mark.parametrize("columns", [60, 400])
def test_a_command_in_a_table_can_be_pasted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    way = "sq-pipeline adapter promote west_land --by WHO --data '/somewhere/far away/in a folder/my game'"
    print_table(("what", "why"), [("west/loras/west_land/promoted_adapter", f"waits for a person: `{way}`")])
    assert capsys.readouterr().out.count(way) == 1


def test_a_port_that_is_taken_is_not_asked_for_again() -> None:
    with socket.socket() as taken, socket.socket() as probe:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SelectionError, match="name another with `--port N`"):
            _insist_free(taken.getsockname()[1])
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    _insist_free(free)


def test_a_prompt_that_loses_words_names_a_command_that_shows_it(stands: Path, cli: Cli) -> None:
    history = stands / "my game/content/genre_packs/west/worlds/old/history.yaml"
    history.write_text(f"points_of_interest:\n- {{name: Fort, description: 'A mill. {'It is old. ' * 60}'}}\n")
    (stands / "my game/sq.yaml").write_text("base_model: tiny-flux\n")
    _, said = cli("plan", "--data", "my game")
    found = [words for words in commands_in(said) if words[0] == "prompts"]
    assert found == [["prompts", "--world", "west/old", "--data", "my game"]]
    code, said = cli.carry_out(found[0])
    assert (code, "Fort" in said) == (0, True), said
