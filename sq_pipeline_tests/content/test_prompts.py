"""How a world's stack and a place become a prompt and a seed. Not here: reading them from files, real tokenizers."""

import hashlib
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.base_models.ports import TokenCounts
from sq_pipeline.common.errors import ContentError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.fitting import is_safety, split_commas, split_sentences
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
    ("subject", "expected"),
    [
        (Subject("Old Mill", "old_mill", "By the river. Cold."), "By the river. Cold."),
        (Subject("Ada", "ada", "tall, grey", role="Keeper"), "Keeper, tall, grey"),
        (Subject("Ada", "ada", role="Keeper"), "Keeper"),
        (Subject("Old Mill", "old_mill"), "Old Mill"),  # there is nothing else to say
        (Subject("Old Mill", "old_mill", "x", "Old Mill at noon"), "Old Mill at noon"),
    ],
)
def test_a_style_may_leave_names_out(subject: Subject, expected: str):
    assert positive(world_with(style=Style(name_in_prompt=False)), subject) == expected


def test_a_name_that_is_left_out_takes_no_room():
    world = world_with(style=Style(name_in_prompt=False))
    ada = Subject("Ada of the Long Road", "ada", "Tall. Grey.")
    assert positive(world, ada, "portrait", 2) == "Tall. Grey."


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
    assert positive(world, ada, "portrait", 9) == "Ada: Tall., river folk, wood, close up, wide shot"
    fitted = write_prompt(world, ada, "portrait", WordCounter(7))
    assert fitted.positive_prompt == "Ada: Tall., wood, close up, wide shot"
    assert fitted.dropped == ("Grey.", "river folk")


def test_a_role_goes_before_and_what_is_around_a_person_after_the_rest():
    ada = Subject("Ada", "ada", "tall", culture="wool", role="Keeper", element="a rope, no letters")
    assert positive(world_with(style=FULL_STYLE), ada, "portrait") == (
        "Ada: Keeper, tall, wool, a rope, no letters, close up, wide shot"
    )
    assert positive(world_with(), Subject("Ada", "ada", role="Keeper")) == "Ada: Keeper"


def test_a_tier_may_have_a_positive_suffix_of_its_own():
    style = replace(FULL_STYLE, tier_positive_suffixes={"portrait": "studio plate"})
    poi = Subject("Mill", "mill", visual_prompt="a mill")
    assert positive(world_with(style=style), poi, "portrait") == "a mill, close up, studio plate"
    assert positive(world_with(style=style), poi, "creature") == "a mill, wide shot"


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


_S2, _S3 = "Empty for years.", "Crows live here."


@pytest.mark.parametrize(
    ("budget", "dropped", "text"),
    [
        # 8 words of trigger, name and first sentence, 3 + 3 in the others, 2 + 2 + 2 in the style
        (
            20,
            (),
            "trig, Old Mill: A mill by the river. Empty for years. Crows live here., "
            "old stone, establishing shot, wide shot",
        ),
        (19, (_S3,), "trig, Old Mill: A mill by the river. Empty for years., old stone, establishing shot, wide shot"),
        (17, (_S3,), "trig, Old Mill: A mill by the river. Empty for years., old stone, establishing shot, wide shot"),
        (16, (_S2, _S3), "trig, Old Mill: A mill by the river., old stone, establishing shot, wide shot"),
        (14, (_S2, _S3), "trig, Old Mill: A mill by the river., old stone, establishing shot, wide shot"),
        # the tier's suffix and the tags give way to the positive suffix
        (13, (_S2, _S3, "establishing shot"), "trig, Old Mill: A mill by the river., old stone, wide shot"),
        (11, (_S2, _S3, "old stone", "establishing shot"), "trig, Old Mill: A mill by the river., wide shot"),
        (10, (_S2, _S3, "old stone", "establishing shot"), "trig, Old Mill: A mill by the river., wide shot"),
        # only where a person allows it
        (9, (_S2, _S3, "old stone", "establishing shot", "wide shot"), "trig, Old Mill: A mill by the river."),
        (8, (_S2, _S3, "old stone", "establishing shot", "wide shot"), "trig, Old Mill: A mill by the river."),
    ],
)
def test_parts_are_dropped_in_the_stated_order_and_recorded(budget: int, dropped: tuple[str, ...], text: str):
    world, counter = world_with(entry("a", "trig"), style=FULL_STYLE), WordCounter(budget)
    prompt = write_prompt(world, MILL, "landscape", counter, insists_on_style=False)
    assert prompt.positive_prompt == text
    assert prompt.dropped == dropped
    assert prompt.counts.tokens == len(text.split()) <= budget
    if budget >= 10:
        assert write_prompt(world, MILL, "landscape", counter) == prompt
    else:
        with pytest.raises(ContentError, match=r"no room for its style.*dropped_style: warn"):
            write_prompt(world, MILL, "landscape", counter)


def test_a_visual_prompt_is_never_cut():
    poi = Subject("Mill", "mill", "x", "one two. three four. five six, seven.", kind="sacred")
    world, counter = world_with(entry("a", "trig"), style=FULL_STYLE), WordCounter(8)
    prompt = write_prompt(world, poi, "landscape", counter, insists_on_style=False)
    assert prompt.positive_prompt == "trig, one two. three four. five six, seven."
    assert prompt.dropped == ("old stone", "establishing shot", "wide shot")


def test_a_description_of_one_sentence_is_cut_at_its_commas():
    poi = Subject("Mill", "mill", "a mill of stone, (old, and cold), with crows, and moss.")
    texts = {budget: positive(world_with(style=FULL_STYLE), poi, budget=budget) for budget in (16, 14, 13, 11)}
    tail = ", establishing shot, wide shot"
    assert texts == {
        16: f"Mill: a mill of stone, (old, and cold), with crows, and moss.{tail}",
        14: f"Mill: a mill of stone, (old, and cold), with crows{tail}",
        13: f"Mill: a mill of stone, (old, and cold){tail}",
        11: f"Mill: a mill of stone{tail}",
    }


def test_a_style_is_cut_from_the_right_and_keeps_its_beginning_and_what_is_for_safety():
    suffix = "printed plate, coarse lines, no letters, low sun, no watermark, long shadows, every figure fully clothed"
    world = world_with(style=Style(positive_suffix=suffix))
    poi = Subject("Mill", "mill", visual_prompt="a mill")
    floor = "a mill, printed plate, no letters, no watermark, every figure fully clothed"
    assert positive(world, poi, budget=12) == floor
    assert positive(world, poi, budget=13) == floor
    assert positive(world, poi, budget=14) == floor.replace("plate,", "plate, coarse lines,")
    assert positive(world, poi, budget=16) == floor.replace(
        "plate, no letters", "plate, coarse lines, no letters, low sun"
    )
    with pytest.raises(ContentError, match="no room for its style"):
        positive(world, poi, budget=11)
    least = write_prompt(world, poi, "landscape", WordCounter(6), insists_on_style=False)
    assert least.positive_prompt == "a mill, no letters, no watermark"


@pytest.mark.parametrize(
    ("tags", "shot", "budget", "dropped", "tail"),
    [
        ("no people", "wide shot", 6, ("wide shot",), "no people, dust"),  # what is said for safety never gives way
        ("old stone, no text", "wide shot", 6, ("old stone", "wide shot"), "no text, dust"),
        ("old stone", "wide shot, no text", 7, ("wide shot",), "old stone, no text, dust"),
        ("old stone", "wide shot", 5, ("wide shot",), "old stone, dust"),
        ("old stone", "", 4, ("old stone",), "dust"),
    ],
)
def test_tags_and_the_tier_s_suffix_give_way_before_there_is_no_room(
    tags: str, shot: str, budget: int, dropped: tuple[str, ...], tail: str
):
    style = Style(positive_suffix="dust", tier_suffixes={"landscape": shot}, tag_overrides={"town": tags})
    poi = Subject("Mill", "mill", visual_prompt="a mill", kind="town")
    prompt = write_prompt(world_with(style=style), poi, "landscape", WordCounter(budget))
    assert (prompt.positive_prompt, prompt.dropped) == (f"a mill, {tail}", dropped)


def test_what_is_left_out_is_told_without_the_commas_around_it():
    poi = Subject("Mill", "mill", "A mill, old, with crows,")
    assert write_prompt(world_with(style=Style()), poi, "landscape", WordCounter(4)).dropped == ("with crows",)


def test_parts_that_are_not_there_are_not_recorded_as_dropped():
    style = Style(positive_suffix=" , ", tier_suffixes={"landscape": "a b, c"}, tag_overrides={"sacred": ""})
    poi = Subject("Mill", "mill", visual_prompt="a mill", kind="sacred")
    assert write_prompt(world_with(style=style), poi, "landscape", WordCounter(4)).dropped == ("c",)


@pytest.mark.parametrize(
    ("poi", "field"),
    [
        (Subject("Mill", "mill", visual_prompt="a b c d e", file="history.yaml", where="x[3]"), "x[3].visual_prompt"),
        (Subject("Mill", "mill", "b c d e. f", file="history.yaml", where="x[3]"), "x[3].description"),
    ],
)
def test_a_prompt_that_cannot_fit_is_an_error(poi: Subject, field: str):
    with pytest.raises(ContentError) as caught:
        write_prompt(world_with(entry("a", "trig"), style=FULL_STYLE), poi, "landscape", WordCounter(4))
    (fault,) = caught.value.faults
    assert (fault.file, fault.field) == ("history.yaml", field)
    assert "'Mill' has" in fault.problem
    assert "the model reads 4" in fault.problem
    assert fault.hint


def test_clip_s_budget_drops_nothing():
    prompt = write_prompt(world_with(style=FULL_STYLE), MILL, "landscape", WordCounter(clip_budget=1))
    assert prompt.dropped == ()
    assert prompt.counts.is_cut_by_clip


_sentences = st.lists(st.sampled_from(["One two.", "Three!", "St. Four five, six?", "Seven"]), min_size=1, max_size=6)


@given(sentences=_sentences, budget=st.integers(1, 30), has_visual_prompt=st.booleans(), insists=st.booleans())
@settings(deadline=None, max_examples=150)
def test_within_any_budget_the_prompt_fits_or_is_refused(
    sentences: list[str], budget: int, has_visual_prompt: bool, insists: bool
):
    world = world_with(entry("a", "trig"), style=FULL_STYLE)
    poi = Subject("Mill", "mill", " ".join(sentences), "a fine mill" if has_visual_prompt else None, kind="town")
    first = split_sentences(poi.description)[0]
    least = "trig, a fine mill" if has_visual_prompt else f"trig, Mill: {first.partition(',')[0]}"
    style = "wide shot"
    try:
        prompt = write_prompt(world, poi, "landscape", WordCounter(budget), insists_on_style=insists)
    except ContentError:
        assert len((f"{least}, {style}" if insists else least).split()) > budget
    else:
        assert prompt.counts.tokens <= budget
        assert prompt.positive_prompt.startswith(least)
        assert prompt.positive_prompt.endswith(style) or not insists
        whole = positive(world, poi)
        assert bool(prompt.dropped) == (len(whole.split()) > budget) == (prompt.positive_prompt != whole)


@given(text=st.text(alphabet='ab .,!?()"Mr1', max_size=60))
@settings(deadline=None, max_examples=150)
def test_cutting_loses_nothing(text: str):
    assert "".join(split_sentences(text)) == text
    assert "".join(", ".join(split_commas(text)).replace(",", "").split()) == "".join(text.replace(",", "").split())


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("St. Orrin keeps it. Mr. Tarn sweeps.", ["St. Orrin keeps it.", " Mr. Tarn sweeps."]),
        ("Candle smoke. Dr. J. R. Moss lives here", ["Candle smoke.", " Dr. J. R. Moss lives here"]),
        ("Stones, e.g. flint. And more.", ["Stones, e.g. flint.", " And more."]),
        ("Who? Nobody… “Go!” She went.", ["Who?", " Nobody…", " “Go!”", " She went."]),
        ("It is 3.5 m high, No. 7 of 9. Old.", ["It is 3.5 m high, No. 7 of 9.", " Old."]),
        ("The best. A lamp.", ["The best.", " A lamp."]),
        ("", [""]),
        ("no end", ["no end"]),
    ],
)
def test_sentences(text: str, sentences: list[str]):
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a, b,c , ,d,", ["a", "b", "c", "d"]),
        ("red (dark, deep), [x, y], {u, v}", ["red (dark, deep)", "[x, y]", "{u, v}"]),
        ('a sign "no, never", 1,000 birds', ['a sign "no, never"', "1,000 birds"]),
        ("unclosed (a, b", ["unclosed (a, b"]),
    ],
)
def test_parts_between_commas(text: str, parts: list[str]):
    assert split_commas(text) == parts


@pytest.mark.parametrize(
    ("part", "is_one"),
    [
        ("no letters", True),
        ("No watermark.", True),
        ("without text", True),
        ("every figure fully clothed in work dress", True),
        ("one subject", True),
        ("text-free", True),
        ("notable towers", False),
        ("north light", False),
        ("a coat of many pockets", False),
        ("nobody", False),
    ],
)
def test_what_is_said_for_safety(part: str, is_one: bool):
    assert is_safety(part) == is_one


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
