"""Batched = alone = uncached; the tool protocol; streams of whole characters."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.chat import Conversation, Message, Part, render, render_prompt
from parrotlet.engine import Engine, Sampling
from parrotlet.engine.sampling import Sampler
from parrotlet.errors import UserError
from parrotlet.model import GPT, ModelConfig

CONTEXT = 64
GREEDY = Sampling(temperature=0.0, max_tokens=20)


@pytest.fixture(scope="module")
def model(tokenizer):
    config = ModelConfig(depth=2, vocab_size=tokenizer.vocab_size, sequence_len=CONTEXT, width=32, heads=4, kv_heads=2)
    model = GPT.build(config, seed=5)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # a model that has begun to learn: sharp enough to be greedy without ties
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator), alpha=0.3)
    return model


class Scripted(GPT):
    """A model that always goes on with the next token of a script, whatever it is asked."""

    def script(self, ids):
        self.ids, self.said = ids, 0
        return self

    def forward(self, inputs_BT, *args, **kwargs):
        return torch.zeros(*inputs_BT.shape, 1)

    def logits(self, hidden):
        logits = torch.zeros(hidden.shape[0], self.config.vocab_size)
        logits[:, self.ids[min(self.said, len(self.ids) - 1)]] = 10.0
        self.said += 1
        return logits


def scripted(tokenizer, ids, context=200):
    config = ModelConfig(depth=1, vocab_size=tokenizer.vocab_size, sequence_len=context, width=8, heads=1, kv_heads=1)
    return Scripted(config).script(ids)


def prompts_of(tokenizer, lengths):
    words = itertools.cycle(tokenizer.encode("the parrot flew over the river and said good morning"))
    return [[tokenizer.bos, *itertools.islice(words, n)] for n in lengths]


def uncached_greedy(model, tokenizer, prompt, max_tokens):
    """The plainest way: the whole sequence through the model for every token; no tools."""
    ids = list(prompt)
    forbidden = list(tokenizer.special_ids - {tokenizer.assistant_end})
    while len(ids) < min(CONTEXT, len(prompt) + max_tokens):
        logits = model.logits(model(torch.tensor([ids]))[0, -1])
        logits[forbidden] = -torch.inf
        token = int(logits.argmax())
        if token == tokenizer.assistant_end:
            break
        ids.append(token)
    return tuple(ids[len(prompt) :])


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=7),
    batch_size=st.integers(1, 4),
    data=st.data(),
)
def test_batched_is_alone_is_uncached(model, tokenizer, lengths, batch_size, data):
    prompts = prompts_of(tokenizer, lengths)
    sampling = [Sampling(temperature=0.0, max_tokens=data.draw(st.integers(1, 20))) for _ in prompts]
    engine = Engine(model, tokenizer, tools=False)
    together = engine.generate(prompts, sampling, batch_size=batch_size)
    with torch.inference_mode():
        for prompt, s, completion in zip(prompts, sampling, together, strict=True):
            assert completion.ids == uncached_greedy(model, tokenizer, prompt, s.max_tokens)


def test_an_answer_does_not_depend_on_its_neighbours(model, tokenizer):
    prompts = prompts_of(tokenizer, [3, 30, 11, 19, 7])
    sampling = [Sampling(temperature=1.0, seed=i, max_tokens=15) for i in range(5)]
    engine = Engine(model, tokenizer)
    together = engine.generate(prompts, sampling)
    alone = [engine.generate([p], [s])[0] for p, s in zip(prompts, sampling, strict=True)]
    assert together == alone
    assert together == engine.generate(prompts, sampling, batch_size=2)


def test_samples_of_one_prompt_differ_from_the_first_token_on(model, tokenizer):
    prompt = prompts_of(tokenizer, [5])[0]
    samples = Engine(model, tokenizer).generate([prompt] * 20, Sampling(temperature=1.0, max_tokens=3))
    assert len({sample.ids[:1] for sample in samples}) > 5
    again = Engine(model, tokenizer).generate([prompt] * 20, Sampling(temperature=1.0, max_tokens=3))
    assert samples == again


def test_the_calculator_answers_and_only_the_engine_writes_it(tokenizer):
    t = tokenizer
    script = [*t.encode("so "), t.python_start, *t.encode("12/60"), t.python_end]
    forced = [t.output_start, *t.encode("0.2"), t.output_end]
    ids = [*script, *[t.assistant_end] * len(forced), *t.encode("0.2."), t.assistant_end]
    completion = Engine(scripted(t, ids), t).generate([[t.bos]], Sampling(temperature=0, max_tokens=60))[0]
    assert completion.parts == (
        Part("text", "so "),
        Part("python", "12/60"),
        Part("python_output", "0.2"),
        Part("text", "0.2."),
    )
    assert completion.finish == "stop"
    injected = [id for id, by_engine in zip(completion.ids, completion.injected, strict=True) if by_engine]
    assert injected == forced


@pytest.mark.parametrize("call", ["1/0", "import os", "9**9**9", ""])
def test_a_failing_call_gets_an_error_written_there(tokenizer, call):
    t = tokenizer
    script = [t.python_start, *t.encode(call), t.python_end, *[t.assistant_end] * 80]
    completion = Engine(scripted(t, script), t).generate([[t.bos]], Sampling(temperature=0, max_tokens=80))[0]
    outputs = [part.text for part in completion.parts if part.type == "python_output"]
    assert len(outputs) == 1
    assert outputs[0].startswith("error: ")


@pytest.mark.parametrize("tools", [True, False])
def test_what_a_model_may_never_write(tokenizer, tools):
    """Whatever it wants most: no structure but calls and its own end; no calls without tools."""
    t = tokenizer
    for wanted in t.special_ids - {t.assistant_end}:
        model = scripted(t, [wanted])
        completion = Engine(model, t, tools=tools).generate([[t.bos]], Sampling(temperature=0, max_tokens=4))[0]
        written = {id for id, i in zip(completion.ids, completion.injected, strict=True) if not i}
        allowed = {t.python_start} if tools else set()
        assert written & t.special_ids <= allowed


def test_an_open_call_cannot_end_the_answer(tokenizer):
    t = tokenizer
    completion = Engine(scripted(t, [t.python_start, t.assistant_end]), t).generate([[t.bos]], GREEDY)[0]
    assert completion.finish == "length"
    assert completion.ids[0] == t.python_start
    assert completion.parts == (), "half a call is no part of the conversation that goes on"


@pytest.mark.parametrize("max_tokens", range(1, 30))
def test_wherever_an_answer_is_cut_it_holds_whole_calls_with_whole_outputs(tokenizer, max_tokens):
    t = tokenizer
    script = [*t.encode("so "), t.python_start, *t.encode("12345*1"), t.python_end, *[0] * 12, *t.encode("yes")]
    completion = Engine(scripted(t, [*script, t.assistant_end]), t).generate(
        [[t.bos]], Sampling(temperature=0, max_tokens=max_tokens)
    )[0]
    calls = [part.text for part in completion.parts if part.type == "python"]
    outputs = [part.text for part in completion.parts if part.type == "python_output"]
    assert (calls, outputs) in (([], []), (["12345*1"], ["12345"]))
    rendered = render(Conversation((Message("user", ""), Message("assistant", completion.parts))), t).ids
    answer = rendered[rendered.index(t.assistant_start) + 1 : -1]
    assert list(completion.ids[: len(answer)]) == answer
    if t.python_end in completion.ids:
        assert answer == list(completion.ids)


def test_the_end_of_the_context_is_said(tokenizer):
    t = tokenizer
    model = scripted(t, t.encode("a"), context=24)
    completion = Engine(model, t).generate([[t.bos] * 20], Sampling(temperature=0, max_tokens=50))[0]
    assert (completion.finish, len(completion.ids)) == ("context", 4)
    with pytest.raises(UserError, match="the prompt has 24 tokens and the model's context 24"):
        Engine(model, t).generate([[t.bos] * 24], GREEDY)


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(["小鹦鹉", "🦜👩‍👩‍👧", "é"])


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.tuples(st.sampled_from(["text", "call", "broken"]), TEXTS), min_size=1, max_size=4))
def test_streams_hold_whole_characters_and_nothing_raw(tokenizer, pieces):
    """Byte tokens, calls and broken UTF-8 in any order: the pieces join to the parts of the answer."""
    t = tokenizer
    ids: list[int] = []
    for kind, text in pieces:
        data = text.encode()
        if kind == "broken":
            data = data[:-1] + b"\xe5"
        tokens = [_byte_token(t, byte) for byte in data]
        ids += [t.python_start, *t.encode("1+1"), t.python_end, *[0] * 3] if kind == "call" else tokens
    engine = Engine(scripted(t, [*ids, t.assistant_end]), t)
    events = list(engine.stream([t.bos], Sampling(temperature=0, max_tokens=150)))
    completion = events[-1].completion
    assert completion is not None
    assert "".join(e.text for e in events if e.kind == "text") == completion.text
    assert [e.text for e in events if e.kind == "call"] == [p.text for p in completion.parts if p.type == "python"]
    assert [e.text for e in events if e.kind == "result"] == [
        p.text for p in completion.parts if p.type == "python_output"
    ]


def _byte_token(tokenizer, byte):
    return next(i for i in range(256) if tokenizer.token_bytes(i) == bytes([byte]))


def test_the_next_turn_begins_with_what_was_generated(tokenizer):
    """A conversation that goes on after a tool call renders to the ids that the engine has."""
    t = tokenizer
    asked = Conversation((Message("user", "How much?"),))
    prompt = render_prompt(asked, t)
    script = [
        *t.encode("so "),
        t.python_start,
        *t.encode("12/60"),
        t.python_end,
        *[0] * 5,
        *t.encode("0.2."),
        t.assistant_end,
    ]
    completion = Engine(scripted(t, script), t).generate([prompt], Sampling(temperature=0, max_tokens=60))[0]
    answered = (*asked.messages, Message("assistant", completion.parts))
    follow_up = render_prompt(Conversation((*answered, Message("user", "Sure?"))), t)
    so_far = [*prompt, *completion.ids, t.assistant_end]
    assert follow_up[: len(so_far)] == so_far
    assert render(Conversation(answered), t).ids == so_far


def test_top_k_and_top_p_keep_what_they_say():
    logits = torch.tensor([3.0, 1.0, 2.0, 0.0, -1.0])
    drawn = {Sampler(Sampling(top_k=2, seed=s)).draw(logits) for s in range(200)}
    assert drawn == {0, 2}
    share = float(logits.softmax(0)[0])
    assert {Sampler(Sampling(top_p=share - 0.01, seed=s)).draw(logits) for s in range(100)} == {0}
    assert {Sampler(Sampling(top_p=share + 0.01, seed=s)).draw(logits) for s in range(200)} == {0, 2}


def test_temperature_one_draws_by_the_probabilities():
    logits = torch.tensor([1.0, 0.0, -1.0])
    sampler = Sampler(Sampling(temperature=1.0))
    counts = torch.bincount(torch.tensor([sampler.draw(logits) for _ in range(6000)]), minlength=3) / 6000
    assert torch.allclose(counts, logits.softmax(0), atol=0.02)


@pytest.mark.parametrize("bad", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.5}, {"max_tokens": 0}])
def test_sampling_that_means_nothing_is_refused(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        Sampling(**bad)
