import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parrotlet.chat import Conversation, Message, Part, render_prompt
from parrotlet.data import Batch
from parrotlet.evals import evaluate_loss, evaluate_task, wilson_interval
from parrotlet.evals.chat_tasks import _logits_after, chosen_items
from parrotlet.hub import Hub
from parrotlet.model import GPT, ModelConfig
from parrotlet.tasks import Task, TaskSpec, build_task
from scripted import decoder_that, model_of


@pytest.fixture(scope="module")
def model(tokenizer):
    config = ModelConfig(depth=1, vocab_size=tokenizer.vocab_size, sequence_len=96, width=32, heads=2, kv_heads=2)
    model = GPT.build(config, seed=0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(2)), alpha=0.2)
    return model


@given(st.integers(1, 2000), st.data())
def test_wilson_interval_holds_the_share_and_solves_its_equation(n, data):
    """Its ends are the shares p with |observed - p| = z·√(p(1 - p) / n)."""
    correct = data.draw(st.integers(0, n))
    low, high = wilson_interval(correct, n)
    share = correct / n
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(share - end) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / n), rel=1e-6, abs=1e-9)


def test_wilson_interval_of_a_published_example():
    """10 of 1319 on GSM8K: the interval that such a figure should be reported with."""
    low, high = wilson_interval(10, 1319)
    assert (round(100 * low, 2), round(100 * high, 2)) == (0.41, 1.39)


def test_bits_per_byte_by_hand(model, tokenizer):
    """Against the plain formula, token by token, with special tokens worth no byte."""
    ids = [tokenizer.bos, *tokenizer.encode("The parrot 小鹦鹉 said"), tokenizer.assistant_end]
    inputs, targets = torch.tensor([ids[:-1]]), torch.tensor([ids[1:]])
    targets[0, 2] = -1
    positions = torch.arange(len(ids) - 1)[None]
    batch = Batch(inputs, targets, positions, torch.zeros_like(inputs), sources=((),), attends="row")
    with torch.no_grad():
        log_p = model.logits(model(inputs))[0].log_softmax(-1)
    kept = [i for i in range(len(ids) - 1) if i != 2]
    nats = -sum(float(log_p[i, ids[i + 1]]) for i in kept)
    size = sum(len(tokenizer.token_bytes(ids[i + 1])) for i in kept)
    measured = evaluate_loss(model, [batch, batch], tokenizer.bytes_per_token)
    assert measured.loss == pytest.approx(nats / len(kept), rel=1e-5)
    assert measured.bits_per_byte == pytest.approx(nats / math.log(2) / size, rel=1e-5)
    assert measured.bytes == 2 * size


def test_nothing_supervised_has_no_loss_but_no_crash(model, tokenizer):
    ids = torch.zeros(1, 4, dtype=torch.int64)
    batch = Batch(ids, ids - 1, ids, ids, sources=((),), attends="row")
    measured = evaluate_loss(model, [batch], tokenizer.bytes_per_token)
    assert (measured.tokens, measured.loss, measured.bits_per_byte) == (0, None, None)


class Choices(Task):
    name, dataset, split, kind, fingerprint = "choices", "made here", "test", "choice", "x"

    def __init__(self, counts, words=3):
        self.counts, self.words = counts, words

    def __len__(self):
        return len(self.counts)

    def __getitem__(self, index):
        letters = tuple("ABCDE"[: self.counts[index]])
        question = Message("user", f"{index} " + "a b " * self.words * index)
        return Conversation((question, Message("assistant", letters[index % len(letters)])), letters=letters)

    def where(self, index):
        return f"choice {index}"

    def judge(self, conversation, answer):
        return answer == conversation.messages[-1].text

    def chance(self, index):
        return 1 / self.counts[index]


def test_only_an_items_own_letters_compete(model, tokenizer):
    """Against the plainest way: each prompt alone, its letters' logits compared by hand."""
    task = Choices([3, 4, 5, 3, 5, 4, 3])
    result = evaluate_task(model, tokenizer, task)
    for answer, item in zip(result.answers, task, strict=True):
        prompt = render_prompt(Conversation(item.messages[:-1]), tokenizer)
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([prompt]))[0, -1])
        best = max(item.letters, key=lambda letter: float(logits[tokenizer.encode(letter)[0]]))
        assert answer.parts == (Part("text", best),)
        assert answer.correct == (best == item.messages[-1].text)
    assert result.chance == pytest.approx(np.mean([1 / n for n in task.counts]))


def test_prompts_of_other_lengths_change_no_logit(model, tokenizer):
    prompts = [tokenizer.encode("a b c d e f g h"[: 2 * n]) for n in (2, 8, 5)]
    together = _logits_after(model, prompts)
    for prompt, row in zip(prompts, together, strict=True):
        assert torch.allclose(row, _logits_after(model, [prompt])[0], atol=1e-5)


def test_what_does_not_fit_is_wrong_and_counted(model, tokenizer):
    result = evaluate_task(model, tokenizer, Choices([4] * 12, words=4))
    assert 0 < result.too_long < 12
    assert result.n == 12
    assert not any(a.correct for a in result.answers if a.finish == "too long")
    assert "too long" in result.summary()


class AlwaysOne(torch.nn.Module):
    """Likes one token best, whatever it reads."""

    def __init__(self, tokenizer, liked):
        super().__init__()
        self.config = ModelConfig.from_depth(1, tokenizer.vocab_size, 2048)
        self.scores = torch.nn.Parameter(torch.zeros(tokenizer.vocab_size))
        self.scores.data[tokenizer.encode(liked)[0]] = 1

    def forward(self, inputs):
        return inputs

    def logits(self, hidden):
        return self.scores.expand(len(hidden), -1)


@pytest.mark.real_data
@pytest.mark.parametrize("letter", "ABCDE")
@pytest.mark.parametrize("name", ["arc-easy", "arc-challenge"])
def test_always_one_letter_is_right_as_often_as_that_letter(real_data, tokenizer, name, letter):
    """Of the questions that have it; of the others, as often as their first."""
    task = build_task(TaskSpec(task=name, split="test"), Hub(folder=real_data / "hub"))
    golds = [item.messages[-1].text for item in task]
    expected = [gold == (letter if letter in item.letters else "A") for gold, item in zip(golds, task, strict=True)]
    result = evaluate_task(AlwaysOne(tokenizer, letter), tokenizer, task)
    assert [answer.correct for answer in result.answers] == expected
    assert result.accuracy == sum(expected) / len(task)
    assert 0 < result.accuracy < 0.4, "the golds are spread"


class Sums(Task):
    name, dataset, split, kind, fingerprint = "sums", "made here", "test", "generative", "x"

    def __len__(self):
        return 30

    def __getitem__(self, index):
        return Conversation((Message("user", f"{index}?"), Message("assistant", "#### 4")))

    def where(self, index):
        return f"sum {index}"

    def judge(self, conversation, answer):
        return answer.strip() == "4"


def test_with_and_without_the_calculator(tokenizer, monkeypatch):
    """A model that calls the calculator where it may, and repeats its result; where it may not, it says 5."""
    t = tokenizer
    after = {
        t.assistant_start: [t.python_start, t.encode("5")[0]],
        t.python_start: t.encode("4"),
        t.encode("4")[0]: [t.python_end, t.assistant_end],
        t.output_end: t.encode("4"),
    }
    monkeypatch.setattr(
        "parrotlet.engine.engine.Decoder", decoder_that(lambda row: after.get(row[-1], [t.assistant_end]))
    )
    result = evaluate_task(model_of(tokenizer, 96), tokenizer, Sums(), limit=20, max_tokens=20)
    assert (result.n, result.accuracy, result.called, result.stopped) == (20, 1.0, 1.0, 1.0)
    assert result.without_tool is not None
    assert result.without_tool.accuracy == 0.0
    entry = result.to_json()
    assert entry["without_tool"]["n"] == 20
    assert entry["low"] < entry["accuracy"] <= entry["high"]
    assert result.transcripts[0]["answer"][0] == {"type": "python", "text": "4"}


def test_a_limit_asks_the_same_spread_items_every_time():
    some = chosen_items(1000, 50)
    assert some == chosen_items(1000, 50)
    assert len(set(some)) == 50
    assert max(some) > 800
    assert min(some) < 200
    assert chosen_items(10, 50) == list(range(10))
