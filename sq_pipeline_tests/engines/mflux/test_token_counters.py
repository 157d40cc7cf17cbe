"""What a tokenizer breaks to bytes, or knows nothing of: with tiny-flux's own, and with one like FLUX.1's T5."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.engines.mflux.token_counters import TokenizerPair


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("a mill by the river, at noon", ()),
        ("René and Zoë", ()),  # a character of four is no loss
        ("a horse 🐎 at noon", ("🐎",)),
        ("風車 by the river", ("風車",)),
        ("Łódź, (Łódź)", ("Łódź",)),
        ("мельница у реки", ("мельница", "у", "реки")),
        ("", ()),
    ],
)
def test_words_that_are_read_as_bytes(text: str, broken: tuple[str, ...], shipped: DataDir) -> None:
    assert factory.token_counter("tiny-flux", shipped).count_tokens(text).broken == broken


@pytest.mark.parametrize(
    ("text", "broken"),
    [("a mill", ()), ("a {mill}", ("{", "}")), ("a 風車 by a мельница", ("風車", "мельница")), ("an Łódź mill", ())],
)
def test_words_that_a_vocabulary_has_no_piece_for(text: str, broken: tuple[str, ...]) -> None:
    """T5's is of that kind: one mark stands for whatever it lacks, and curly brackets are among it."""
    pieces = [("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyzódź▁")]
    t5 = Tokenizer(models.Unigram(pieces, 0, False))
    t5.pre_tokenizer = pre_tokenizers.Metaspace()
    counter = TokenizerPair(t5, t5, FLUX1_MODELS["flux1-dev"])
    assert counter.count_tokens(text).broken == broken
