"""What a page has done: by the functions of the command line, one after another; and who may not have it done."""

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from sq_pipeline.common.locks import hold_run_lock
from sq_pipeline.gallery.actions import ACTIONS, MOST_BYTES
from sq_pipeline.gallery.guard import TOKEN
from sq_pipeline.gallery.server import gallery_app
from sq_pipeline.gallery.workshop import Workshop
from sq_pipeline_tests.gallery.asking import HOST, Answer, Client
from sq_pipeline_tests.gallery.conftest import Shown
from sq_pipeline_tests.pipeline.test_choices import choices_file, file_of, reword
from sq_pipeline_tests.pipeline.test_theirs import retouch

WAIT_S = 60
BY: dict[str, Any] = {"by": "Ada", "why": "the light"}


@dataclass
class Acting:
    """A survey, its workshop, and a page that has something done."""

    shown: Shown
    workshop: Workshop
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(gallery_app(self.shown.survey, self.workshop))

    @property
    def headers(self) -> dict[str, str]:
        return {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin", TOKEN: self.workshop.token}

    def post(
        self,
        action: str,
        body: bytes = b"",
        *,
        slug: str = "mill",
        headers: dict[str, str] | None = None,
        **values: Any,
    ) -> Answer:
        id = self.shown.tiles("old")[slug]["id"] if slug != "nowhere" else "0" * 12
        path = f"/api/pictures/{id}/{action}?{urlencode(values)}"
        return self.client.request("POST", path, self.headers if headers is None else headers, body)

    def ended(self) -> list[dict[str, Any]]:
        """All jobs, when none is under way any more."""
        end = threading.Event()
        for _ in range(WAIT_S * 50):
            jobs = self.client.get("/api/overview").json()["jobs"]
            if all(job["state"] in ("done", "failed") for job in jobs):
                return jobs
            end.wait(0.02)
        raise AssertionError("something is still under way")

    def do(self, action: str, body: bytes = b"", **values: Any) -> dict[str, Any]:
        """The job of one action, ended."""
        answer = self.post(action, body, **values)
        assert answer.status_code == 202, answer.text
        return self.ended()[-1]


@pytest.fixture
def acting(shown: Shown) -> Iterator[Acting]:
    workshop = Workshop(shown.survey)
    yield Acting(shown, workshop)
    workshop.stop(WAIT_S)


def plan_of(acting: Acting) -> tuple[Any, Any]:
    plan = acting.shown.game.plan()
    return plan["stale"], plan["faults"]


def test_rerolled_and_picked_it_is_the_game_s_picture_and_nothing_is_left_to_do(acting: Acting) -> None:
    game = acting.shown.game
    job = acting.do("reroll", count=2)
    assert (job["state"], job["told"], job["done"], job["total"]) == ("done", "takes 1 to 2 are there", 2, 2)
    job = acting.do("pick", take=2, **BY)
    assert job["decided"].startswith("take 2, picked by Ada on ")
    assert "is that picture now" in job["told"]
    take = game.data.takes_root / "west/old/landscape/mill/take-2.png"
    assert file_of(game).read_bytes() == take.read_bytes()
    assert choices_file(game).read_text().count("act: pick") == 1
    assert plan_of(acting) == ([], [])
    assert acting.do("reroll", count=2)["told"] == "takes 3 to 4 are there"
    reword(game)
    assert acting.do("reroll", count=1)["told"] == "take 1 is there"  # those of before are of other words


def test_locked_and_let_go(acting: Acting) -> None:
    game, was = acting.shown.game, file_of(acting.shown.game).read_bytes()
    assert acting.do("lock", **BY)["decided"].startswith("locked by Ada")
    reword(game)
    game.bring_up()
    assert file_of(game).read_bytes() == was
    acting.shown.look()
    assert acting.shown.tiles("old")["mill"]["state"] == "locked"
    assert "is to be rendered" in acting.do("unlock")["told"]
    assert not choices_file(game).exists()


def test_adopted_and_put_back(acting: Acting, tmp_path: Path) -> None:
    game, was = acting.shown.game, file_of(acting.shown.game).read_bytes()
    mine = tmp_path / "mine.png"
    shutil.copyfile(file_of(game), mine)
    retouch(mine)
    acting.do("adopt", mine.read_bytes(), name="mine.png", **BY)
    assert file_of(game).read_bytes() != was
    acting.shown.look()
    assert acting.shown.tiles("old")["mill"]["state"] == "adopted"
    versions = acting.shown.details("old", "mill")["versions"]
    assert [version["labels"][0] for version in versions][:1] == ["in the game"]
    (before,) = [version for version in versions if "as it would be made now" in version["labels"]]
    acting.do("restore", version=before["version"], **BY)
    assert file_of(game).read_bytes() == was
    assert plan_of(acting) == ([], [])


# action, body, values, status, what is told
REFUSED: dict[str, tuple[str, bytes, dict[str, Any], int, str]] = {
    "nobody decides it": ("lock", b"", {}, 409, "say who decides it"),
    "no take": ("pick", b"", BY, 409, "take: is missing"),
    "a take that is none": ("pick", b"", {**BY, "take": "two"}, 409, "is 'two', and no number"),
    "no version": ("restore", b"", BY, 409, "no version begins with ''"),
    "nothing to let go of": ("unlock", b"", {}, 409, "nothing is chosen"),
    "no file": ("adopt", b"", BY, 409, "choose a file"),
    "a text as a picture": ("adopt", b"my words", {**BY, "name": "words.txt"}, 409, "words.txt: is no picture"),
    "a name that is a path": ("adopt", b"my words", {**BY, "name": "../../x.png"}, 409, "_.._x.png: is no picture"),
    "a body nobody asked for": ("lock", b"x", BY, 413, "is not asked for"),
    "too large a file": ("adopt", bytes(MOST_BYTES + 1), {**BY, "name": "a.png"}, 413, "is larger than 64 MiB"),
    "an unknown action": ("delete", b"", BY, 404, "no such action"),
    "an unknown picture": ("lock", b"", {**BY, "slug": "nowhere"}, 404, "no such picture"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_decided_is_told_and_changes_nothing(case: str, acting: Acting) -> None:
    action, body, values, status, told = REFUSED[case]
    was = file_of(acting.shown.game).read_bytes()
    answer = acting.post(action, body, **values)
    assert (answer.status_code, told in answer.text) == (status, True), answer.text
    assert "sq-gallery-" not in answer.text  # where the file was meanwhile is nobody's business
    assert "Traceback" not in answer.text
    assert acting.ended() == []
    assert not choices_file(acting.shown.game).exists()
    assert file_of(acting.shown.game).read_bytes() == was


Change = Callable[[dict[str, str]], dict[str, str]]
_OTHER = "http://evil.example"
STRANGERS: dict[str, tuple[Change, int]] = {
    "the page itself": (lambda given: given, 202),
    "the page, of a browser that says less": (lambda given: without(given, "Sec-Fetch-Site"), 202),
    "no token": (lambda given: without(given, TOKEN), 403),
    "an empty token": (lambda given: {**given, TOKEN: ""}, 403),
    "a wrong token": (lambda given: {**given, TOKEN: given[TOKEN][:-1] + "!"}, 403),
    "a token that is no ASCII": (lambda given: {**given, TOKEN: "é"}, 403),
    "another origin": (lambda given: {**given, "Origin": _OTHER}, 403),
    "another port": (lambda given: {**given, "Origin": "http://127.0.0.1:1"}, 403),
    "no origin": (lambda given: without(given, "Origin"), 403),
    "a page of a file": (lambda given: {**given, "Origin": "null"}, 403),
    "another site": (lambda given: {**given, "Sec-Fetch-Site": "cross-site"}, 403),
    "another port of this machine": (lambda given: {**given, "Sec-Fetch-Site": "same-site"}, 403),
    "another host": (lambda given: {**given, "Host": "evil.example", "Origin": _OTHER}, 403),
}


def without(given: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in given.items() if key != name}


@pytest.mark.parametrize("case", STRANGERS)
def test_only_the_gallery_s_own_page_may_have_something_done(case: str, acting: Acting) -> None:
    change, status = STRANGERS[case]
    assert acting.post("lock", headers=change(acting.headers), **BY).status_code == status
    assert choices_file(acting.shown.game).exists() == (status == 202)
    acting.ended()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_no_other_method_is_answered(method: str, acting: Acting) -> None:
    answer = acting.client.request(method, "/api/overview", acting.headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize("action", ACTIONS)
def test_for_looking_only_nothing_is_done(action: str, acting: Acting) -> None:
    acting.client = Client(gallery_app(acting.shown.survey, None))
    assert acting.post(action, **BY).status_code == 405
    page = acting.client.get("/").text
    assert "data-read-only" in page
    assert "gallery-token" not in page


def test_each_start_has_a_token_of_its_own_which_only_the_page_shows(acting: Acting) -> None:
    (shown,) = re.findall(r'name="gallery-token" content="([^"]+)"', acting.client.get("/").text)
    assert shown == acting.workshop.token != Workshop(acting.shown.survey).token
    assert acting.workshop.token not in acting.client.get("/api/overview").text


def test_while_a_run_is_under_way_a_choice_is_kept_for_the_next_one(acting: Acting) -> None:
    with hold_run_lock(acting.shown.game.data, lambda _line: None):
        assert "the next one puts west/old/mill in place" in acting.do("lock", **BY)["told"]
    assert choices_file(acting.shown.game).exists()


def test_without_a_store_nobody_sees_a_traceback(acting: Acting, capfd: pytest.CaptureFixture[str]) -> None:
    game = acting.shown.game
    shutil.rmtree(game.data.store_root)
    assert acting.do("reroll", count=1)["state"] == "done"  # of the adapters that are in use
    assert "no version begins with" in acting.post("restore", version="0" * 64, **BY).text
    assert acting.do("lock", **BY)["state"] == "done"
    shutil.rmtree(game.data.store_root)
    shutil.rmtree(game.data.lora_root)
    job = acting.do("reroll", count=1, slug="mine")
    assert job["state"] == "failed"
    assert all(fault["problem"] for fault in job["faults"])
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_bug_of_ours_is_told_without_ending_the_workshop(
    acting: Acting, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("sq_pipeline.gallery.actions.place_now", fail)
    job = acting.do("lock", **BY)
    assert job["faults"][0]["problem"] == "RuntimeError: no such luck"
    assert "Traceback" in capfd.readouterr().err
    monkeypatch.undo()
    assert acting.do("unlock")["state"] == "done"


def test_the_end_stops_after_the_present_picture(acting: Acting, monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = acting.shown.game.engines.renderer
    render, began, may_go_on = renderer.render, threading.Event(), threading.Event()

    def slow(*given: Any, **more: Any) -> Any:
        began.set()
        assert may_go_on.wait(WAIT_S)
        return render(*given, **more)

    monkeypatch.setattr(renderer, "render", slow)
    acting.post("reroll", count=4)
    assert began.wait(WAIT_S)
    acting.workshop.stop()
    may_go_on.set()
    (job,) = acting.ended()
    assert (job["state"], job["told"], job["done"]) == ("failed", "the gallery has ended", 1)
