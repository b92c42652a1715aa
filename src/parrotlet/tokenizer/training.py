"""Training: from texts to the content of a `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as HFTokenizer

from ..errors import UserError
from .stored import BYTES, SPECIAL_TOKENS, SPLIT_PATTERN

TOKENIZER_VERSION = f"1, tokenizers {tokenizers.__version__}"
"""Says when the same texts may give another tokenizer; raise the number whenever they do."""
MIN_FREQUENCY = 2
"""A pair seen only once teaches nothing that the text could be compressed with."""


def train(texts: Iterable[str], vocab_size: int) -> str:
    """Train on `texts`; `vocab_size` counts the bytes, the merges and the special tokens.

    The same texts give the same content, whatever the number of threads. Raises `UserError` if `vocab_size`
    is too small, or the text too small for it.
    """
    smallest = BYTES + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise UserError(
            f"vocab_size {vocab_size} is too small: {BYTES} bytes and {len(SPECIAL_TOKENS)} special tokens "
            f"need {smallest}, merges come on top; set it to a few thousand"
        )
    tokenizer = _untrained()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        min_frequency=MIN_FREQUENCY,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_checked(texts), trainer=trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    reached = tokenizer.get_vocab_size()
    if reached < vocab_size:
        raise UserError(
            f"the texts are too small for vocab_size {vocab_size}: nothing is left to merge at {reached}; "
            f"give more text, or set vocab_size to {reached} or less"
        )
    return tokenizer.to_str(pretty=True)


def _untrained() -> HFTokenizer:
    tokenizer = HFTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """The texts as Unicode; raises `UserError` if there is no text in them."""
    empty = True
    for text in texts:
        empty = empty and not text
        yield without_surrogates(text)
    if empty:
        raise UserError("no text to train a tokenizer on: the documents are missing or empty; check the data")


def without_surrogates(text: str) -> str:
    """`text` as `tiktoken` reads it: surrogate pairs joined, lone surrogates replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
