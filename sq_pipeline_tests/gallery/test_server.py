"""The server's answers: who may ask, what a browser is told, what is served and what never is."""

import re
from pathlib import Path

import pytest
from PIL import Image

from sq_pipeline.gallery.guard import HEADERS
from sq_pipeline.gallery.pages import SCRIPTS, STYLES
from sq_pipeline.gallery.server import gallery_app
from sq_pipeline_tests.gallery.asking import Client
from sq_pipeline_tests.gallery.conftest import HTML, Shown


@pytest.fixture
def client(shown: Shown) -> Client:
    return Client(gallery_app(shown.survey, None))


_OURS = ["localhost", "localhost:3010", "127.0.0.1:3010", "[::1]", "[::1]:3010"]
_OTHERS = ["evil.example", "evil.example:3010", "127.0.0.1.evil.example", "localhost.", "", "[::1].x", "10.0.0.1:3010"]


@pytest.mark.parametrize("host", _OURS + _OTHERS)
def test_only_this_machine_s_own_names_are_answered(client: Client, host: str) -> None:
    for path in ("/", "/api/overview", "/static/page.js"):
        assert client.get(path, headers={"Host": host}).status_code == (200 if host in _OURS else 403)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_it_is_only_read(client: Client, method: str) -> None:
    answer = client.request(method, "/api/overview")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/api/overview", "/nowhere", "/pictures/0"])
def test_every_answer_carries_the_headers(client: Client, path: str) -> None:
    answer = client.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "unsafe" not in answer.headers["content-security-policy"]
    refused = client.get(path, headers={"Host": "evil.example"})
    assert refused.headers["x-content-type-options"] == "nosniff"


def test_the_page_has_no_script_and_no_style_of_its_own_and_names_nothing_elsewhere(client: Client) -> None:
    page = client.get("/").text
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|//", page.replace("<!doctype", ""))
    named = re.findall(r'(?:src|href)="(static/[^"]+)"', page)
    assert len(named) == len(SCRIPTS) + len(STYLES) + 1
    for address in named:
        answer = client.get(f"/{address}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert "immutable" not in client.get("/static/page.js?other").headers["cache-control"]


def test_scripts_name_no_other_host_and_write_no_markup() -> None:
    import sq_pipeline.gallery

    folder = Path(sq_pipeline.gallery.__file__).parent / "static"
    assert {path.name for path in folder.iterdir()} == {*SCRIPTS, *STYLES, "icon.svg"}
    for path in folder.glob("*.js"):
        said = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", said), (
            path
        )
        assert not re.search(r"https?:", said), path


_PATHS = [
    "/static/../server.py", "/static/..", "/static/page.html", "/pictures/../../sq.yaml", "/static/../pages.py",
    "/pictures//etc/passwd", "/thumbs/../../../etc/passwd", "/api/groups/x", "/api/pictures/x", "/static/",
]  # fmt: skip


@pytest.mark.parametrize("path", _PATHS)
def test_no_address_leads_to_a_file_that_is_not_in_the_index(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_pictures_come_by_their_hash_and_only_while_they_have_it(client: Client, shown: Shown) -> None:
    digits = shown.tiles("old")["mill"]["picture"]["sha"]
    answer = client.get(f"/pictures/{digits}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert "immutable" in answer.headers["cache-control"]
    stored = next(shown.game.data.store_root.glob(f"objects/*/{digits}*"))
    published = shown.game.data.published_image("west", "landscape", "mill")
    assert answer.content == stored.read_bytes()
    stored.write_bytes(b"other bytes")
    assert client.get(f"/pictures/{digits}").status_code == 404
    shown.look()
    assert client.get(f"/pictures/{digits}").content == published.read_bytes()  # the game has it still


def test_an_overview_that_did_not_change_is_not_sent_again(client: Client, shown: Shown) -> None:
    first = client.get("/api/overview")
    again = client.get("/api/overview", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    shown.game.edit("visual_style.yaml", {"positive_suffix": "narrow"})
    shown.look()
    assert client.get("/api/overview", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_names_with_markup_are_only_texts_of_json(in_states: Shown) -> None:
    client = Client(gallery_app(in_states.survey, None))
    assert HTML not in client.get("/").text
    told = client.get(f"/api/groups/{in_states.group('old')['id']}")
    assert told.headers["content-type"] == "application/json"
    assert HTML in [tile["name"] for tile in told.json()["tiles"]]


def test_a_large_picture_has_a_small_one_for_the_grid(shown: Shown, tmp_path: Path) -> None:
    place = shown.game.data.published_image("west", "landscape", "mill")
    Image.effect_noise((1200, 900), 60).convert("RGB").save(place)
    shown.look()
    picture = shown.tiles("old")["mill"]["picture"]
    assert (picture["w"], picture["h"], picture["thumb"]) == (1200, 900, True)
    client = Client(gallery_app(shown.survey, None))
    thumb = client.get(f"/thumbs/{picture['sha']}")
    assert thumb.headers["content-type"] == "image/webp"
    assert len(thumb.content) < len(client.get(f"/pictures/{picture['sha']}").content) / 4
    assert client.get("/thumbs/0").status_code == 404
