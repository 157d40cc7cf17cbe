"""How a world's stack and a place become a prompt and a seed. Not here: reading them from files, real tokenizers."""

import hashlib
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.base_models.ports import TokenCounts
from sq_pipeline.common.errors import ContentError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.packs import read_catalog
from sq_pipeline.content.prompts import Prompt, seed_for, write_prompt
from sq_pipeline.content.records import LoraEntry, Style, Subject, World
from sq_pipeline.content.stacks import overlay_entries, stack_for, triggers_of
from sq_pipeline_tests.content.pack_writing import GENRE_STYLE, ONE_ENTRY, WORLD_HISTORY, write


@dataclass(frozen=True)
class WordCounter:
    """Counts words where a model counts tokens."""

    budget: int = 10_000
    clip_budget: int = 10_000

    def count_tokens(self, text: str) -> TokenCounts:
        words = len(text.split())
        return TokenCounts("T5", words, self.budget, words, self.clip_budget)


def entry(name: str, trigger: str | None, *tiers: str) -> LoraEntry:
    return LoraEntry(name, f"western/{name}.safetensors", 1.0, tiers or ("landscape",), trigger)


def world_with(*entries: LoraEntry, style: Style | None = None) -> World:
    return World("western", "dust", style or Style(), entries)


FULL_STYLE = Style(
    positive_suffix="wide shot",
    negative_prompt="text, watermark",
    base_seed=7,
    tier_suffixes={"landscape": "establishing shot", "portrait": "close up"},
    tag_overrides={"sacred": "old stone", "town": "wood"},
)
MILL = Subject("Old Mill", "old_mill", "A mill by the river. Empty for years. Crows live here.", kind="sacred")


def positive(world: World, poi: Subject, tier: Tier = "landscape", budget: int = 10_000) -> str:
    return write_prompt(world, poi, tier, WordCounter(budget)).positive_prompt


# assembling


def test_all_parts_in_their_order():
    world = world_with(entry("base", "western_style"), entry("dust", "dust_style"), style=FULL_STYLE)
    assert positive(world, MILL) == (
        "western_style, dust_style, Old Mill: A mill by the river. Empty for years. Crows live here., old stone, "
        "establishing shot, wide shot"
    )


def test_the_whole_record():
    prompt = write_prompt(world_with(style=FULL_STYLE), Subject("Mill", "mill", "Old."), "portrait", WordCounter(9, 3))
    assert prompt == Prompt(
        genre="western",
        world="dust",
        poi="Mill",
        slug="mill",
        tier="portrait",
        positive_prompt="Mill: Old., close up, wide shot",
        negative_prompt="text, watermark",
        seed=seed_for("western", "dust", "Mill", "portrait", 7),
        counts=TokenCounts("T5", 6, 9, clip=6, clip_budget=3),
        dropped=(),
    )
    assert not prompt.counts.fits  # CLIP sees the beginning only, and the record says so


@pytest.mark.parametrize(
    ("triggers", "expected"),
    [
        ([], ""),
        ([None], ""),
        (["a"], "a, "),
        (["a", "b"], "a, b, "),
        (["b", "a"], "b, a, "),
        (["a", "a"], "a, "),
        (["b", "a", "b", None, "c", "a"], "b, a, c, "),
        (["a", "A"], "a, A, "),
    ],
)
def test_triggers_come_once_in_the_order_of_the_stack(triggers: list[str | None], expected: str):
    entries = [entry(f"n{index}", trigger) for index, trigger in enumerate(triggers)]
    assert positive(world_with(*entries), Subject("Mill", "mill", visual_prompt="a mill")) == f"{expected}a mill"


@given(triggers=st.lists(st.none() | st.sampled_from(["a", "b", "c", "d"]), max_size=12))
@settings(deadline=None, max_examples=60)
def test_each_trigger_is_kept_once_where_it_first_stands(triggers: list[str | None]):
    kept = triggers_of(entry(f"n{index}", trigger) for index, trigger in enumerate(triggers))
    assert set(kept) == set(triggers) - {None}
    assert list(kept) == sorted(set(kept), key=triggers.index)


def test_only_the_triggers_that_apply_to_the_tier_are_active():
    world = world_with(
        entry("a", "land", "landscape"), entry("b", "face", "portrait"), entry("c", "both", "scene", "portrait")
    )
    poi = Subject("Mill", "mill", visual_prompt="a mill")
    assert {tier: positive(world, poi, tier) for tier in ("landscape", "portrait", "scene", "creature")} == {
        "landscape": "land, a mill",
        "portrait": "face, both, a mill",
        "scene": "both, a mill",
        "creature": "a mill",
    }


@pytest.mark.parametrize(
    "visual_prompt",
    [
        "a mill",
        "A mill. By the river! Why? Nobody knows.",
        "a mill,",
        "a mill,,",
        ", a mill , ",
        "a  mill\n  by the river\n",
        "(a mill:1.2), [river], ünïcödé 🌵",
        "Old Mill: a mill",
    ],
)
@pytest.mark.parametrize("style", [Style(), FULL_STYLE])
def test_a_visual_prompt_goes_in_verbatim_and_the_description_stays_out(visual_prompt: str, style: Style):
    poi = Subject("Old Mill", "old_mill", "Never to be seen.", visual_prompt, kind="town")
    text = positive(world_with(entry("a", "trig"), style=style), poi)
    assert text.startswith(f"trig, {visual_prompt}")
    assert "Never to be seen" not in text
    if style is FULL_STYLE:
        assert text.endswith("wood, establishing shot, wide shot")


@given(visual_prompt=st.text(min_size=1, max_size=60), suffix=st.text(max_size=20))
@settings(deadline=None, max_examples=100)
def test_any_visual_prompt_is_verbatim_in_the_prompt(visual_prompt: str, suffix: str):
    world = world_with(entry("a", "trig"), style=Style(positive_suffix=suffix))
    text = positive(world, Subject("Mill", "mill", "x", visual_prompt))
    assert text.startswith(f"trig, {visual_prompt}")
    assert suffix.strip(", \t\r\n") in text


@pytest.mark.parametrize(
    ("poi", "expected"),
    [
        (Subject("Old Mill", "old_mill", "By the river"), "Old Mill: By the river"),
        (Subject("Old Mill", "old_mill", "By the river.\nEmpty.  Dark!"), "Old Mill: By the river.\nEmpty.  Dark!"),
        (Subject("St. Mary's", "st_marys", "A church. Cold."), "St. Mary's: A church. Cold."),
        (Subject("Mill", "mill", "At 3.5 miles, e.g. here"), "Mill: At 3.5 miles, e.g. here"),
        (Subject("Mill", "mill", "x", visual_prompt=""), "Mill: x"),
    ],
)
def test_without_a_visual_prompt_name_and_description_go_in(poi: Subject, expected: str):
    assert positive(world_with(), poi) == expected


@pytest.mark.parametrize(
    ("kind", "tier", "tail"),
    [
        ("sacred", "landscape", "old stone, establishing shot, wide shot"),
        ("town", "portrait", "wood, close up, wide shot"),
        ("town", "creature", "wood, wide shot"),
        ("unknown", "landscape", "establishing shot, wide shot"),
        (None, "landscape", "establishing shot, wide shot"),
    ],
)
def test_the_tail_is_of_the_type_and_the_tier(kind: str | None, tier: Tier, tail: str):
    poi = Subject("Mill", "mill", visual_prompt="a mill", kind=kind)
    assert positive(world_with(style=FULL_STYLE), poi, tier) == f"a mill, {tail}"


def test_a_culture_follows_the_description_and_goes_last_but_one():
    ada = Subject("Ada", "ada", "Tall. Grey.", culture=" river folk, ", kind="town")
    world = world_with(style=FULL_STYLE)
    assert positive(world, ada, "portrait") == "Ada: Tall. Grey., river folk, wood, close up, wide shot"
    assert positive(world, ada, "portrait", 5) == "Ada: Tall., river folk, wood"
    fitted = write_prompt(world, ada, "portrait", WordCounter(2))
    assert fitted.positive_prompt == "Ada: Tall."
    assert fitted.dropped == ("description sentence 2", "positive suffix", "tier suffix", "type tags", "culture")


def test_a_visual_prompt_says_the_culture_itself():
    ada = Subject("Ada", "ada", visual_prompt="a tall woman", culture="river folk")
    assert positive(world_with(), ada, "portrait") == "a tall woman"


@pytest.mark.parametrize("suffix", ["wide shot", " wide shot ", "wide shot,", ", wide shot, ", "\nwide shot\n"])
def test_suffixes_are_joined_with_one_comma(suffix: str):
    style = Style(positive_suffix=suffix, tier_suffixes={"landscape": " , "})
    assert positive(world_with(style=style), Subject("Mill", "mill", visual_prompt="a mill")) == "a mill, wide shot"


def test_a_chapter_s_prose_never_reaches_a_prompt(data: DataDir):
    write(data, GENRE_STYLE, ONE_ENTRY + "positive_suffix: wide shot\nnarrator_voice: LEAK1\n")
    write(
        data,
        WORLD_HISTORY,
        """
        atmosphere: LEAK2
        chapters:
          - title: LEAK3
            atmosphere: LEAK4
            location: LEAK5
            narrative_log: [LEAK6]
            description: LEAK7
            visual_prompt: LEAK8
            points_of_interest:
              - name: Old Mill
                description: By the river.
                atmosphere: LEAK9
                region: LEAK10
                type: LEAK11
              - name: Inn
                description: LEAK12
                visual_prompt: {solo: an inn, crowd: LEAK13}
        """,
    )
    world = read_catalog(data).worlds["western/dust"]
    prompts = [write_prompt(world, poi, "landscape", WordCounter()) for poi in world.pois]
    assert [prompt.positive_prompt for prompt in prompts] == [
        "western_style, Old Mill: By the river., wide shot",
        "western_style, an inn, wide shot",
    ]
    assert "LEAK" not in repr(prompts)


# seeds


@pytest.mark.parametrize("base_seed", [0, 42, 2**32 - 1, 2**40, -5])
@pytest.mark.parametrize(("name", "tier"), [("Old Mill", "landscape"), ("Café", "portrait")])
def test_a_seed_is_eight_digits_of_the_hash_plus_the_base_seed(name: str, tier: Tier, base_seed: int):
    digest = hashlib.sha256(f"western:dust:{name}:{tier}".encode()).digest()
    expected = (int.from_bytes(digest[:4], "big") + base_seed) % 4294967296
    assert seed_for("western", "dust", name, tier, base_seed) == expected
    world = world_with(style=Style(base_seed=base_seed))
    assert write_prompt(world, Subject(name, "slug", "x"), tier, WordCounter()).seed == expected


def test_a_known_seed():
    """`printf 'western:dust:Old Mill:landscape' | sha256sum` begins with these eight digits."""
    assert seed_for("western", "dust", "Old Mill", "landscape", 0) == 0x94FB9707


def test_each_part_of_the_identity_counts():
    parts = ("western", "dust", "Mill", "landscape")
    changed = [(*parts[:index], f"{parts[index]}x", *parts[index + 1 :]) for index in range(4)]
    assert len({seed_for(genre, world, name, tier, 0) for genre, world, name, tier in (parts, *changed)}) == 5


@given(base_seed=st.integers(-(2**40), 2**40))
@settings(deadline=None, max_examples=50)
def test_seeds_fit_32_bits_and_follow_the_base_seed(base_seed: int):
    seed = seed_for("g", "w", "n", "t", base_seed)
    assert 0 <= seed < 2**32
    assert seed_for("g", "w", "n", "t", base_seed + 1) == (seed + 1) % 2**32


# the budget


_DROPS = (
    "description sentence 3",
    "description sentence 2",
    "positive suffix",
    "tier suffix",
    "type tags",
)


@pytest.mark.parametrize(
    ("budget", "dropped", "text"),
    [
        # 2 trigger-and-name words, 5 + 3 + 3 in the description, 2 + 2 + 2 in the tail
        (
            20,
            0,
            "trig, Old Mill: A mill by the river. Empty for years. Crows live here., "
            "old stone, establishing shot, wide shot",
        ),
        (19, 1, "trig, Old Mill: A mill by the river. Empty for years., old stone, establishing shot, wide shot"),
        (17, 1, "trig, Old Mill: A mill by the river. Empty for years., old stone, establishing shot, wide shot"),
        (16, 2, "trig, Old Mill: A mill by the river., old stone, establishing shot, wide shot"),
        (13, 3, "trig, Old Mill: A mill by the river., old stone, establishing shot"),
        (11, 4, "trig, Old Mill: A mill by the river., old stone"),
        (9, 5, "trig, Old Mill: A mill by the river."),
        (8, 5, "trig, Old Mill: A mill by the river."),
    ],
)
def test_parts_are_dropped_in_the_stated_order_and_recorded(budget: int, dropped: int, text: str):
    prompt = write_prompt(world_with(entry("a", "trig"), style=FULL_STYLE), MILL, "landscape", WordCounter(budget))
    assert prompt.positive_prompt == text
    assert prompt.dropped == _DROPS[:dropped]
    assert prompt.counts.tokens == len(text.split()) <= budget


def test_a_visual_prompt_is_never_cut():
    poi = Subject("Mill", "mill", "x", "one two. three four. five six.", kind="sacred")
    prompt = write_prompt(world_with(entry("a", "trig"), style=FULL_STYLE), poi, "landscape", WordCounter(7))
    assert prompt.positive_prompt == "trig, one two. three four. five six."
    assert prompt.dropped == ("positive suffix", "tier suffix", "type tags")


def test_parts_that_are_not_there_are_not_recorded_as_dropped():
    style = Style(positive_suffix=" , ", tier_suffixes={"landscape": "a b"}, tag_overrides={"sacred": ""})
    poi = Subject("Mill", "mill", visual_prompt="a mill", kind="sacred")
    assert write_prompt(world_with(style=style), poi, "landscape", WordCounter(3)).dropped == ("tier suffix",)


@pytest.mark.parametrize(
    ("poi", "field"),
    [
        (Subject("Mill", "mill", visual_prompt="a b c d e"), "visual_prompt"),
        (Subject("Mill", "mill", "b c d e. f"), "description"),
    ],
)
def test_a_prompt_that_cannot_fit_is_an_error(poi: Subject, field: str):
    with pytest.raises(ContentError) as caught:
        write_prompt(world_with(entry("a", "trig"), style=FULL_STYLE), poi, "landscape", WordCounter(5))
    (fault,) = caught.value.faults
    assert fault.file == "western/dust"
    assert fault.field == f"Mill: {field}"
    assert fault.problem == "6 tokens, the model reads 5"
    assert fault.hint


def test_clip_s_budget_drops_nothing():
    prompt = write_prompt(world_with(style=FULL_STYLE), MILL, "landscape", WordCounter(clip_budget=1))
    assert prompt.dropped == ()
    assert prompt.counts.is_cut_by_clip


_sentences = st.lists(st.sampled_from(["One two.", "Three!", "Four five six?", "Seven"]), min_size=1, max_size=6)


@given(sentences=_sentences, budget=st.integers(1, 24), has_visual_prompt=st.booleans())
@settings(deadline=None, max_examples=150)
def test_within_any_budget_the_prompt_fits_or_is_refused(sentences: list[str], budget: int, has_visual_prompt: bool):
    world = world_with(entry("a", "trig"), style=FULL_STYLE)
    poi = Subject("Mill", "mill", " ".join(sentences), "a fine mill" if has_visual_prompt else None, kind="town")
    # a sentence without an end mark goes on
    ends = [index + 1 for index, sentence in enumerate(sentences) if sentence != "Seven"]
    first = " ".join(sentences[: ends[0] if ends else None])
    least = "trig, a fine mill" if has_visual_prompt else f"trig, Mill: {first}"
    try:
        prompt = write_prompt(world, poi, "landscape", WordCounter(budget))
    except ContentError:
        assert len(least.split()) > budget
    else:
        assert prompt.counts.tokens <= budget
        assert prompt.positive_prompt.startswith(least)
        assert bool(prompt.dropped) == (len(positive(world, poi).split()) > budget)


# stacks


def test_overlaying_keeps_the_order():
    first, second, third, own = (entry(name, None) for name in ("first", "second", "third", "own"))
    assert overlay_entries([first, second, third], ["second"], [own]) == (first, third, own)
    assert overlay_entries([first], [], []) == (first,)
    assert overlay_entries([], ["nobody"], [own]) == (own,)


@given(
    names=st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8),
    exclude=st.sets(st.sampled_from("abcdefgh")),
    tiers=st.lists(st.sets(st.sampled_from(["landscape", "portrait"]), min_size=1), min_size=8, max_size=8),
)
@settings(deadline=None, max_examples=60)
def test_a_stack_is_exactly_what_applies_in_order(names: list[str], exclude: set[str], tiers: list[set[str]]):
    entries = [entry(name, None, *sorted(given_tiers)) for name, given_tiers in zip(names, tiers, strict=False)]
    world = world_with(*overlay_entries(entries, exclude, []))
    for tier in ("landscape", "portrait"):
        stack = [item.name for item in stack_for(world, tier)]
        assert stack == [item.name for item in entries if tier in item.applies_to and item.name not in exclude]
