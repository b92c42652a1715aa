"""pass@k: the estimate has no bias, and counts what the judge says."""

import random
from itertools import combinations

import pytest

from parrotlet.chat import Conversation, Message
from parrotlet.engine import Sampling
from parrotlet.errors import UserError
from parrotlet.evals.pass_at_k import Sampled, pass_at_k, sample_task
from parrotlet.model import GPT, ModelConfig


@pytest.mark.parametrize(("n", "correct"), [(1, 0), (1, 1), (5, 0), (5, 2), (6, 3), (7, 7)])
def test_it_is_the_share_of_all_choices_of_k_that_hold_a_right_one(n, correct):
    answers = [True] * correct + [False] * (n - correct)
    for k in range(1, n + 1):
        chosen = [any(some) for some in combinations(answers, k)]
        assert pass_at_k(n, correct, k) == pytest.approx(sum(chosen) / len(chosen))


def test_the_mean_over_items():
    assert Sampled(samples=4, correct=(0, 4, 1)).at(1) == pytest.approx((0 + 1 + 0.25) / 3)


def test_its_interval_is_no_narrower_than_what_is_drawn():
    """Of many draws of items whose chances differ, at least 95 % hold the true mean."""
    draw = random.Random(0)
    chances = [draw.random() ** 2 for _ in range(1000)]
    true, held = sum(1 - (1 - p) ** 2 for p in chances) / 1000, 0
    for _ in range(300):
        items = draw.choices(chances, k=40)
        measured = Sampled(samples=4, correct=tuple(sum(draw.random() < p for _ in range(4)) for p in items))
        low, high = measured.interval(2)
        held += low <= true <= high
    assert held >= 0.95 * 300
    low, high = Sampled(samples=4, correct=(0, 0)).interval(4)
    assert low == 0 < high, "none of two says little"


class Even:
    """Right is what has an even number of characters."""

    name, kind = "even", "generative"

    def __len__(self):
        return 3

    def __getitem__(self, index):
        asked = "How much? " * (200 if index == 2 else 1)
        return Conversation((Message("user", f"{index} {asked}"), Message("assistant", "")))

    def judge(self, conversation, answer):
        return len(answer) % 2 == 0


def test_answers_of_an_item_differ_and_are_judged_one_by_one(tokenizer):
    model = GPT.build(ModelConfig.from_depth(1, tokenizer.vocab_size, 64, width=32, heads=2), seed=0)
    sampling = Sampling(max_tokens=4)
    measured = sample_task(model, tokenizer, Even(), samples=12, sampling=sampling)
    assert measured == sample_task(model, tokenizer, Even(), samples=12, sampling=sampling)
    assert all(0 < correct < 12 for correct in measured.correct[:2]), "an untrained model writes anything"
    assert measured.correct[2] == 0, "it does not fit into the context"
    task = Even()
    task.kind = "choice"
    with pytest.raises(UserError, match="by writing"):
        sample_task(model, tokenizer, task, samples=1, sampling=sampling)
