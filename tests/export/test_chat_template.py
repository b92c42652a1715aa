"""The exported tokenizer and its chat template give the ids that training uses."""

import random
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrotlet.chat import Conversation, render, render_prompt
from parrotlet.hub import Hub
from parrotlet.tasks import TaskSpec, build_task
from parrotlet.tokenizer.stored import SPECIAL_TOKENS
from weng import WENG

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def theirs(chat_folder):
    return transformers.AutoTokenizer.from_pretrained(chat_folder)


TEXTS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        st.sampled_from(
            [*SPECIAL_TOKENS, "<", "|", "<|", "\ufdd0", "<\ufdd0", "<\ufdd0|bos|>", "\n", "  ", "{{", "{%"]
        ),
    ),
    max_size=5,
).map("".join)
CALL = ("python", "python_output")


@st.composite
def conversations(draw):
    system = [{"role": "system", "content": draw(TEXTS)}] if draw(st.booleans()) else []
    turns = []
    for _ in range(draw(st.integers(1, 3))):
        turns += [{"role": "user", "content": draw(TEXTS)}, {"role": "assistant", "content": draw(answers())}]
    return system + turns


@st.composite
def answers(draw):
    if draw(st.booleans()):
        return draw(TEXTS)
    pieces = draw(st.lists(st.sampled_from([("text",), CALL]), max_size=4))
    apart = [piece for i, piece in enumerate(pieces) if piece == CALL or i == 0 or pieces[i - 1] == CALL]
    return [{"type": kind, "text": draw(TEXTS)} for piece in apart for kind in piece]


def ids_of(theirs, messages, **kwargs):
    return theirs.apply_chat_template(messages, tokenize=True, return_dict=False, **kwargs)


@given(messages=conversations())
def test_whole_conversations_are_rendered_as_in_training(theirs, tokenizer, messages):
    expected = render(Conversation.from_messages(messages, "test"), tokenizer).ids
    assert ids_of(theirs, messages) == expected


@given(messages=conversations())
def test_prompts_are_the_engines_and_a_prefix_of_training(theirs, tokenizer, messages):
    asked = messages[:-1]
    prompt = ids_of(theirs, asked, add_generation_prompt=True)
    assert prompt == render_prompt(Conversation.from_messages(asked, "test"), tokenizer)
    assert render(Conversation.from_messages(messages, "test"), tokenizer).ids[: len(prompt)] == prompt


def test_the_conversation_to_hold_on_to(theirs, tokenizer):
    assert ids_of(theirs, WENG) == render(Conversation.from_messages(WENG, "test"), tokenizer).ids


@pytest.mark.real_data
def test_a_thousand_real_conversations(theirs, tokenizer, real_data):
    """Real talk and word problems with calls: whole, and the prompt of the last answer."""
    tasks = [build_task(TaskSpec(task=name), Hub(folder=real_data / "hub")) for name in ("smoltalk", "gsm8k")]
    for item in (task[index] for task in tasks for index in range(500)):
        messages = [
            {"role": m.role, "content": m.content if isinstance(m.content, str) else [asdict(p) for p in m.content]}
            for m in item.messages
        ]
        ids = render(item, tokenizer).ids
        assert ids_of(theirs, messages) == ids
        asked = messages[:-1] if messages[-1]["role"] == "assistant" else messages
        prompt = ids_of(theirs, asked, add_generation_prompt=True)
        assert prompt[: len(ids)] == ids[: len(prompt)]


def test_ten_thousand_random_texts_have_our_ids(theirs, tokenizer):
    draw = random.Random(0)
    ranges = [(32, 127), (32, 127), (0, 0x250), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF), (0, 0xD7FF), (0xE000, 0x10FFFF)]

    def text():
        kinds = draw.choices(ranges, k=draw.randint(0, 40))
        return "".join(chr(draw.randint(*kind)) for kind in kinds)

    texts = [text() for _ in range(10_000)]
    assert theirs(texts, add_special_tokens=False)["input_ids"] == tokenizer.encode_batch(texts)
    assert theirs.decode(tokenizer.encode("小 鹦鹉 , ok . ")) == "小 鹦鹉 , ok . "


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "system", "content": "s"}],
        [{"role": "assistant", "content": "a"}],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}],
        [{"role": "user", "content": [{"type": "python", "text": "1"}]}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": [{"type": "image", "text": "1"}]}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": [{"type": "text", "text": "1"}] * 2}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": [{"type": "python", "text": "1"}]}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": [{"type": "python_output", "text": "1"}]}],
    ],
)
def test_what_training_could_not_render_is_refused(theirs, messages):
    with pytest.raises(Exception, match=r"message|turns|types?|join|list index|followed by"):
        ids_of(theirs, messages)


def test_the_example_in_the_documentation_runs(chat_folder, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")
    (tmp_path / "out").symlink_to(chat_folder)
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], {})
    asked, answered = capsys.readouterr().out.split("<|assistant_start|>")
    assert asked == "<|bos|><|user_start|>Add 224 and 372.<|user_end|>"
    assert "<|output_start|>596<|output_end|>" in answered
