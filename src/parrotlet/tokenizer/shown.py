"""What to show of tokens: where a character is spread over several, it is shown whole, never as its bytes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence

from .tokenizer import Tokenizer

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
REST = "‥"
"""Stands for a token that only goes on with a character that begins in a token before it."""


def shown_texts(ids: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    """A text for every token: a character that several tokens share stands at the first, `‥` at the others. Put
    together they are the whole text, with bytes that aren't UTF-8 as `\\xe4`."""
    texts = [tokenizer.token_text(id) if id in tokenizer.special_ids else "" for id in ids]
    pieces = [tokenizer.token_bytes(id) for id in ids]
    owners = [i for i, piece in enumerate(pieces) for _ in piece]
    data = b"".join(pieces)
    at = 0
    while at < len(data):
        size = _character_size(data, at)
        texts[owners[at]] += data[at : at + size].decode(errors="backslashreplace")
        at += size
    return [text or REST for text in texts]


def spelled(text: str, but: str = "\n") -> str:
    r"""With control characters as Python writes them (`\t`, `\x1b`), but for some: a terminal obeys or drops them."""
    return CONTROL.sub(lambda found: found[0] if found[0] in but else repr(found[0])[1:-1], text)


def joined(texts: Sequence[str]) -> str:
    """The text that is shown as `texts`, all of a text or some."""
    return "".join(text for text in texts if text != REST)


class ShownAnswer:
    """What to show of an answer's tokens (`texts`), and of what might have stood in the place of one."""

    def __init__(self, ids: Sequence[int], tokenizer: Tokenizer) -> None:
        self.texts = shown_texts(ids, tokenizer)
        self._ids, self._tokenizer = ids, tokenizer
        self._unfinished = list(_unfinished(ids, tokenizer))

    def instead(self, place: int, id: int) -> str:
        """What `id` would be in that place: of a character that it would finish the whole, after a `‥`."""
        if id == self._ids[place]:
            return self._whole(place)
        whole = (self._unfinished[place] + self._tokenizer.token_bytes(id)).decode(errors="backslashreplace")
        finishes = self._unfinished[place] and not whole.startswith("\\")
        return REST + whole if finishes else self._tokenizer.token_text(id)

    def _whole(self, place: int) -> str:
        first = place
        while self._unfinished[first] and self.texts[first] == REST:
            first -= 1
        return self.texts[place] if first == place else REST + self.texts[first][-1]


def _unfinished(ids: Sequence[int], tokenizer: Tokenizer) -> Iterator[bytes]:
    """Before each token: the bytes of a character that has begun and is not finished; mostly none."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for id in ids:
        yield decoder.getstate()[0]
        decoder.decode(tokenizer.token_bytes(id), final=id in tokenizer.special_ids)


def _character_size(data: bytes, at: int) -> int:
    """Bytes of the character that begins at `at`; 1 where none does."""
    first = data[at]
    size = 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2 if first >= 0xC2 else 1
    try:
        data[at : at + size].decode()
    except UnicodeDecodeError:
        return 1
    return size
