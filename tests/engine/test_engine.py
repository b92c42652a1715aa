"""Batched = alone = uncached, with requests that join and leave; the tool protocol; the context; other threads."""

import copy
import itertools
import threading
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.chat import Conversation, Message, Part, render, render_prompt
from parrotlet.engine import Engine, Sampling
from parrotlet.errors import UserError
from scripted import engine_that, scripted

CONTEXT = 64
GREEDY = Sampling(temperature=0.0, max_tokens=20)


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


def run_to_the_end(engine):
    """All completions, by request."""
    done = {}
    while engine.wait(1 if engine._rows.turns else 0):
        done |= {event.request: event.completion for event in engine.step() if event.kind == "end"}
    return done


# Batched = alone = uncached

SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.0, 1.0, 0.7]),
    top_k=st.sampled_from([None, 5]),
    top_p=st.sampled_from([None, 0.8]),
    min_p=st.sampled_from([None, 0.05]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    seed=st.integers(0, 100),
    max_tokens=st.integers(1, 20),
    logprobs=st.sampled_from([None, 0, 3]),
)


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    rows=st.integers(1, 4),
    data=st.data(),
)
def test_batched_is_alone_is_uncached(model, tokenizer, lengths, rows, data):
    """Requests of mixed lengths join between steps, some are cancelled, and rows are reused. Greedy answers are the
    model's own, uncached; all of them are those of an engine that has nothing else to do, logprobs and all."""
    prompts = prompts_of(tokenizer, lengths)
    samplings = [data.draw(SAMPLINGS) for _ in prompts]
    engine, asked, done = Engine(model, tokenizer, rows=rows), {}, {}
    for prompt, sampling in zip(prompts, samplings, strict=True):
        asked[engine.submit(prompt, sampling, tools=False)] = prompt, sampling
        for _ in range(data.draw(st.integers(0, 6))):
            done |= {event.request: event.completion for event in engine.step() if event.kind == "end"}
        if data.draw(st.sampled_from([False, False, True])):
            engine.cancel(data.draw(st.sampled_from(sorted(asked))))
    done |= run_to_the_end(engine)
    assert done.keys() == asked.keys()
    for request, (prompt, sampling) in asked.items():
        if done[request].finish == "cancelled":
            continue
        assert done[request] == Engine(model, tokenizer, rows=1).generate([prompt], [sampling], tools=False)[0]
        if sampling.temperature == 0 and sampling.repetition_penalty == 1:
            with torch.inference_mode():
                assert done[request].ids == uncached_greedy(model, tokenizer, prompt, sampling.max_tokens)


def test_samples_of_one_prompt_differ_from_the_first_token_on(model, tokenizer):
    prompt = prompts_of(tokenizer, [5])[0]
    samples = Engine(model, tokenizer).generate([prompt] * 20, Sampling(temperature=1.0, max_tokens=3))
    assert len({sample.ids[:1] for sample in samples}) > 5
    again = Engine(model, tokenizer, rows=3).generate([prompt] * 20, Sampling(temperature=1.0, max_tokens=3))
    assert samples == again


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logprobs_are_the_trainers(model, tokenizer, temperature):
    """Of every sampled token and of what else was likely, also after a result; the engine's own tokens have none."""
    model = copy.deepcopy(model)
    with torch.no_grad():  # calls that it likes to open and to close
        mean_C = model(torch.tensor(prompts_of(tokenizer, [60])))[0].mean(0)
        model.head.weight[[tokenizer.python_start, tokenizer.python_end]] = 8 * mean_C / mean_C.square().sum()
    sampling = Sampling(temperature=temperature, max_tokens=60, logprobs=4)
    prompts = [p for p in prompts_of(tokenizer, [3, 30, 11, 19, 7]) for _ in range(4)]
    done = Engine(model, tokenizer).generate(prompts, sampling)
    assert any(any(c.injected) and not c.injected[-1] for c in done), "no call that an answer goes on after"
    for prompt, completion in zip(prompts, done, strict=True):
        ids = torch.tensor([[*prompt, *completion.ids]])
        own_TV = model.logits(model(ids[:, :-1])[0, len(prompt) - 1 :]).log_softmax(-1)
        assert completion.logprobs is not None
        for id, own_V, logprob, injected in zip(
            completion.ids, own_TV, completion.logprobs, completion.injected, strict=True
        ):
            assert (logprob is None) == injected
            if logprob is not None:
                assert logprob.value == pytest.approx(own_V[id].item(), abs=1e-4)
                assert [value for _, value in logprob.top] == pytest.approx(own_V.topk(4).values.tolist(), abs=1e-4)
                assert [own_V[id].item() for id, _ in logprob.top] == pytest.approx(
                    [value for _, value in logprob.top], abs=1e-4
                )


# What is in memory already


def test_a_prompt_that_begins_like_another_is_fed_from_where_they_part(model, tokenizer, way):
    """Also from a row that is still writing; and the answer is the same to the last bit of its logprobs."""
    prompt = prompts_of(tokenizer, [50])[0]
    other = [*prompt[:37], 5, 6, 7, *prompt[37:52]]
    sampling = Sampling(temperature=1.0, max_tokens=5, logprobs=2)
    engine = Engine(model, tokenizer, rows=2)
    first, second, third = engine.generate([prompt, prompt, other], [sampling] * 3)
    assert (first.reused, second.reused, third.reused) == ((0, len(prompt) - 1, 37) if way == "native" else (0, 32, 32))
    fresh = [Engine(model, tokenizer).generate([p], [sampling])[0] for p in (prompt, other)]
    assert [c.reused for c in fresh] == [0, 0]
    assert [first, second, third] == [fresh[0], fresh[0], fresh[1]]


def test_the_turns_of_a_conversation_feed_only_what_is_new(model, tokenizer, way):
    engine, messages, before = Engine(model, tokenizer, rows=1), (), []
    for i, by_torch in enumerate([0, 0, 32]):
        messages = (*messages, Message("user", f"What is {i}?"))
        prompt = render_prompt(Conversation(messages), tokenizer)
        completion = engine.generate([prompt], Sampling(temperature=0, max_tokens=3))[0]
        assert completion.reused == (max(0, len(before) - 1) if way == "native" else by_torch)
        assert completion == Engine(model, tokenizer).generate([prompt], Sampling(temperature=0, max_tokens=3))[0]
        messages, before = (*messages, Message("assistant", "It is 12.")), prompt


# The tool protocol


def test_the_calculator_answers_and_only_the_engine_writes_it(tokenizer):
    t = tokenizer
    ids = [*t.encode("so "), t.python_start, *t.encode("12/60"), t.python_end, *t.encode("0.2."), t.assistant_end]
    completion = scripted(t, ids).generate([[t.bos]], Sampling(temperature=0, max_tokens=60))[0]
    assert completion.parts == (
        Part("text", "so "),
        Part("python", "12/60"),
        Part("python_output", "0.2"),
        Part("text", "0.2."),
    )
    assert completion.finish == "stop"
    injected = [id for id, by_engine in zip(completion.ids, completion.injected, strict=True) if by_engine]
    assert injected == [t.output_start, *t.encode("0.2"), t.output_end]


@pytest.mark.parametrize("call", ["1/0", "import os", "9**9**9", ""])
def test_a_failing_call_gets_an_error_written_there(tokenizer, call):
    t = tokenizer
    script = [t.python_start, *t.encode(call), t.python_end, t.assistant_end]
    completion = scripted(t, script).generate([[t.bos]], Sampling(temperature=0, max_tokens=80))[0]
    outputs = [part.text for part in completion.parts if part.type == "python_output"]
    assert len(outputs) == 1
    assert outputs[0].startswith("error: ")


@pytest.mark.parametrize("tools", [True, False])
def test_what_a_model_may_never_write(tokenizer, tools):
    """Whatever it wants most: no structure but calls and its own end; no calls without tools."""
    t = tokenizer
    for wanted in t.special_ids - {t.assistant_end}:
        engine = scripted(t, [wanted])
        completion = engine.generate([[t.bos]], Sampling(temperature=0, max_tokens=4), tools=tools)[0]
        written = {id for id, i in zip(completion.ids, completion.injected, strict=True) if not i}
        assert written & t.special_ids <= ({t.python_start} if tools else set())


def test_an_open_call_cannot_end_the_answer(tokenizer):
    t = tokenizer
    completion = scripted(t, [t.python_start, t.assistant_end]).generate([[t.bos]], GREEDY)[0]
    assert completion.finish == "length"
    assert completion.ids[0] == t.python_start
    assert completion.parts == (), "half a call is no part of the conversation that goes on"


@pytest.mark.parametrize("limit", ["max_tokens", "context"])
@pytest.mark.parametrize("most", range(2, 30))
def test_wherever_an_answer_is_cut_it_holds_whole_calls_with_whole_outputs(tokenizer, most, limit):
    t = tokenizer
    script = [*t.encode("so "), t.python_start, *t.encode("12345*1"), t.python_end, *t.encode("yes"), t.assistant_end]
    engine = scripted(t, script, context=1 + most if limit == "context" else 200)
    completion = engine.generate([[t.bos]], Sampling(temperature=0, max_tokens=most))[0]
    calls = [part.text for part in completion.parts if part.type == "python"]
    outputs = [part.text for part in completion.parts if part.type == "python_output"]
    assert (calls, outputs) in (([], []), (["12345*1"], ["12345"]))
    rendered = render(Conversation((Message("user", ""), Message("assistant", completion.parts))), t).ids
    answer = rendered[rendered.index(t.assistant_start) + 1 : -1]
    assert list(completion.ids[: len(answer)]) == answer
    assert limit == "max_tokens" or len(completion.ids) <= most
    if t.output_end in completion.ids:
        assert answer == list(completion.ids)


def test_the_next_turn_begins_with_what_was_generated(tokenizer):
    """A conversation that goes on after a tool call renders to the ids that the engine has."""
    t = tokenizer
    asked = Conversation((Message("user", "How much?"),))
    prompt = render_prompt(asked, t)
    script = [*t.encode("so "), t.python_start, *t.encode("12/60"), t.python_end, *t.encode("0.2."), t.assistant_end]
    completion = scripted(t, script, prompt=len(prompt)).generate([asked], Sampling(temperature=0, max_tokens=60))[0]
    answered = (*asked.messages, Message("assistant", completion.parts))
    follow_up = render_prompt(Conversation((*answered, Message("user", "Sure?"))), t)
    so_far = [*prompt, *completion.ids, t.assistant_end]
    assert follow_up[: len(so_far)] == so_far
    assert render(Conversation(answered), t).ids == so_far


def test_others_go_on_while_a_call_runs(tokenizer):
    """And the row that waits computes nothing."""
    t, release = tokenizer, threading.Event()
    call = [t.python_start, *t.encode("slow"), t.python_end]
    text = t.encode("the parrot flew over the river")

    def wants(row):
        n = len(row) - 2
        if row[1] == 1:  # the second prompt never calls
            return [text[n % len(text)]]
        return [call[n] if n < len(call) else t.assistant_end]

    engine = engine_that(t, wants, tool=lambda _: release.wait(20) and "done", tool_seconds=30)
    caller = engine.submit([t.bos, 0], Sampling(temperature=0, max_tokens=50))
    other = engine.submit([t.bos, 1], Sampling(temperature=0, max_tokens=100))
    events = []
    for _ in range(40):
        events += engine.step()
    assert [e.text for e in events if e.request == caller] == ["slow"]
    assert sum(e.request == other for e in events) > 20
    assert len(engine._rows.decoding) == 1
    release.set()
    done = run_to_the_end(engine)
    assert done[caller].parts[-1] == Part("python_output", "done")
    assert (done[caller].finish, done[other].finish, len(done[other].ids)) == ("stop", "length", 100)


def test_a_call_has_a_time_limit_in_any_thread(tokenizer):
    t, answers = tokenizer, []
    script = [t.python_start, *t.encode("slow"), t.python_end, t.assistant_end]
    engine = scripted(t, script, tool=lambda _: time.sleep(60) or "late", tool_seconds=0.2)
    thread = threading.Thread(target=lambda: answers.extend(engine.generate([[t.bos]], Sampling(max_tokens=80))))
    began = time.monotonic()
    thread.start()
    thread.join(20)
    assert time.monotonic() - began < 15
    assert answers[0].parts[-1] == Part("python_output", "error: no result after 0.2 seconds")


def test_what_a_tool_should_not_raise_is_told_once_and_ends_that_answer_only(tokenizer):
    t = tokenizer
    engine = scripted(t, [*t.encode("a"), t.python_start, t.python_end], tool={}.__getitem__)
    failing = engine.submit([t.bos], Sampling(temperature=0, max_tokens=9))
    other = engine.submit([t.bos], Sampling(temperature=0, max_tokens=9), tools=False)
    with pytest.raises(KeyError):
        run_to_the_end(engine)
    done = run_to_the_end(engine)
    assert (done[failing].finish, done[other].finish) == ("cancelled", "length")


# The context


def test_the_end_of_the_context_is_the_end_of_the_answer(tokenizer):
    t = tokenizer
    engine = scripted(t, t.encode("a"), context=24)
    completion = engine.generate([[t.bos] * 20], Sampling(temperature=0, max_tokens=50))[0]
    assert (completion.finish, len(completion.ids)) == ("length", 4)
    with pytest.raises(UserError, match="the prompt has 24 tokens and the model's context 24"):
        engine.generate([[t.bos] * 24], GREEDY)


@pytest.mark.parametrize("last", [[], [-1], [10**6]])
def test_a_prompt_of_no_tokens_or_strange_ones_is_refused(tokenizer, last):
    engine = scripted(tokenizer, tokenizer.encode("a"))
    with pytest.raises(UserError, match=f"each from 0 to {tokenizer.vocab_size - 1}"):
        engine.generate([[tokenizer.bos] * bool(last) + last], GREEDY)


def conversation_of(exchanges):
    turns = [(Message("user", f"What is {i}?"), Message("assistant", f"It is {i}.")) for i in range(exchanges)]
    return Conversation((Message("system", "Be brief."), *itertools.chain(*turns), Message("user", "And now?")))


@pytest.mark.parametrize("exchanges", [1, 2, 3, 5])
def test_a_full_context_slides_by_whole_turns_when_asked(model, tokenizer, exchanges):
    """Each token is the one after the newest whole turns that fit, the system message, and the answer so far."""
    whole, answer, left_out = conversation_of(exchanges), [], 0
    events = list(Engine(model, tokenizer).stream(whole, GREEDY, tools=False, slide=True))
    completion = events[-1].completion
    assert completion is not None
    prompts = [
        render_prompt(Conversation((whole.messages[0], *whole.messages[1 + 2 * n :])), tokenizer)
        for n in range(exchanges + 1)
    ]
    left_out = next((n for n, p in enumerate(prompts) if len(p) <= CONTEXT - CONTEXT // 4), exchanges)
    while len(answer) < len(completion.ids):
        while left_out < exchanges and len(prompts[left_out]) + len(answer) >= CONTEXT:
            left_out += 1
        with torch.inference_mode():
            answer += uncached_greedy(model, tokenizer, [*prompts[left_out], *answer], 1)
    assert tuple(answer) == completion.ids
    while left_out < exchanges and len(prompts[left_out]) + len(answer) >= CONTEXT:
        left_out += 1
    assert completion.left_out == left_out


def test_sliding_goes_on_where_not_sliding_ends(tokenizer):
    t, whole = tokenizer, conversation_of(1)
    prompt = render_prompt(whole, t)
    engine = engine_that(t, lambda row: t.encode("a"), context=len(prompt) + 40)
    sampling = Sampling(temperature=0, max_tokens=60)
    cut, slid = engine.generate([whole], sampling)[0], list(engine.stream(whole, sampling, slide=True))[-1].completion
    assert (cut.finish, len(cut.ids), cut.left_out) == ("length", 40, 0)
    assert slid is not None
    assert (slid.finish, len(slid.ids), slid.left_out) == ("length", 60, 1)
    assert (cut.reused, slid.reused) == (0, 0), "the second prompt's, of the prompt that it ended with"


def test_the_penalty_forgets_what_was_left_out(tokenizer):
    t, whole = tokenizer, conversation_of(1)
    only_there = t.encode("What is 0?")[-2]
    prompt = render_prompt(whole, t)
    engine = engine_that(t, lambda row: t.encode("a"), context=len(prompt) + 40)
    sampling = Sampling(temperature=0, max_tokens=60, repetition_penalty=1.1)
    engine.submit(whole, sampling, tools=False, slide=True)
    seen = []
    while engine.wait(0):
        engine.step()
        seen += [only_there in turn.sampler.seen for turn in engine._rows.turns]
    assert (seen[0], seen[-1]) == (True, False)


# Other threads


def test_requests_come_and_go_from_other_threads(model, tokenizer):
    """As a server does it: one thread steps, others ask and cancel. Answers are those of an engine alone."""
    engine, stopped = Engine(model, tokenizer, rows=3), threading.Event()
    done, news = {}, threading.Condition()

    def drive():
        while not stopped.is_set():
            if engine.wait(0.05):
                ended = {e.request: e.completion for e in engine.step() if e.kind == "end"}
                with news:
                    done.update(ended)
                    news.notify_all()

    def ask(prompt, sampling):
        request = engine.submit(prompt, sampling)
        if sampling.seed % 3 == 0:
            engine.cancel(request)
        with news:
            assert news.wait_for(lambda: request in done, 30)
        answers[sampling.seed] = done[request]

    answers: dict = {}
    prompts = prompts_of(tokenizer, [5, 9, 30, 50, 3, 12, 40, 2, 7, 21, 33, 11])
    samplings = [Sampling(seed=i, max_tokens=12) for i in range(len(prompts))]
    driver = threading.Thread(target=drive)
    askers = [threading.Thread(target=ask, args=pair) for pair in zip(prompts, samplings, strict=True)]
    driver.start()
    for thread in askers:
        thread.start()
    for thread in askers:
        thread.join(60)
    stopped.set()
    driver.join(10)
    assert answers.keys() == set(range(12))
    for i, prompt in enumerate(prompts):
        if answers[i].finish != "cancelled":
            assert answers[i] == Engine(model, tokenizer, rows=1).generate([prompt], [samplings[i]])[0]
    assert sum(a.finish == "cancelled" for a in answers.values()) <= 4


def test_a_cancelled_answer_ends_where_it_is_and_frees_its_row(tokenizer):
    t = tokenizer
    engine = engine_that(t, lambda row: t.encode("a"), rows=1)
    first = engine.submit([t.bos], Sampling(temperature=0, max_tokens=100))
    second = engine.submit([t.bos, 0], Sampling(temperature=0, max_tokens=3))
    third = engine.submit([t.bos, 1], Sampling(temperature=0, max_tokens=3))
    for _ in range(5):
        engine.step()
    engine.cancel(first)
    engine.cancel(third)
    engine.cancel(12345)
    done = run_to_the_end(engine)
    assert (done[first].finish, len(done[first].ids), done[first].text) == ("cancelled", 5, "aaaaa")
    assert (done[second].finish, done[third].finish, done[third].ids) == ("length", "cancelled", ())
    assert not engine.wait(0)


def test_a_stream_that_is_left_is_cancelled(tokenizer):
    t = tokenizer
    engine = engine_that(t, lambda row: t.encode("a"), rows=1)
    assert engine.generate([], GREEDY) == engine.generate([], GREEDY) == []
    stream = engine.stream([t.bos], Sampling(temperature=0, max_tokens=100))
    assert next(stream).text == "a"
    with pytest.raises(RuntimeError, match="isn't over"):
        engine.generate([[t.bos]], GREEDY)
    stream.close()
    assert not engine.wait(0)
    assert engine.generate([[t.bos, 0]], Sampling(temperature=0, max_tokens=3))[0].text == "aaa"
