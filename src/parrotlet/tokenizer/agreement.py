"""Does another's split pattern mean the same to `tiktoken`, which encodes for us, and to `tokenizers`?

They have regular expression engines of their own, with different syntax (`{1,2}+` is possessive in one of them only),
and what a pattern leaves out between its matches `tiktoken` drops. For our own pattern tests hold the two equal;
another is tried out when the first tokenizer that has it is loaded.
"""

from __future__ import annotations

import functools
from itertools import product

from tokenizers import Regex, pre_tokenizers

from ..errors import UserError
from .encoding import build_encoding
from .stored import BYTES

KINDS = ("l", "S", "é", "鹦", "\u0301", "1", "½", "'", "!", " ", "\t", "\n", "\r")
"""A character of each kind that split patterns tell apart."""
CHARACTERS = (*range(0x600), *range(0x600, 0xD800, 32), *range(0xE000, 0x33480, 64))


def check_pattern(pattern: str, where: str) -> None:
    """Raise `UserError` if one of the two can't use the pattern, or a text is found that they split differently."""
    try:
        text = _split_differently(pattern)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # what tokenizers raises is no more precise, and tiktoken panics at empty matches
        raise UserError(f"{where}: its split pattern {pattern} can't be used: {error}") from None
    if text is not None:
        raise UserError(
            f"{where}: can't be used: tiktoken, which encodes for Parrotlet, and tokenizers split {text!r} differently "
            f"by its pattern {pattern}"
        )


@functools.cache
def _split_differently(pattern: str) -> str | None:
    texts = ["".join(kinds) for length in (1, 2, 3, 4) for kinds in product(KINDS, repeat=length)]
    texts += [kind * length + end for kind in "l1! \n" for length in (7, 20, 300) for end in ("", "l", "\n")]
    texts += [before + chr(c) + after for c in CHARACTERS for before, after in ("l1", "1l", " !", "'\n")]
    single = [bytes([byte]) for byte in range(BYTES)]
    parts = (text[a:b].encode() for text in texts for a in range(len(text)) for b in range(a + 1, len(text) + 1))
    ranks = {token: id for id, token in enumerate(dict.fromkeys([*single, *parts]))}  # so a piece is always one token
    encoding = build_encoding("pieces", pattern=pattern, ranks=ranks)
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    for text in texts:
        ours = [encoding.decode_single_token_bytes(id) for id in encoding.encode_ordinary(text)]
        if ours != [piece.encode() for piece, _ in split.pre_tokenize_str(text)]:
            return text
    return None
