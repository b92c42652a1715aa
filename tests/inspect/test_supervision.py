"""What the x-ray calls supervised: by hand on one conversation, and by the model's gradients on many."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.chat import Conversation
from parrotlet.data import Batch, PlanOrder, plan_rows
from parrotlet.data.plan import measure_pieces
from parrotlet.inspect import Material, take_xray
from parrotlet.model import GPT, ModelConfig
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.tasks import TaskMixture
from parrotlet.tasks.base import Task
from weng import WENG

MID = """[<|user_start|>Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of babysitting. \
How much did she earn?<|user_end|><|assistant_start|>Weng earns 12/60 = $<|python_start|>12/60<|python_end|>\
<|output_start|>0.2<|output_end|>0.2 per minute.
Working 50 minutes, she earned 0.2 x 50 = $<|python_start|>0.2*50<|python_end|><|output_start|>10<|output_end|>10.
#### 10<|assistant_end|>]"""
SFT = """<|user_start|>Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of babysitting. \
How much did she earn?<|user_end|><|assistant_start|>[Weng earns 12/60 = $<|python_start|>12/60<|python_end|>]\
<|output_start|>0.2<|output_end|>[0.2 per minute.
Working 50 minutes, she earned 0.2 x 50 = $<|python_start|>0.2*50<|python_end|>]<|output_start|>10<|output_end|>[10.
#### 10<|assistant_end|>]"""


@pytest.mark.parametrize(("stage", "golden"), [("mid", MID), ("sft", SFT)])
def test_the_conversation_of_the_design(material_of, stage, golden):
    """Written by hand from DESIGN §2: a stretch is bracketed where the model is trained to produce it."""
    xray = take_xray(material_of([WENG]), STAGES[stage])
    tokens = [token for token in xray.row(0)["tokens"] if token["segment"] == 0]
    drawn, inside = tokens[0]["text"], False
    for before, token in itertools.pairwise(tokens):
        if before["supervised"] != inside:
            inside = before["supervised"]
            drawn += "[" if inside else "]"
        drawn += token["text"]
    assert drawn + "]" * inside == "<|bos|>" + golden
    for before, token in itertools.pairwise(tokens):
        assert before["target"] == token["id"], "supervised or not, what is predicted is the next token"
    assert tokens[-1]["target"] is None
    assert [token["position"] for token in tokens] == list(range(len(tokens)))


class Given(Task):
    """Some conversations."""

    name = dataset = "given"
    split = "train"
    fingerprint = "given"

    def __init__(self, conversations):
        self.conversations = conversations

    def __len__(self):
        return len(self.conversations)

    def __getitem__(self, index):
        return self.conversations[index]

    def where(self, index):
        return f"item {index}"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SAID = st.tuples(st.builds(lambda text: {"type": "text", "text": text}, TEXT))
CALL = st.tuples(TEXT, TEXT).map(lambda c: ({"type": "python", "text": c[0]}, {"type": "python_output", "text": c[1]}))
PARTS = st.lists(st.one_of(SAID, CALL), max_size=3).map(lambda parts: [part for some in parts for part in some])
EXCHANGE = st.tuples(TEXT, st.one_of(TEXT, PARTS))


@st.composite
def conversations(draw):
    turns = draw(st.lists(EXCHANGE, min_size=1, max_size=3))
    messages = [{"role": "system", "content": draw(TEXT)}] if draw(st.booleans()) else []
    for asked, answered in turns:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return Conversation.from_messages(messages, "here")


@settings(max_examples=25, deadline=None)
@given(st.lists(conversations(), min_size=1, max_size=5), st.sampled_from(["mid", "sft"]))
def test_supervised_is_where_the_gradient_of_the_loss_is(tokenizer, talk, name):
    """In the real model, from the real loss: the hidden states whose gradient is not zero."""
    stage = STAGES[name]
    mixture = TaskMixture([Given(talk)], seed=1)
    pieces = measure_pieces(mixture, tokenizer, 256)
    plan = plan_rows(pieces.length, row_length=256, rows_per_step=8, seed=1)
    order = PlanOrder(
        mixture, tokenizer, pieces, plan, length=256, supervision=stage.supervision, attends=stage.attends
    )
    material = Material(Recipe(name="none"))
    material.tokenizer, material.order = tokenizer, lambda stage: order
    xray = take_xray(material, stage)
    shown = [[token["supervised"] for token in xray.row(row)["tokens"]] for row in xray.rows]
    assert shown == gradient_positions(xray.batch, tokenizer.vocab_size)


def gradient_positions(batch: Batch, vocab_size: int) -> list[list[bool]]:
    model = GPT.build(ModelConfig.from_depth(1, vocab_size=vocab_size, sequence_len=256, width=32, heads=2), seed=0)
    hidden = []

    def keep(module, inputs, output):
        output.retain_grad()
        hidden.append(output)

    model.register_forward_hook(keep)
    model.loss_sum(batch.inputs, batch.targets, batch.positions, batch.attention_segments).backward()
    return (hidden[0].grad.abs().sum(-1) > 0).tolist()
