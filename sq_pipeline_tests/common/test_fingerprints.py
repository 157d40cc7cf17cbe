"""Canonical JSON, the hashes of it, and which inputs count. Not here: explaining what changed (`test_explain`)."""

import hashlib
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.keymap_files import select_reading_keymap
from sq_pipeline.base_models.base_models import BASE_MODELS, SizePx
from sq_pipeline.base_models.ports import TokenCounts
from sq_pipeline.common.fingerprints import canonical_json, fingerprint, hash_bytes, hash_file, short
from sq_pipeline.common.layout import shipped_data_root
from sq_pipeline.content.prompts import Prompt
from sq_pipeline.pipeline.inputs import mlx_adapter_inputs, picture_inputs, promotion_inputs, verification_inputs
from sq_pipeline.training.recipe import Recipe

READING = select_reading_keymap(shipped_data_root() / "keymaps", "kohya")

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
_inputs = st.dictionaries(st.text(max_size=6), _values, max_size=5)


def shuffled(value: Any, seed: int) -> Any:
    """The same value with the keys of its mappings in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(item, seed)) for key, item in value.items()]
        random.Random(seed).shuffle(items)
        return dict(items)
    return [shuffled(item, seed) for item in value] if isinstance(value, list) else value


def identity(value: Any) -> Any:
    """What must tell two values apart: as Python compares, but true is not 1, and a list is a tuple."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, dict):
        return ("mapping", frozenset((key, identity(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return ("sequence", tuple(identity(item) for item in value))
    return value


@given(inputs=_inputs, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=80)
def test_key_order_does_not_matter(inputs: dict[str, Any], seed: int):
    assert fingerprint(shuffled(inputs, seed)) == fingerprint(inputs)


@given(one=_values, other=_values)
@settings(deadline=None, max_examples=150)
def test_values_have_one_text_exactly_when_they_are_equal(one: Any, other: Any):
    assert (canonical_json(one) == canonical_json(other)) == (identity(one) == identity(other))


@given(inputs=_inputs, key=st.text(max_size=6), value=_values)
@settings(deadline=None, max_examples=80)
def test_changing_one_input_changes_the_fingerprint(inputs: dict[str, Any], key: str, value: Any):
    changed = {**inputs, key: value}
    assume(identity(changed) != identity(inputs))
    assert fingerprint(changed) != fingerprint(inputs)


@given(value=_values)
@settings(deadline=None, max_examples=80)
def test_a_trip_through_json_changes_nothing(value: Any):
    """Records are kept as JSON: what is read back must have the same fingerprint."""
    assert canonical_json(json.loads(json.dumps(value))) == canonical_json(value)
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


@given(number=st.integers(-(2**53), 2**53))
@settings(deadline=None, max_examples=60)
def test_an_integer_and_its_float_are_one(number: int):
    assert fingerprint({"scale": number}) == fingerprint({"scale": float(number)})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (1e22, "10000000000000000000000"),
        (True, "true"),
        (None, "null"),
        ("1", '"1"'),
        ("é\n", '"é\\n"'),
        ((1, [2.0]), "[1,[2]]"),
        ({"b": 1, "a": {"d": 2, "c": 3}}, '{"a":{"c":3,"d":2},"b":1}'),
    ],
)
def test_the_canonical_text(value: Any, text: str):
    assert canonical_json(value) == text


@pytest.mark.parametrize(
    "values",
    [
        [1, True, "1", [1], {"1": 1}],
        [0, False, None, "", [], {}],
        [0.1, 0.1 + 2**-56, 1 / 3],
        [2**53, 2**53 + 1, float(2**53 + 2)],
        ["a", "A", "a ", "ａ"],
        ["é", "e\u0301"],
        [[1, 2], [2, 1], [[1], 2], [1, [2]]],
        [{"a": None}, {}],
    ],
)
def test_different_values_differ(values: list[Any]):
    assert len({fingerprint({"value": value}) for value in values}) == len(values)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"a": {"b": v}}])
def test_what_is_no_finite_number_is_refused(value: float, wrap: Any):
    with pytest.raises(ValueError, match="cannot hold"):
        fingerprint({"value": wrap(value)})


@pytest.mark.parametrize(
    "value", [b"bytes", bytearray(b"x"), {1, 2}, object(), Path("a"), 1j, {1: "a"}, {None: 1}, {"a": {2.0: 1}}]
)
def test_what_json_does_not_know_is_refused(value: Any):
    with pytest.raises(TypeError, match=r"cannot hold|string keys"):
        fingerprint({"value": value})


def test_a_known_fingerprint():
    """`printf '{"a":1,"b":["x",null]}' | sha256sum`: it must never change, or everything is made again."""
    assert fingerprint({"b": ("x", None), "a": 1.0}) == (
        "sha256:" + hashlib.sha256(b'{"a":1,"b":["x",null]}').hexdigest()
    )


@given(content=st.binary(max_size=200))
@settings(deadline=None, max_examples=30)
def test_a_file_s_hash_is_its_bytes_hash(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    path = tmp_path_factory.mktemp("hash") / "file"
    path.write_bytes(content)
    assert hash_file(path) == hash_bytes(content) == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_file_longer_than_a_piece_is_hashed_whole(tmp_path: Path):
    content = bytes(range(256)) * 8193  # two pieces and a little
    (tmp_path / "file").write_bytes(content)
    assert hash_file(tmp_path / "file") == hash_bytes(content)


def test_short():
    assert short(hash_bytes(b"")) == "e3b0c44298fc"
    assert short(hash_bytes(b""), 4) == "e3b0"


# which inputs count


_HASHES = [hash_bytes(bytes([number])) for number in range(3)]
_SETTINGS = BASE_MODELS["flux1-dev"].settings_for("landscape")


def _prompt(**changes: Any) -> Prompt:
    values = {"positive_prompt": "a mill", "negative_prompt": "text", "seed": 1, **changes}
    return Prompt(
        "western", "dust", "Mill", "mill", "landscape", counts=TokenCounts("T5", 2, 96, 2, 77), dropped=(), **values
    )


def _picture(prompt: Prompt | None = None, **changes: Any) -> str:
    values: dict[str, Any] = {
        "entries": [(_HASHES[0], 0.8), (_HASHES[1], 1.0)],
        "base_model": BASE_MODELS["flux1-dev"],
        "weights_hash": _HASHES[2],
        "settings": _SETTINGS,
        "renderer_versions": {"mflux": "0.24.0"},
        **changes,
    }
    return fingerprint(picture_inputs(prompt or _prompt(), **values))


@pytest.mark.parametrize(
    ("prompt", "changes"),
    [
        ({"positive_prompt": "a  mill"}, {}),
        ({"seed": 2}, {}),
        ({}, {"entries": [(_HASHES[0], 0.8)]}),
        ({}, {"entries": [(_HASHES[0], 0.81), (_HASHES[1], 1.0)]}),
        ({}, {"entries": [(_HASHES[1], 1.0), (_HASHES[0], 0.8)]}),
        ({}, {"entries": [(_HASHES[2], 0.8), (_HASHES[1], 1.0)]}),
        ({}, {"base_model": BASE_MODELS["flux1-schnell"]}),
        ({}, {"settings": replace(_SETTINGS, size=SizePx(768, 1344))}),
        ({}, {"settings": replace(_SETTINGS, num_inference_steps=26)}),
        ({}, {"settings": replace(_SETTINGS, guidance=None)}),
        ({}, {"weights_hash": _HASHES[0]}),
        ({}, {"renderer_versions": {"mflux": "0.25.0"}}),
    ],
)
def test_everything_a_picture_is_made_from_counts(prompt: dict[str, Any], changes: dict[str, Any]):
    assert _picture(_prompt(**prompt), **changes) != _picture()


@pytest.mark.parametrize("is_read", [False, True])
def test_a_negative_prompt_counts_only_for_a_model_that_reads_it(is_read: bool):
    base_model = replace(BASE_MODELS["flux1-dev"], reads_negative_prompt=is_read)
    changed = _picture(_prompt(negative_prompt="people"), base_model=base_model)
    assert (changed != _picture(base_model=base_model)) == is_read


def test_a_scale_written_as_integer_or_float_is_one():
    assert _picture(entries=[(_HASHES[0], 0.8), (_HASHES[1], 1)]) == _picture()


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"rank": 4}, True),
        ({"iterations": 100}, True),
        ({"learning_rate": 2e-4}, True),
        ({"seed": 1}, True),
        ({"guidance": 1.0}, True),
        ({"min_pairs": 3}, False),
        ({"trigger": "word"}, False),
        ({"kind": "subject"}, False),
    ],
)
def test_a_recipe_counts_where_it_changes_the_training(changes: dict[str, Any], counts: bool):
    def inputs(recipe: Recipe) -> str:
        return fingerprint(
            mlx_adapter_inputs(_HASHES[0], recipe, BASE_MODELS["tiny-flux"], _HASHES[1], {"mlx": "0.32"})
        )

    assert (inputs(Recipe(**changes)) != inputs(Recipe())) == counts


def test_a_verification_and_a_promotion_hang_on_their_own_inputs():
    def verification(
        adapter: str = _HASHES[0],
        source: str = _HASHES[0],
        trigger: str | None = "t",
        changed: float = 0.999,
        reason: str = "r",
        tier: str = "scene",
        reading: Keymap = READING,
        gate: dict[str, Any] | None = None,
    ):
        prompts = {"control_word": "c", "prompts": [{"prompt": "p", "seed": 1}]}
        base_model = BASE_MODELS["flux1-dev"]
        thresholds = {"changed": changed, "fidelity": {"share_kept_min": {"value": 0.9, "reason": reason}}}
        return fingerprint(
            verification_inputs(
                adapter, source, reading, trigger, prompts, thresholds, base_model, _HASHES[1], tier, {}, gate
            )
        )

    # `scene` is rendered at the landscape's size, so these two are one; a portrait is not
    assert verification(tier="landscape") == verification()
    others = {
        verification(_HASHES[2]),
        verification(source=_HASHES[2]),
        verification(reading=READING.model_copy(update={"alpha": "none"})),
        verification(reason="another"),  # the report shows it
        verification(trigger=None),
        verification(changed=0.9),
        verification(tier="portrait"),
        verification(gate={}),  # None is the gate of before
        verification(gate={"reference": _HASHES[0]}),
        verification(gate={"reference": _HASHES[1]}),
    }
    assert len(others | {verification()}) == 11
    assert fingerprint(promotion_inputs(_HASHES[0], _HASHES[1])) != fingerprint(
        promotion_inputs(_HASHES[1], _HASHES[0])
    )
