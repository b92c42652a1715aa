"""Row plans: whole conversations, apart, in an exact order."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.chat import Conversation, Message, Part, render
from parrotlet.data import PADDING, Batch, PlanOrder, measure_pieces, plan_rows
from parrotlet.data.plan import Pieces
from parrotlet.errors import UserError
from parrotlet.tasks import Task, TaskMixture

LENGTH = 64


class Talks(Task):
    """Conversations made from sizes: item i has `turns[i]` exchanges of about `words[i]` words each."""

    name, dataset, split = "talks", "made here", "train"

    def __init__(self, sizes):
        self.sizes = sizes

    @property
    def fingerprint(self):
        return repr(self.sizes)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        turns, words = self.sizes[index]
        messages = []
        for turn in range(turns):
            call = (
                Part("text", f"{index} "),
                Part("python", "1+1"),
                Part("python_output", "2"),
                Part("text", "so 2"),
            )
            messages += [Message("user", f"{turn} " + "a b " * words), Message("assistant", call)]
        return Conversation(tuple(messages))

    def where(self, index):
        return f"talk {index}"


def order_of(task, tokenizer, supervision="all", length=LENGTH, **steps):
    mixture = TaskMixture([task], seed=3)
    pieces = measure_pieces(mixture, tokenizer, length)
    plan = plan_rows(pieces.length, row_length=length, seed=3, **steps)
    return PlanOrder(mixture, tokenizer, pieces, plan, length=length, supervision=supervision)


def all_batches(order):
    return [batch for batch, _ in order.batches(order.start())]


sizes = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 12)), min_size=1, max_size=40)


@settings(deadline=None)
@given(sizes=sizes, policy=st.sampled_from([{"rows_per_step": 3}, {"conversations_per_step": 5}]))
def test_every_conversation_is_taught_once_and_whole(tokenizer, sizes, policy):
    task = Talks(sizes)
    order = order_of(task, tokenizer, **policy)
    taught: dict[int, list[int]] = {}
    for batch in all_batches(order):
        for row, sources in enumerate(batch.sources):
            for source in sources:
                ids = batch.inputs[row, source.start : source.end].tolist()
                assert ids[0] == tokenizer.bos
                assert ids[-1] == tokenizer.assistant_end
                assert batch.positions[row, source.start : source.end].tolist() == list(range(len(ids)))
                if source.cut is None:
                    assert ids == render(task[source.index], tokenizer).ids
                taught.setdefault(source.index, []).append(ids.count(tokenizer.assistant_end))
            rest = batch.segments[row] == PADDING
            assert (batch.targets[row][rest] == -1).all()
            assert (batch.inputs[row][rest] == tokenizer.assistant_end).all()
    answers = {i: sum(counts) for i, counts in taught.items()}
    left_out = order.pieces.left_out
    by_index = {order.mixture.locate(i)[1]: int(left_out[i]) for i in range(len(left_out))}
    for i, (turns, _) in enumerate(sizes):
        assert answers.get(i, 0) + by_index[i] == turns


@given(words=st.integers(0, 40), length=st.integers(20, 200))
def test_a_conversation_of_any_awkward_length(tokenizer, words, length):
    """Shorter than a row, as long, a token longer, or never fitting: no endless loop, nothing cut, counted."""
    mixture = TaskMixture([Talks([(1, words), (1, 0)])], seed=0)
    whole = {i: len(render(mixture[i], tokenizer)) for i in range(2)}
    if min(whole.values()) > length:
        with pytest.raises(UserError, match="none of the 2 conversations fits"):
            measure_pieces(mixture, tokenizer, length)
        return
    pieces = measure_pieces(mixture, tokenizer, length)
    for i in range(2):
        fits = whole[i] <= length
        assert pieces.left_out[i] == (not fits)
        assert pieces.split[i] == fits


@pytest.mark.parametrize("length", [64, 96, 128, 257, 512])
def test_conversations_of_every_length_up_to_a_row_and_beyond(tokenizer, length):
    """What fits is there whole, once; no row and no step is empty; what is longer is counted and leaves no trace."""
    task = Talks([(1, words) for words in range(length)])
    lengths = [len(render(conversation, tokenizer)) for conversation in task]
    fitting = {i for i, n in enumerate(lengths) if n <= length}
    assert max(lengths) > length
    assert any(length - 3 < n <= length for n in lengths)
    for steps in ({"rows_per_step": 4}, {"conversations_per_step": 8}):
        order = order_of(task, tokenizer, "assistant", length, **steps)
        batches = all_batches(order)
        sources = [source for batch in batches for row in batch.sources for source in row]
        assert sorted(source.index for source in sources) == sorted(fitting)
        assert all(source.end - source.start == lengths[source.index] and source.cut is None for source in sources)
        assert all(((batch.targets != -1).sum(1) > 0).all() for batch in batches)
        assert order.cut == {"talks": {"conversations_split": 0, "exchanges_left_out": length - len(fitting)}}


def test_targets_follow_the_policy(tokenizer):
    task = Talks([(2, 3)])
    ids, mask = render(task[0], tokenizer).ids, render(task[0], tokenizer).mask
    n = len(ids)
    everything = all_batches(order_of(task, tokenizer, "all", rows_per_step=1))[0].targets[0, :n]
    assistant = all_batches(order_of(task, tokenizer, "assistant", rows_per_step=1))[0].targets[0, :n]
    assert everything.tolist() == [*ids[1:], -1]
    assert assistant.tolist() == [*(t if m else -1 for t, m in zip(ids[1:], mask[1:], strict=True)), -1]
    for i, id in enumerate(ids[:-1]):
        if id == tokenizer.assistant_start or id == tokenizer.output_end:
            assert assistant[i] == ids[i + 1], "the answer's first token, and the text after a tool's output"
        if id == tokenizer.python_end:
            assert assistant[i] == -1, "the model never learns to open a tool's output"
        if ids[i + 1] == tokenizer.assistant_end:
            assert assistant[i] == tokenizer.assistant_end, "the model learns to stop"


def test_an_sft_step_holds_so_many_conversations(tokenizer):
    order = order_of(Talks([(1, i % 9) for i in range(33)]), tokenizer, conversations_per_step=8)
    counts = [sum(len(sources) for sources in batch.sources) for batch in all_batches(order)]
    assert counts == [8, 8, 8, 8, 1]
    assert order.steps == 5


def test_epochs_repeat_everything_in_another_order(tokenizer):
    once = order_of(Talks([(1, i % 9) for i in range(20)]), tokenizer, conversations_per_step=4, epochs=1)
    twice = order_of(Talks([(1, i % 9) for i in range(20)]), tokenizer, conversations_per_step=4, epochs=2)
    indices = [s.index for b in all_batches(twice) for row in b.sources for s in row]
    assert sorted(indices) == sorted(list(range(20)) * 2)
    assert [b.hash for b in all_batches(twice)][:5] == [b.hash for b in all_batches(once)]
    assert indices[:20] != indices[20:]


def test_resumes_at_any_step(tokenizer):
    order = order_of(Talks([(1, i % 9) for i in range(30)]), tokenizer, rows_per_step=2)
    whole = list(order.batches(order.start()))
    for stop in range(len(whole)):
        rest = list(order.batches(whole[stop][1]))
        assert [b.hash for b, _ in rest] == [b.hash for b, _ in whole[stop + 1 :]]


def test_rows_are_well_filled():
    """Conversation-like lengths at 2,048: at least 98 % of the positions are used."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(2048, rng.lognormal(5.8, 0.9, 20_000).astype(np.int64) + 10)
    plan = plan_rows(lengths, row_length=2048, rows_per_step=256, seed=0)
    assert lengths.sum() / (len(plan.rows) * 2048) > 0.98
    assert sorted(p for row in plan.rows for p in row) == list(range(20_000))


def test_pieces_survive_the_disk(tmp_path, tokenizer):
    pieces = measure_pieces(TaskMixture([Talks([(3, 9), (1, 2)])], seed=0), tokenizer, LENGTH)
    pieces.save(tmp_path / "p.npz")
    loaded = Pieces.load(tmp_path / "p.npz")
    for name in ("item", "part", "length", "split", "left_out"):
        assert np.array_equal(getattr(loaded, name), getattr(pieces, name))
    assert [p.name for p in tmp_path.iterdir()] == ["p.npz"]


def test_padding_is_counted_as_neither_token_nor_target(tokenizer):
    batch = all_batches(order_of(Talks([(1, 2)]), tokenizer, rows_per_step=1))[0]
    n = len(render(Talks([(1, 2)])[0], tokenizer))
    assert isinstance(batch, Batch)
    assert (batch.tokens, batch.supervised) == (n, n - 1)


@pytest.mark.parametrize("steps", [{"rows_per_step": 4}, {"conversations_per_step": 8}])
def test_pieces_come_phase_by_phase_in_every_epoch(steps):
    rng = np.random.default_rng(1)
    lengths, phases = rng.integers(3, 40, 400), rng.integers(1, 4, 400)
    plan = plan_rows(lengths, phases, row_length=LENGTH, epochs=2, seed=5, **steps)
    second = plan.epoch_starts[1]
    assert sorted(p for row in plan.rows[second:] for p in row) == list(range(400))
    steps_of_first = [range(a, b) for a, b in itertools.pairwise(plan.step_starts) if b <= second]
    seen = [[phases[p] for row in step for p in plan.rows[row]] for step in steps_of_first]
    assert len(seen) > 5
    assert all(max(one) <= min(following) for one, following in itertools.pairwise(seen))
