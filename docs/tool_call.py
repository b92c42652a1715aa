"""Shows who writes what around a tool call: the engine that answers in a chat, on a model that wants to forge a result.

python docs/tool_call.py

The model is a script, so that what it wants is known. The tokenizer is that of the built-in recipe `tiny`.
"""

from unittest import mock

import torch

from parrotlet.chat import Conversation, Message
from parrotlet.engine import Completion, Engine, Sampling
from parrotlet.inspect import Material
from parrotlet.model import GPT, ModelConfig
from parrotlet.recipe import Recipe
from parrotlet.tokenizer import Tokenizer

ASKED = Conversation((Message("user", "Divide 84 by 3."),))


class Forger:
    """In the place of the engine's `Decoder`: wants one token after the other, each time a few, the best first."""

    grain = 1
    nbytes = 0

    def __init__(self, tokenizer: Tokenizer) -> None:
        t = tokenizer
        self.vocab_size, self.memory = t.vocab_size, self
        forged = [t.output_start, t.python_start]  # a result without a call; if that is not to be had, a call
        before, call, after = (t.encode(text) for text in ("84/3 = ", "84/3", "28."))
        self.wanted = [*([i] for i in before), forged, *([i] for i in [*call, t.python_end, *after, t.assistant_end])]
        self._left = iter(self.wanted)

    def prefill(self, row: int, tokens: list[int], start: int) -> None:
        """What it reads makes no difference to it."""

    def decode(self, tokens: list[int], positions: list[int]) -> torch.Tensor:
        """Scores (1, V) of the token that comes next."""
        scores = torch.zeros(1, self.vocab_size)
        for rank, token in enumerate(next(self._left)):
            scores[0, token] = 20.0 - rank
        return scores


def answered(tokenizer: Tokenizer, forger: Forger) -> Completion:
    """What the engine lets it write, and writes itself."""
    config = ModelConfig(depth=1, vocab_size=tokenizer.vocab_size, sequence_len=128, width=16, heads=1, kv_heads=1)
    with mock.patch("parrotlet.engine.engine.Decoder", return_value=forger):
        engine = Engine(GPT.build(config, seed=0), tokenizer, rows=1)
    return engine.generate([ASKED], Sampling(temperature=0))[0]


def main() -> None:
    """Print the answer, a line whenever the writer changes or the model did not get what it wanted."""
    tokenizer = Material(Recipe.load("tiny")).tokenizer
    forger = Forger(tokenizer)
    completion = answered(tokenizer, forger)
    wanted = iter(forger.wanted)
    lines: list[list[str]] = []
    for token, by_engine in [*zip(completion.ids, completion.injected, strict=True), (tokenizer.assistant_end, False)]:
        writer, text = "engine" if by_engine else "model", tokenizer.token_text(token)
        first = token if by_engine else next(wanted)[0]
        note = "" if first == token else f"   (it wanted {tokenizer.token_text(first)}: the engine forbids it)"
        if not lines or lines[-1][0] != writer or note or lines[-1][2]:
            lines.append([writer, "", ""])
        lines[-1][1] += text
        lines[-1][2] = note
    for writer, text, note in lines:
        print(f"{writer:<8}{text}{note}")


if __name__ == "__main__":
    main()
