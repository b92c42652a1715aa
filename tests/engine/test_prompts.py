"""What the engine feeds and writes is what the trainer renders."""

import random

from parrotlet.chat import Conversation, Message, Part, render, render_prompt
from parrotlet.engine import Engine, Sampling
from parrotlet.tools import ToolError, calculate
from scripted import engine_that

TEXTS = ("so she has ", "小鹦鹉说 ", "<|python_start|>not a call<|python_end|> ", "\n#### ", " 🦜 ", "a b  c", "")
CALLS = ("12/60", "0.2*50", "1/0", "'parrot'.count('r')", "7-", "2**9", "1,000*3")


def result_of(expression):
    try:
        return calculate(expression)
    except ToolError as error:
        return f"error: {error}"


def an_answer(rng):
    parts = []
    for _ in range(rng.randint(1, 3)):
        if text := rng.choice(TEXTS):
            parts.append(Part("text", text))
        if rng.random() < 0.7:
            call = rng.choice(CALLS)
            parts += [Part("python", call), Part("python_output", result_of(call))]
    return tuple(parts)


def a_conversation(rng):
    messages = [Message("system", "Be brief.")] if rng.random() < 0.3 else []
    for _ in range(rng.randint(2, 4)):
        messages += [
            Message("user", f"{rng.randint(0, 10**9)}? {rng.choice(TEXTS)}"),
            Message("assistant", an_answer(rng)),
        ]
    return Conversation(tuple(messages))


def test_the_ids_of_a_thousand_conversations_are_the_trainers(tokenizer):
    """Every turn of every conversation, as prompt and answer, is what the trainer renders, with calls in earlier turns
    and in this one: fed by the engine, written by a model that says what it was taught, with the engine's results."""
    t, rng, taught, whole = tokenizer, random.Random(0), {}, {}
    for _ in range(1000):
        conversation = a_conversation(rng)
        rendering = render(conversation, t)
        for i, message in enumerate(conversation.messages):
            if message.role == "assistant":
                asked = Conversation(conversation.messages[:i])
                prompt = tuple(render_prompt(asked, t))
                end = len(render(Conversation(conversation.messages[: i + 1]), t))
                assert tuple(rendering.ids[: len(prompt)]) == prompt
                whole[prompt] = asked, rendering.ids[:end]
                taught[prompt] = rendering.ids[len(prompt) : end]

    def wants(row):
        start = len(row) - row[::-1].index(t.assistant_start)
        return [taught[tuple(row[:start])][len(row) - start]]

    engine: Engine = engine_that(t, wants, context=2000)
    done = engine.generate([asked for asked, _ in whole.values()], Sampling(temperature=0, max_tokens=1000))
    calls = 0
    for (prompt, (_, ids)), completion in zip(whole.items(), done, strict=True):
        assert [*prompt, *completion.ids, t.assistant_end] == ids
        calls += completion.ids.count(t.python_start)
    assert calls > 1000
