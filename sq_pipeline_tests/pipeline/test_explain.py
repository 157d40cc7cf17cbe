"""What changed, in words: a table of examples, and what must hold for any inputs."""

import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sq_pipeline.common.fingerprints import fingerprint, hash_bytes
from sq_pipeline.common.text import diff_words, drop_context
from sq_pipeline.pipeline.explain import describe_chain, explain_change
from sq_pipeline.pipeline.inputs import stack_inputs

_A, _B, _C = (hash_bytes(bytes([number])) for number in range(3))
_SHORT_A, _SHORT_B, _SHORT_C = (value[:19] for value in (_A, _B, _C))

# Words of prompts, hashes and what a terminal would stumble over, beside anything.
_texts = (
    st.text(max_size=300)
    | st.sampled_from([_A, _B, "sha256:", "", "None", "1"])
    | st.lists(st.sampled_from(["a", "mill", "wide,", "[x", "→", "…", "\n", "\x1b[31m", "x" * 200]), max_size=80).map(
        " ".join
    )
)
_scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
_values = st.recursive(
    _scalars | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=120), inner, max_size=9),
    max_leaves=12,
)
_names = st.sampled_from(["positive_prompt", "stack", "files", "keymap"]) | st.text(max_size=6)
_inputs = st.dictionaries(_names, _values, max_size=5)


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({}, {}, []),
        ({"a": 1, "b": [1]}, {"b": (1.0,), "a": 1.0}, []),
        ({"seed": 1}, {"seed": 2}, ["seed: 1 → 2"]),
        ({"b": 1, "a": "x", "c": 0}, {"b": 2, "a": "y", "c": 0}, ["a: x → y", "b: 1 → 2"]),
        ({}, {"trigger": "x"}, ["trigger: (not there) → x"]),
        ({"trigger": None}, {}, ["trigger: None → (not there)"]),
        ({"trigger": None}, {"trigger": "x"}, ["trigger: None → x"]),
        ({"trigger": None}, {"trigger": "None"}, ["trigger: None → 'None'"]),
        ({"scale": 1}, {"scale": "1"}, ["scale: 1 → '1'"]),
        ({"dataset": _A}, {"dataset": _B}, [f"dataset: {_SHORT_A} → {_SHORT_B}"]),
        ({"size_px": [128, 96]}, {"size_px": [256, 96]}, ["size_px: [128, 96] → [256, 96]"]),
    ],
)
def test_scalars_and_hashes(old: dict[str, Any], new: dict[str, Any], lines: list[str]):
    assert explain_change(old, new) == lines


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("west, a view of Mill, wide", "west, a view of a burnt mill, wide",
         "west, a view of [Mill → a burnt mill], wide"),
        ("a view of Mill, wide", "a view of Mill, very wide", "a view of Mill, [+ very] wide"),
        ("a view of Mill, very wide", "a view of Mill, wide", "a view of Mill, [- very] wide"),
        ("Mill", "Mill (at night)", "Mill [+ (at night)]"),
        ("a red mill by the sea at dawn", "a blue mill at the sea at dusk",
         "a [red mill by → blue mill at] the sea at [dawn → dusk]"),
        ("", "text, people", "(empty) → text, people"),
        ("old mill", "the wheel", "old mill → the wheel"),
        ("a mill", "a  mill", "a mill → a  mill"),
        ("a mill\nat night", "a mill\nat dawn", "a mill at [night → dawn]"),
        ("a mill \x1b[31m red", "a mill \x1b[32m red", r"a mill [\x1b[31m → \x1b[32m] red"),
        (f"{'word ' * 40}red {'more ' * 40}", f"{'word ' * 40}blue {'more ' * 40}",
         f"… {'word ' * 7}word [red → blue] {'more ' * 7}more …"),
        (f"red {'some ' * 30}end", f"blue {'some ' * 30}stop",
         f"[red → blue] {'some ' * 7}some … {'some ' * 7}some [end → stop]"),
    ],
)  # fmt: skip
def test_texts(old: str, new: str, text: str):
    assert explain_change({"positive_prompt": old}, {"positive_prompt": new}) == [f"positive_prompt: {text}"]


def test_a_text_that_changed_all_over_is_cut():
    old = " ".join(f"old{number} and also" for number in range(200))
    (line,) = explain_change({"prompt": old}, {"prompt": old.replace("old", "new")})
    assert line.startswith("prompt: [old0 → new0] and also [old1 → new1] and also")
    assert line.endswith(" more")
    assert len(line) < 500


@pytest.mark.parametrize("place", [0, 10, 200, 399])
def test_a_change_within_a_long_word_is_shown_in_short(place: int):
    old = "".join(chr(ord("a") + number % 26) for number in range(400))
    new = f"{old[:place]}#{old[place + 1 :]}"
    (line,) = explain_change({"positive_prompt": old}, {"positive_prompt": new})
    before, after = line.removeprefix("positive_prompt: ").split(" → ")
    assert "#" in after
    assert before.replace("…", "") in old
    assert after.replace("…", "") in new
    assert max(len(before), len(after)) <= 162


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"1.png": _A, "2.png": _A}, {"2.png": _B, "3.png": _A},
         ["files.1.png: removed", "files.2.png: changed", "files.3.png: added"]),
        ({"1.png": _A}, {"1.png": "unreadable"}, [f"files.1.png: {_SHORT_A} → unreadable"]),
        ({}, {f"{number}.png": _A for number in range(9)},
         [*(f"files.{number}.png: added" for number in range(6)), "files: and 3 more"]),
        (_A, {"1.png": _A, "2.png": _A}, [f"files: {_SHORT_A} → 2 entries"]),
    ],
)  # fmt: skip
def test_files(old: Any, new: Any, lines: list[str]):
    assert explain_change({"files": old}, {"files": new}) == lines


def test_rules_of_a_keymap():
    old = {r"a\.(\d+)": r"x_\1 (transposed)", "b": "y (transposed)", "c": "z (transposed)"}
    new = {r"a\.(\d+)": r"w_\1 (transposed)", "b": "y (not transposed)", "d": "z (transposed)"}
    assert explain_change({"keymap": old}, {"keymap": new}) == [
        r"keymap.a\.(\d+): [x_\1 → w_\1] (transposed)",
        "keymap.b: y ([+ not] transposed)",
        "keymap.c: removed: z (transposed)",
        "keymap.d: added: z (transposed)",
    ]


def test_verify_prompts():
    old = {"control_word": "orrp", "prompts": [{"prompt": "an old windmill at noon", "seed": 1}]}
    new = {"control_word": "orrp", "prompts": [{"prompt": "an old windmill at dusk", "seed": 1}]}
    assert explain_change({"verify_prompts": old}, {"verify_prompts": new}) == [
        "verify_prompts.prompts[0].prompt: an old windmill at [noon → dusk]"
    ]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ([(_A, 0.8)], [(_A, 0.5)], ["adapters[0] scale: 0.8 → 0.5"]),
        ([(_A, 0.5), (_B, 0.8), (_C, 0.9)], [(_A, 0.5), (_B, 0.8), (_C, 0.95)], ["adapters[2] scale: 0.9 → 0.95"]),
        ([(_A, 0.8)], [(_B, 0.8)], [f"adapters[0] adapter: {_SHORT_A} → {_SHORT_B}"]),
        ([(_A, 0.8)], [(_C, 0.5), (_A, 0.8)], [f"adapters[0]: added: [{_SHORT_C}, 0.5]"]),
        ([(_A, 0.8), (_B, 1)], [(_A, 0.8)], [f"adapters[1]: removed: [{_SHORT_B}, 1]"]),
        ([(_A, 0.8), (_B, 1)], [(_B, 1), (_A, 0.8)], ["adapters: in another order"]),
        ([], [(_A, 0.8)], [f"adapters[0]: added: [{_SHORT_A}, 0.8]"]),
    ],
)
def test_a_stack(old: list[tuple[str, float]], new: list[tuple[str, float]], lines: list[str]):
    assert explain_change(stack_inputs(old), stack_inputs(new)) == lines


def test_a_gallery():
    old, new = ({"pictures": [["Mill", _A], ["Mine", version]]} for version in (_B, _C))
    assert explain_change(old, new) == [f"pictures[1] picture: {_SHORT_B} → {_SHORT_C}"]


@given(old=_inputs, new=_inputs)
@settings(deadline=None, max_examples=150)
def test_there_is_an_explanation_exactly_when_the_fingerprint_changed(old: dict[str, Any], new: dict[str, Any]):
    assert bool(explain_change(old, new)) == (fingerprint(old) != fingerprint(new))


@given(old=_inputs, name=_names, one=_values, other=_values)
@settings(deadline=None, max_examples=200)
def test_lines_are_short_and_few(old: dict[str, Any], name: str, one: Any, other: Any):
    lines = explain_change({**old, name: one}, {**old, name: other})
    assert bool(lines) == (fingerprint({"value": one}) != fingerprint({"value": other}))
    assert len(lines) <= 7
    assert all(line.isprintable() and len(line) <= 800 for line in lines)


@given(text=st.text(min_size=1, max_size=500), cut=st.integers(0, 500), other=st.text(max_size=5))
@settings(deadline=None, max_examples=100)
def test_both_sides_of_a_plain_change_differ(text: str, cut: int, other: str):
    changed = text[:cut] + other + text[cut + 1 :]
    assume(changed != text)
    assume("→" not in text + other)
    assume("…" not in text + other)
    assume(diff_words(text, changed) is None)
    (line,) = explain_change({"prompt": text}, {"prompt": changed})
    before, after = line.removeprefix("prompt: ").split(" → ", 1)
    assert before != after


_words = st.lists(st.sampled_from("a mill red by the sea, (wide) dusk.".split()), max_size=12)


@given(old=_words, new=_words)
@settings(deadline=None, max_examples=150)
def test_a_short_word_diff_holds_both_texts(old: list[str], new: list[str]):
    line = diff_words(" ".join(old), " ".join(new))
    assume(line is not None)
    assert line is not None
    assume("…" not in line)
    without = re.sub(r"\[\+ [^]]*\]|\[- ([^]]*)\]|\[([^]]*) → [^]]*\]", r"\1\2", line)
    with_changes = re.sub(r"\[- [^]]*\]|\[\+ ([^]]*)\]|\[[^]]* → ([^]]*)\]", r"\1\2", line)
    assert without.replace(" ", "") == "".join(old)
    assert with_changes.replace(" ", "") == "".join(new)


@pytest.mark.parametrize(
    ("line", "gist"),
    [
        ("positive_prompt: a view of Mill, [+ very] wide", "positive_prompt: … [+ very] …"),
        ("positive_prompt: [a → b] mill [- c] d", "positive_prompt: … [a → b] … [- c] …"),
        ("positive_prompt: a [b] c [+ d]", "positive_prompt: a [b] c [+ d]"),
        ("positive_prompt: [a → b] mill … and 3 more", "positive_prompt: [a → b] mill … and 3 more"),
        ("stack[0] scale: 0.8 → 0.5", "stack[0] scale: 0.8 → 0.5"),
        ("never made", "never made"),
    ],
)
def test_a_change_without_its_context(line: str, gist: str):
    assert drop_context(line) == gist


def test_a_chain():
    chain = ["w/worlds/old/stack", "w/loras/land/promoted_adapter", "w/loras/land/verification"]
    assert describe_chain(chain, ["never made"]) == (
        "because w/worlds/old/stack ← w/loras/land/promoted_adapter ← verification (never made)"
    )
    assert describe_chain(chain[:1], ["a: 1 → 2", "b: x → y", "c: 0 → 1"]) == (
        "because w/worlds/old/stack (a: 1 → 2; b: x → y; and 1 more)"
    )
    assert len(describe_chain(chain, ["x" * 1000])) < 300
