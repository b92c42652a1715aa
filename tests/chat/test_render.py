import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.chat import Conversation, Message, Part, render, render_prompt, split_to_fit
from parrotlet.tokenizer import SPECIAL_TOKENS

QUESTION = (
    "Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of babysitting. How much did she earn?"
)
WENG = Conversation(
    (
        Message("user", QUESTION),
        Message(
            "assistant",
            (
                Part("text", "Weng earns 12/60 = $"),
                Part("python", "12/60"),
                Part("python_output", "0.2"),
                Part("text", "0.2 per minute.\nWorking 50 minutes, she earned 0.2 x 50 = $"),
                Part("python", "0.2*50"),
                Part("python_output", "10"),
                Part("text", "10.\n#### 10"),
            ),
        ),
    )
)

texts = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(SPECIAL_TOKENS)
parts = st.builds(Part, st.sampled_from(["text", "python", "python_output"]), texts)
answers = st.builds(Message, st.just("assistant"), texts | st.lists(parts, max_size=4).map(tuple))
exchanges = st.lists(st.tuples(st.builds(Message, st.just("user"), texts), answers), min_size=1, max_size=5)
heads = st.lists(st.builds(Message, st.just("system"), texts), max_size=1)
conversations = st.builds(
    lambda head, turns: Conversation((*head, *itertools.chain.from_iterable(turns))), heads, exchanges
)


def test_golden_conversation(tokenizer):
    """The table of the design, piece by piece."""
    t = tokenizer
    pieces = [
        ([t.bos], 0),
        ([t.user_start], 0),
        (t.encode(QUESTION), 0),
        ([t.user_end, t.assistant_start], 0),
        (t.encode("Weng earns 12/60 = $"), 1),
        ([t.python_start, *t.encode("12/60"), t.python_end], 1),
        ([t.output_start, *t.encode("0.2"), t.output_end], 0),
        (t.encode("0.2 per minute.\nWorking 50 minutes, she earned 0.2 x 50 = $"), 1),
        ([t.python_start, *t.encode("0.2*50"), t.python_end], 1),
        ([t.output_start, *t.encode("10"), t.output_end], 0),
        (t.encode("10.\n#### 10"), 1),
        ([t.assistant_end], 1),
    ]
    rendering = render(WENG, t)
    assert rendering.ids == [id for ids, _ in pieces for id in ids]
    assert rendering.mask == [mask for ids, mask in pieces for _ in ids]


def test_system_message_is_joined_to_the_first_user_message(tokenizer):
    with_system = Conversation((Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Hello")))
    joined = Conversation((Message("user", "Be kind.\n\nHi"), Message("assistant", "Hello")))
    assert render(with_system, tokenizer) == render(joined, tokenizer)


@given(conversations)
def test_special_tokens_come_from_the_structure_alone(tokenizer, conversation):
    """Text that spells a special token adds none, and there is exactly one <|bos|>."""
    rendering = render(conversation, tokenizer)
    specials = [id for id in rendering.ids if id in tokenizer.special_ids]
    assert rendering.ids.count(tokenizer.bos) == 1
    messages = [m for m in conversation.messages if m.role != "system"]
    tool_parts = sum(part.type != "text" for m in messages if m.role == "assistant" for part in m.parts)
    assert len(specials) == 1 + 2 * len(messages) + 2 * tool_parts
    assert len(rendering.mask) == len(rendering.ids)


@given(conversations)
def test_mask_is_what_the_assistant_writes(tokenizer, conversation):
    """Read back from the ids alone: inside an answer, but for tool outputs and the start token."""
    t = tokenizer
    expected, answering, output = [], False, False
    rendering = render(conversation, t)
    for id in rendering.ids:
        output = output or id == t.output_start
        expected.append(int(answering and not output))
        answering = (answering or id == t.assistant_start) and id != t.assistant_end
        output = output and id != t.output_end
    assert rendering.mask == expected


@given(conversations)
def test_prompt_of_every_turn_is_a_prefix_of_the_training_ids(tokenizer, conversation):
    ids = render(conversation, tokenizer).ids
    for n in range(1, len(conversation.messages) + 1):
        if conversation.messages[n - 1].role == "user":
            prompt = render_prompt(Conversation(conversation.messages[:n]), tokenizer)
            assert ids[: len(prompt)] == prompt


@settings(max_examples=200)
@given(conversations, st.integers(8, 120))
def test_split_keeps_whole_exchanges_and_counts_the_rest(tokenizer, conversation, room):
    parts, left_out = split_to_fit(conversation, tokenizer, room)
    exchanges = sum(m.role == "user" for m in conversation.messages)
    kept = sum(part.rendering.ids.count(tokenizer.assistant_end) for part in parts)
    assert kept + left_out == exchanges
    for part in parts:
        assert len(part.rendering) <= room
        assert part.rendering.ids[0] == tokenizer.bos
        assert part.rendering.ids[-1] == tokenizer.assistant_end
    if len(parts) == 1 and not left_out:
        assert parts[0].rendering == render(conversation, tokenizer)
        assert not parts[0].before
        assert not parts[0].after
    if left_out:
        assert not parts or parts[0].before or parts[-1].after or len(parts) > 1


def test_a_part_says_whether_it_has_something_before_and_after_it(tokenizer):
    def exchange(text):
        return (Message("user", text), Message("assistant", "yes"))

    def flags(*asked, room):
        parts, left_out = split_to_fit(Conversation((*itertools.chain(*map(exchange, asked)),)), tokenizer, room)
        return [(part.before, part.after) for part in parts], left_out

    one, two = (len(render(Conversation(exchange("a") * n), tokenizer)) for n in (1, 2))
    assert flags("a", "b", room=two) == ([(False, False)], 0)
    assert flags("a", "b", "c", room=two) == ([(False, True), (True, False)], 0)
    assert flags("a", "b", "c", room=one) == ([(False, True), (True, True), (True, False)], 0)
    assert flags("a" * 50, "b", "c" * 50, room=one) == ([(True, True)], 2)
