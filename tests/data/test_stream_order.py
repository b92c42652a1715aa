import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrotlet.data import Documents, StreamOrder, TextSource, held_out, keep_all, validation_rows
from parrotlet.errors import UserError

LENGTH = 16


@pytest.fixture
def documents(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(f'{{"text": "{i} {"word " * (i % 37)}"}}\n' for i in range(90)))
    return Documents("texts", [path])


def order(documents, tokenizer, rows_per_step=4, streams=8, seed=1, keep=keep_all):
    sources = [TextSource(documents=documents, keep=keep)] if isinstance(documents, Documents) else documents
    return StreamOrder(sources, tokenizer, length=LENGTH, rows_per_step=rows_per_step, streams=streams, seed=seed)


def take(an_order, steps, state=None):
    return list(itertools.islice(an_order.batches(state or an_order.start()), steps))


def test_rows_do_not_depend_on_the_size_of_a_step(documents, tokenizer):
    small = [b for b, _ in take(order(documents, tokenizer, rows_per_step=3), 8)]
    large = [b for b, _ in take(order(documents, tokenizer, rows_per_step=12), 2)]
    assert np.array_equal(np.concatenate([b.inputs for b in small]), np.concatenate([b.inputs for b in large]))
    assert sum((b.sources for b in small), ()) == sum((b.sources for b in large), ())


@pytest.mark.parametrize("stop", [0, 1, 5, 19])
def test_resumes_exactly_from_any_state(documents, tokenizer, stop):
    whole = take(order(documents, tokenizer), 20)
    state = whole[stop - 1][1] if stop else None
    rest = take(order(documents, tokenizer), 20 - stop, state)
    assert [b.hash for b, _ in rest] == [b.hash for b, _ in whole[stop:]]
    assert [s for _, s in rest] == [s for _, s in whole[stop:]]


def test_streams_read_every_document_once_an_epoch_and_lose_no_token(documents, tokenizer):
    """One stream: the concatenation of its rows is the concatenation of all documents."""
    rows = [b for b, _ in take(order(documents, tokenizer, rows_per_step=1, streams=1), 400)]
    tokens = np.concatenate([b.inputs[0] for b in rows])
    starts = np.flatnonzero(tokens == tokenizer.bos)
    texts = [tokenizer.decode(part[1:]) for part in np.split(tokens, starts)[1 : len(documents) + 1]]
    assert sorted(texts) == sorted(documents)
    targets = np.concatenate([b.targets[0] for b in rows])
    assert np.array_equal(targets[:-1], tokens[1:])


def test_many_streams_share_the_documents_of_an_epoch(documents, tokenizer):
    steps = take(order(documents, tokenizer, rows_per_step=8), 10)
    begun = [s for batch, _ in steps for row in batch.sources for s in row if s.cut not in ("before", "both")]
    seen = [source.index for source in begun]
    assert steps[-1][1]["epochs"] == [0]
    assert len(seen) == len(set(seen))


def test_the_next_epoch_is_counted_and_shuffled_anew(documents, tokenizer):
    steps = take(order(documents, tokenizer, rows_per_step=8), 40)
    epochs = [state["epochs"][0] for _, state in steps]
    assert epochs[0] == 0
    assert epochs[-1] >= 1
    assert epochs == sorted(epochs)


def test_segments_spans_and_cuts_are_right(documents, tokenizer):
    for batch, _ in take(order(documents, tokenizer), 12):
        for row, sources in enumerate(batch.sources):
            for source in sources:
                ids = batch.inputs[row, source.start : source.end].tolist()
                whole = [tokenizer.bos, *tokenizer.encode(documents[source.index])]
                at = (
                    0
                    if source.cut in (None, "after")
                    else next(i for i in range(1, len(whole)) if whole[i : i + len(ids)] == ids)
                )
                assert whole[at : at + len(ids)] == ids
                assert (source.cut in ("after", "both")) == (at + len(ids) < len(whole))
                assert set(batch.segments[row, source.start : source.end].tolist()) == {source.segment}


def test_other_seed_other_order(documents, tokenizer):
    assert (
        take(order(documents, tokenizer, seed=1), 1)[0][0].hash
        != take(order(documents, tokenizer, seed=2), 1)[0][0].hash
    )


def test_held_out_documents_are_never_trained_on(documents, tokenizer):
    held = {i for i in range(len(documents)) if held_out(documents[i], 0.2)}
    assert 5 < len(held) < 35
    training = order(documents, tokenizer, keep=lambda text: not held_out(text, 0.2))
    seen = {s.index for b, _ in take(training, 100) for row in b.sources for s in row}
    validation = validation_rows(
        documents, tokenizer, length=LENGTH, max_tokens=10**6, keep=lambda text: held_out(text, 0.2)
    )
    validated = {s.index for row in validation for s in row.sources}
    assert not seen & held
    assert validated <= held
    assert len(validated) > len(held) / 2


def test_fewer_documents_than_streams(tmp_path, tokenizer):
    (tmp_path / "one.jsonl").write_text('{"text": "just this one document here"}\n')
    documents = Documents("one", [tmp_path / "one.jsonl"])
    batch, state = take(order(documents, tokenizer), 3)[-1]
    assert batch.supervised == batch.inputs.numel()
    assert state["epochs"][0] > 0


def test_documents_without_text_are_refused_rather_than_looped_over(tmp_path, tokenizer):
    (tmp_path / "blank.jsonl").write_text('{"text": " "}\n{"text": ""}\n')
    with pytest.raises(UserError, match="no document with any text"):
        take(order(Documents("blank", [tmp_path / "blank.jsonl"]), tokenizer), 1)


@pytest.mark.parametrize("there", [2, 4, 6])
def test_streams_with_bad_luck_draw_again(tmp_path, tokenizer, there):
    """Of a few documents, half of them held out, many a stream meets none of the others in a while."""
    path = tmp_path / "few.jsonl"
    path.write_text("".join(f'{{"text": "{i} words"}}\n' for i in range(there)))
    an_order = order(Documents("few", [path]), tokenizer, streams=64, keep=lambda text: int(text[0]) % 2 == 0)
    assert all(batch.inputs.numel() for batch, _ in take(an_order, 64))


@given(rows=st.integers(1, 9), micro=st.integers(1, 10))
def test_micro_batches_are_the_batch(documents_batch, rows, micro):
    batch = next(documents_batch.micro_batches(rows))
    parts = list(batch.micro_batches(micro))
    assert sum(len(p) for p in parts) == rows
    assert sum(p.supervised for p in parts) == batch.supervised
    assert np.array_equal(np.concatenate([p.inputs for p in parts]), batch.inputs)


@pytest.fixture(scope="module")
def documents_batch(tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "t.jsonl"
    path.write_text("".join(f'{{"text": "{i} words"}}\n' for i in range(50)))
    return take(order(Documents("t", [path]), tokenizer, rows_per_step=9), 1)[0][0]


def test_hash_sees_every_array(documents, tokenizer):
    batch = take(order(documents, tokenizer), 1)[0][0]
    for name in ("inputs", "targets", "positions", "segments"):
        changed = getattr(batch, name).clone()
        changed[1, 3] += 1
        assert dataclasses.replace(batch, **{name: changed}).hash != batch.hash


def mixed(tmp_path, weights):
    """Sources whose texts are their numbers, each with its weight."""
    sources = []
    for i, weight in enumerate(weights):
        path = tmp_path / f"{i}.jsonl"
        path.write_text("".join(f'{{"text": "{f"source{i} " * (1 + j % 40)}"}}\n' for j in range(50 + 10 * i)))
        sources.append(TextSource(documents=Documents(f"source{i}", [path]), weight=weight))
    return sources


@pytest.mark.parametrize("weights", [(1,), (1, 1), (3, 1), (0.7, 0.2, 0.1), (1, 100)])
def test_weights_are_shares_of_the_tokens_at_any_time(tmp_path, tokenizer, weights):
    an_order = order(mixed(tmp_path, weights), tokenizer, rows_per_step=8)
    given = dict.fromkeys(range(len(weights)), 0)
    for row in range(3000):
        given[an_order.source_of_row(row)] += 1
        if row % 500 == 499:
            for i, weight in enumerate(weights):
                assert abs(given[i] - weight / sum(weights) * (row + 1)) < 4
    tokens = dict.fromkeys((f"source{i}" for i in range(len(weights))), 0)
    for batch, _ in take(an_order, 40):
        for source in (source for row in batch.sources for source in row):
            tokens[source.dataset] += source.end - source.start
    for i, weight in enumerate(weights):
        assert abs(tokens[f"source{i}"] / LENGTH - 320 * weight / sum(weights)) < 4


def test_a_stream_has_its_share_of_every_source_to_itself(tmp_path, tokenizer):
    """So a rank that computes some of the streams needs nothing of the others."""
    an_order = order(mixed(tmp_path, (2, 1)), tokenizer, streams=8)
    for stream in range(8):
        own = [an_order.source_of_row(g) for g in range(stream, 8000, 8)]
        assert abs(sum(own) - 1000 / 3) < 10


@pytest.mark.parametrize("stop", [1, 7, 30])
def test_a_mixture_resumes_exactly(tmp_path, tokenizer, stop):
    whole = take(order(mixed(tmp_path, (3, 1)), tokenizer), 40)
    state = json.loads(json.dumps(whole[stop - 1][1]))
    rest = take(order(mixed(tmp_path, (3, 1)), tokenizer), 40 - stop, state)
    assert [b.hash for b, _ in rest] == [b.hash for b, _ in whole[stop:]]
    assert rest[-1][1] == whole[-1][1]


def test_one_source_of_a_mixture_is_read_as_it_is_alone(tmp_path, tokenizer):
    """Its rows come in the same order; only others come in between."""
    sources = mixed(tmp_path, (2, 1))
    both = take(order(sources, tokenizer, streams=1, rows_per_step=1), 60)
    alone = take(order(sources[1:], tokenizer, streams=1, rows_per_step=1), 12)
    of_second = [b for b, _ in both if b.sources[0][0].dataset == "source1"]
    assert [b.hash for b in of_second[:12]] == [b.hash for b, _ in alone]


def test_every_source_counts_its_own_epochs(tmp_path, tokenizer):
    an_order = order(mixed(tmp_path, (10, 1)), tokenizer, rows_per_step=8)
    state = take(an_order, 200)[-1][1]
    epochs = an_order.epochs(state)
    assert epochs["source0"] > epochs["source1"] >= 0


def test_what_is_planned_is_about_what_is_read(tmp_path, tokenizer):
    an_order = order(mixed(tmp_path, (3, 1)), tokenizer, rows_per_step=8)
    steps = 100
    taken = [row for batch, _ in take(an_order, steps) for row in batch.sources]
    for planned in an_order.planned(steps):
        segments = [s for row in taken for s in row if s.dataset == planned.name]
        assert planned.tokens == pytest.approx(sum(s.end - s.start for s in segments), rel=0.01)
        assert planned.documents == pytest.approx(sum(s.cut in (None, "after") for s in segments), rel=0.1)
        assert planned.epochs == pytest.approx(planned.documents / len(documents_of(an_order, planned.name)), rel=0.03)


def documents_of(an_order, name):
    return next(source.documents for source in an_order.sources if source.documents.name == name)
