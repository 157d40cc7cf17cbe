"""The savings over mflux's loader give mflux's own answers, for names of every dialect and for nonsense."""

import re
from pathlib import Path

import mlx.core as mx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mflux.models.common.lora.mapping.lora_loader import LoRALoader
from mflux.models.flux.weights.flux_lora_mapping import FluxLoRAMapping

from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline.engines.mflux.loader_memory import LoaderMemory, match, mflux_matches
from sq_pipeline.engines.mflux.loader_targets import mapping_for, match_keys, narrow_to_keys
from sq_pipeline_tests.serve.adapters import write_adapter

PATTERNS = sorted({item.source_pattern for item in LoRALoader._build_pattern_mappings(FluxLoRAMapping.get_mapping())})
NUMBERS = ("0", "7", "18", "07")


@pytest.mark.parametrize("number", NUMBERS)
def test_every_pattern_of_flux_matches_what_mflux_says(number: str) -> None:
    keys = [pattern.replace("{block}", number) for pattern in PATTERNS[:: len(PATTERNS) // 60]]
    keys += [key.removesuffix(".weight") for key in keys] + [f"{key}x" for key in keys] + [f"x{key}" for key in keys]
    found = [(key, pattern, match(key, pattern)) for key in keys for pattern in PATTERNS[::7] + PATTERNS[:3]]
    assert found == [(key, pattern, mflux_matches(key, pattern)) for key, pattern, _ in found]


@given(
    st.lists(st.sampled_from(["{block}", ".weight", "a", ".", "1", "12", "_"]), max_size=6).map("".join),
    st.lists(st.sampled_from([".weight", "a", ".", "1", "12", "_", "0"]), max_size=6).map("".join),
    st.sampled_from(NUMBERS),
)
def test_any_name_and_pattern(pattern: str, other: str, number: str) -> None:
    own = pattern.replace("{block}", number)
    for key in (own, own.removesuffix(".weight"), other):
        assert match(key, pattern) == mflux_matches(key, pattern)


def test_the_loader_asks_it_and_names_are_judged_anew(tmp_path: Path) -> None:
    """A file of other names between two of the same: each has the answers of the whole mapping."""
    base_model = FLUX1_MODELS["tiny-flux"]
    mapping = mapping_for(base_model)
    keys = list(mx.load(str(write_adapter(tmp_path / "a.safetensors", 1, base_model))))
    memory = LoaderMemory(mapping)
    assert LoRALoader._match_pattern is match
    for names in (keys, [f"other.{key}" for key in keys], keys[:5], keys, [re.sub("img", "txt", key) for key in keys]):
        known = memory.of(names)
        assert known.matches == match_keys(names, mapping)
        assert known.mapping == narrow_to_keys(mapping, names)
    assert memory.of(keys) is memory.of(list(keys))
