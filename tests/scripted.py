"""Models and engines for tests: one that has begun to learn, and ones that follow a script."""

import pytest
import torch

from parrotlet.engine import Engine
from parrotlet.model import GPT, ModelConfig


def model_of(tokenizer, context=200, depth=1):
    """A model of the smallest shape; what it computes does not matter."""
    config = ModelConfig(
        depth=depth, vocab_size=tokenizer.vocab_size, sequence_len=context, width=16, heads=1, kv_heads=1
    )
    return GPT.build(config, seed=0)


def decoder_that(wants):
    """A class in the place of `Decoder`. `wants`: from the tokens of a row so far to what it would go on with, best
    first."""

    class Scripted:
        grain = 16

        def __init__(self, model, rows):
            self.vocab_size, self.rows = model.config.vocab_size, [[] for _ in range(rows)]
            self.memory, self.nbytes = self, 0

        def prefill(self, row, tokens, start):
            assert len(self.rows[row]) >= start
            self.rows[row][start:] = tokens

        def decode(self, tokens, positions):
            scores = torch.zeros(len(tokens), self.vocab_size)
            for row, (token, position) in enumerate(zip(tokens, positions, strict=True)):
                self.prefill(row, [token], position)
                for rank, wanted in enumerate(wants(self.rows[row])):
                    scores[row, wanted] = 10.0 - rank
            return scores

        def copy(self, source, target, slots):
            self.rows[target][:slots] = self.rows[source][:slots]

        def swap(self, a, b, slots):
            rows = self.rows
            rows[a][:slots], rows[b][:slots] = rows[b][:slots], rows[a][:slots]

    return Scripted


def grown(model, alpha=0.3):
    """A model that has begun to learn: sharp enough to be greedy without ties."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator), alpha=alpha)
    return model


def script(tokenizer, ids, end_of_prompt):
    """What a model wants that goes on with `ids`, whatever the engine writes between; with the last one again and
    again. `end_of_prompt`: from the tokens of a row to where the answer begins."""

    def wants(row):
        written, by_engine = 0, False
        for token in row[end_of_prompt(row) :]:
            by_engine |= token == tokenizer.output_start
            written += not by_engine
            by_engine &= token != tokenizer.output_end
        return [ids[min(written, len(ids) - 1)]]

    return wants


def scripted(tokenizer, ids, *, prompt=1, context=200, **options):
    """An engine whose model follows a script, after a prompt of so many tokens."""
    return engine_that(tokenizer, script(tokenizer, ids, lambda _: prompt), context=context, **options)


def engine_that(tokenizer, wants, *, context=200, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parrotlet.engine.engine.Decoder", decoder_that(wants))
        return Engine(model_of(tokenizer, context), tokenizer, **options)


def sayings(model, tokenizer, draw, words):
    """40 contexts; where it can be written down, the continuation is what the model says."""
    items = []
    for i in range(300):
        context = f"{draw.choice(words)} {i} and the {draw.choice(words)}"
        ids = [tokenizer.bos, *tokenizer.encode(context)]
        with torch.no_grad():
            said = tokenizer.decode([int(model.logits(model(torch.tensor([ids]))[0, -1]).argmax())])
        whole = [tokenizer.bos, *tokenizer.encode(context + said)]
        items.append((whole[:-1] != ids or said.isspace(), {"context": context, "continuation": said}))
    likeliest = [item for strange, item in items if not strange][:15]
    others = [item | {"continuation": draw.choice("abcde")} for strange, item in items if strange]
    return likeliest + others[: 40 - len(likeliest)]
