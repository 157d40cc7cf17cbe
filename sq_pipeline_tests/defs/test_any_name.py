"""Whatever a folder, a name, a slug or a key is called: all other worlds are planned and made, and definitions load."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.defs.runs import bring_up_to_date
from sq_pipeline_tests.pipeline.fast import FastEngines, chapter, poi, write_yaml

_folders = st.text(
    alphabet=st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)
_texts = st.text(max_size=300)
_ODD = [
    "dust-and-lead",
    "alpha copy",
    "龙门",
    "o'hare",
    "🏜️",
    "x" * 200,
    "y" * 250,
    "a,b",
    "50%",
    "[red]",
    "a:b",
    "Old",
    "{slug}",
]


def write(root: Path, genre: str, world: str, name: Any, slug: Any, key: str) -> DataDir:
    data = DataDir(root)
    write_yaml(data.genre_root("sound") / "worlds/old/history.yaml", {"chapters": [chapter(poi("Mill"))]})
    place = {"name": name, "slug": slug, key: "x", "visual_prompt": "a mill"}
    path = data.genre_root(genre) / "worlds" / world / "history.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"chapters": [{"points_of_interest": [place]}]}), encoding="utf-8")
    return data


@given(genre=_folders, world=_folders, name=_texts, slug=st.none() | _texts, key=_texts)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_leaves_the_definitions_loadable(
    tmp_path_factory: pytest.TempPathFactory, genre: str, world: str, name: str, slug: str | None, key: str
) -> None:
    data = write(tmp_path_factory.mktemp("any") / "game", genre, world, name, slug, key)
    graph = build_defs(data=data, make_engines=FastEngines()).resolve_asset_graph()
    assert "sound/worlds/old/poi_images" in {found.to_user_string() for found in graph.get_all_asset_keys()}


@pytest.mark.parametrize("odd", _ODD)
def test_odd_names_are_made_like_any_other(tmp_path: Path, odd: str) -> None:
    data = write(tmp_path / "game", odd, odd, odd, None, "x")
    with open_instance(data) as instance:
        report = bring_up_to_date(data, instance, None, lambda _: None, FastEngines())
        assert (report.failed, report.blocked) == ([], [])
        assert {(item["genre"], item["world"]) for item in report.rendered} == {("sound", "old"), (odd, odd)}
        assert all((data.root / item["path"]).is_file() for item in report.rendered)
        assert bring_up_to_date(data, instance, None, lambda _: None, FastEngines()).rendered == []
