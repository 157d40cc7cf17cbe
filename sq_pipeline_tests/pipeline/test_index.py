"""The index of the store is made again from the records, whatever became of it: nothing is made again for an index."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.common.errors import StorageError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record, Store
from sq_pipeline_tests.builders import faults_of
from sq_pipeline_tests.cases.damages import (
    DAMAGES,
    Damage,
    cut_it,
    empty_it,
    flip_a_bit,
    link_in_a_circle,
    make_a_folder,
    make_a_pipe,
    remove_it,
    zero_it,
)
from sq_pipeline_tests.parts import rest_is_long
from sq_pipeline_tests.pipeline.game import Game

ASSET = "west/worlds/old/poi_images:mill"
COUNT = 40  # records: more than a page holds


def text(path: Path) -> None:
    path.write_bytes(b"not a database, but a text that is long enough" * 99)


def cut_to_a_page(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4096])


def cut_within_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def overwrite_all_but_the_first_page(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


def overwrite_the_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"\0" * 100 + content[100:])


def drop_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM records")
        connection.commit()


def beside(suffix: str, content: bytes) -> Damage:
    def leave(path: Path) -> None:
        path.with_name(path.name + suffix).write_bytes(content)

    return leave


def gone_but_for_what_lies_beside(path: Path) -> None:
    path.unlink()
    for suffix in ("-wal", "-shm", "-journal"):
        beside(suffix, os.urandom(5000))(path)


LOST: dict[str, Damage] = {
    "gone": remove_it,
    "empty": empty_it,
    "cut to a page": cut_to_a_page,
    "cut within the header": cut_within_the_header,
    "zeros": zero_it,
    "a text": text,
    "overwritten": overwrite_all_but_the_first_page,
    "without a header": overwrite_the_header,
    "gone but for what lies beside": gone_but_for_what_lies_beside,
}
HARMLESS: dict[str, Damage] = {
    "a flipped bit": flip_a_bit,
    "cut off": cut_it,
    "a table emptied": drop_a_table,
    "a link to a copy": DAMAGES["a link to a copy"],
    "a log left over": beside("-wal", os.urandom(5000)),
    "shared memory left over": beside("-shm", os.urandom(5000)),
    "a journal left over": beside("-journal", b""),
}
REFUSED: dict[str, Damage] = {"a folder": make_a_folder, "a pipe": make_a_pipe, "a link in a circle": link_in_a_circle}


def fill(root: Path) -> list[Record]:
    store = Store(root)
    records = [
        Record(
            kind="picture",
            fingerprint=fingerprint({"n": n}),
            inputs={"n": n, "prompt": "a café " * 30},
            data_version=f"v{n}",
            objects={"picture": store.put_bytes(bytes([n]), ".png")},
            info={"n": n},
        )
        for n in range(COUNT)
    ]
    for record in records:
        with store.together():
            store.write_record(record)
            store.write_current(ASSET, record)  # the last one stands
        store.write_published("west", f"place{record.info['n']}", record.fingerprint)
    store.write_current(ASSET, records[7])  # an undone edit
    store.write_published("west", "portrait/ada", records[1].fingerprint)
    store.forget_published("west", "place3")
    return records


def insist_on_all(store: Store, records: list[Record]) -> None:
    assert [store.read_record("picture", record.fingerprint) for record in records] == records
    assert store.read_current(ASSET) == (records[7].fingerprint, records[7].inputs)
    published = {f"place{record.info['n']}": record.fingerprint for record in records if record.info["n"] != 3}
    assert store.read_published("west") == {**published, "portrait/ada": records[1].fingerprint}


@pytest.mark.parametrize("case", [*LOST, *HARMLESS])
def test_nothing_is_lost_with_the_index(case: str, tmp_path: Path) -> None:
    records = fill(tmp_path)
    (LOST | HARMLESS)[case](tmp_path / "records.sqlite")
    for _ in range(2):
        insist_on_all(Store(tmp_path), records)
    store = Store(tmp_path)
    store.write_current(ASSET, records[8])
    assert Store(tmp_path).read_current_fingerprint(ASSET) == records[8].fingerprint


@pytest.mark.parametrize("case", LOST)
def test_it_is_said_once_and_how_many(case: str, tmp_path: Path) -> None:
    records = fill(tmp_path)
    LOST[case](tmp_path / "records.sqlite")
    store = Store(tmp_path)
    insist_on_all(store, records)
    line = f"store/records.sqlite was gone or damaged; it is made again from {COUNT} records"
    assert store.describe_state() == [line]
    store = Store(tmp_path)
    insist_on_all(store, records)
    assert store.describe_state() == []


@pytest.mark.parametrize("case", LOST)
def test_it_is_made_again_by_a_writer_too(case: str, tmp_path: Path) -> None:
    records = fill(tmp_path)
    LOST[case](tmp_path / "records.sqlite")
    store = Store(tmp_path)
    store.write_published("west", "new", records[0].fingerprint)
    assert store.read_published("west").keys() >= {"new", "place39"}
    assert store.read_current_fingerprint(ASSET) == records[7].fingerprint


@pytest.mark.parametrize("case", ["gone", "empty", "zeros", "overwritten"])
def test_it_may_be_lost_under_an_open_store(case: str, tmp_path: Path) -> None:
    records = fill(tmp_path)
    store = Store(tmp_path)
    insist_on_all(store, records)
    copy = tmp_path / "copy"
    shutil.copyfile(tmp_path / "records.sqlite", copy)
    LOST[case](copy) if case != "gone" else copy.unlink()
    (tmp_path / "records.sqlite").unlink()
    if copy.exists():
        copy.rename(tmp_path / "records.sqlite")
    insist_on_all(store, records)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_file_is_one_line_with_the_way_out(case: str, tmp_path: Path) -> None:
    records = fill(tmp_path)
    index = tmp_path / "records.sqlite"
    REFUSED[case](index)
    (fault,) = faults_of(lambda: Store(tmp_path).read_published("west"), StorageError)
    assert fault.file == str(index)
    assert fault.hint
    shutil.rmtree(index) if index.is_dir() else index.unlink()
    insist_on_all(Store(tmp_path), records)


def test_an_index_of_another_version_is_one_line(tmp_path: Path) -> None:
    records = fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / "records.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    (fault,) = faults_of(lambda: Store(tmp_path).read_published("west"), StorageError)
    assert fault.problem == "is from another version"
    (tmp_path / "records.sqlite").unlink()
    insist_on_all(Store(tmp_path), records)


def test_a_record_that_is_damaged_too_is_lost_alone(tmp_path: Path) -> None:
    records = fill(tmp_path)
    files = sorted((tmp_path / "records").glob("??/*.jsonl"))
    damages = [*DAMAGES.values()]
    for damage, path in zip(damages, files, strict=False):
        damage(path)
    insist_on_all(Store(tmp_path), records)  # the index has them
    (tmp_path / "records.sqlite").unlink()
    store = Store(tmp_path)
    found = [record for record in records if store.read_record("picture", record.fingerprint)]
    assert len(found) == COUNT - len(damages) + 2  # a link to a copy, and a line without its end
    assert [store.read_record("picture", record.fingerprint) for record in found] == found


# --- stores of before


def as_before(root: Path) -> None:
    shutil.rmtree(root / "records")


def test_a_store_of_before_gets_its_files_once(tmp_path: Path) -> None:
    records = fill(tmp_path)
    as_before(tmp_path)
    insist_on_all(Store(tmp_path), records)
    (tmp_path / "records.new" / "ab").mkdir(parents=True)  # of a process that was killed meanwhile
    Store(tmp_path).keep_records_as_files()
    assert len(list((tmp_path / "records").glob("??/*"))) == COUNT
    assert not (tmp_path / "records.new").exists()
    (tmp_path / "records.sqlite").unlink()
    insist_on_all(Store(tmp_path), records)


@pytest.mark.parametrize("damage", [text, overwrite_all_but_the_first_page, overwrite_the_header])
def test_a_damaged_index_of_before_stays_until_a_person_says_so(damage: Damage, tmp_path: Path) -> None:
    """Nothing could be made of it again but by training again."""
    fill(tmp_path)
    as_before(tmp_path)
    damage(tmp_path / "records.sqlite")
    content = (tmp_path / "records.sqlite").read_bytes()
    for look in (lambda store: store.keep_records_as_files(), lambda store: store.read_published("west")):
        (fault,) = faults_of(lambda look=look: look(Store(tmp_path)), StorageError)
        assert "is damaged" in fault.problem
        assert "sound copy" in fault.hint
    assert (tmp_path / "records.sqlite").read_bytes() == content
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize("damage", [remove_it, empty_it])
def test_an_index_of_before_that_is_gone_is_said(damage: Damage, tmp_path: Path) -> None:
    fill(tmp_path)
    as_before(tmp_path)
    damage(tmp_path / "records.sqlite")
    store = Store(tmp_path)
    store.keep_records_as_files()
    (line,) = store.describe_state()
    assert line.startswith("store/records.sqlite is gone, and no record has a file")


# --- a game


@pytest.mark.parametrize(
    "case", rest_is_long([*LOST, *HARMLESS], "gone", "overwritten", "a flipped bit", "a table emptied")
)
def test_a_game_makes_nothing_again_for_its_index(case: str, done: Game) -> None:
    before = done.plan()
    (LOST | HARMLESS)[case](done.data.store_root / "records.sqlite")
    assert done.plan() == before
    report = done.run()
    assert (report.trained, report.remapped, report.verified, report.rendered) == ([], [], [], [])
    assert (report.failed, report.blocked, report.waiting) == ([], [], [])
    assert done.plan() == before


def test_a_run_says_that_the_index_was_made_again(done: Game) -> None:
    (done.data.store_root / "records.sqlite").unlink()
    done.run()
    (line,) = [line for line in done.said if "records.sqlite" in line]
    count = len(list((done.data.store_root / "records").glob("??/*.jsonl")))
    assert count > 20
    assert line.endswith(f"it is made again from {count} records")


def test_a_damaged_cache_of_stats_is_begun_anew(done: Game) -> None:
    cache = done.data.store_root / "cache" / "files.sqlite"
    for content in (b"a text, and no database" * 999, bytes(8192), b"SQLite format 3\0" + b"\xa5" * 8176):
        cache.write_bytes(content)
        assert done.plan()["stale"] == []
        assert not cache.exists() or cache.read_bytes() != content


def test_what_a_person_promoted_stays_promoted(done: Game) -> None:
    sq = done.data.settings_file
    sq.write_text(sq.read_text().replace("automatic", "manual"))
    (done.data.store_root / "records.sqlite").unlink()
    report = done.run()
    assert report.waiting == []
    context = Context(done.data, done.engines(done.data))
    assert context.store.read_current_fingerprint("west/loras/west_land/promoted_adapter") is not None


def test_an_index_that_cannot_be_written_is_told_before_any_work(done: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = done.data.datasets_root / "west/landscape/lora.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 1", "seed: 5"))
    right = sqlite3.connect

    def connect(path: Path | str, **named: Any) -> sqlite3.Connection:
        is_index = str(path).endswith("records.sqlite")  # who runs the tests may be allowed to write all
        return right(f"file:{path}?mode=ro", **named, uri=True) if is_index else right(path, **named)

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert len(done.plan()["stale"]) > 1  # it can be read
    (fault,) = faults_of(done.run, StorageError)
    assert fault.problem == "cannot be written (attempt to write a readonly database)"
    assert done.engines.trainer.requests == []
    monkeypatch.undo()
    assert len(done.run().trained) == 1
