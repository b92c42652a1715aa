"""The model is the architecture that `transformers` calls NanoChat: equal logits, loss and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from parrotlet.model import ModelConfig

transformers = pytest.importorskip("transformers")

NAMES = {
    "embedding": "model.embed_tokens",
    "head": "lm_head",
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "mlp.up": "mlp.fc1",
    "mlp.down": "mlp.fc2",
}


@st.composite
def configs(draw):
    kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    heads = kv_heads * group
    return ModelConfig(
        depth=draw(st.integers(1, 4)),
        vocab_size=draw(st.integers(11, 301)),
        sequence_len=24,
        width=heads * draw(st.sampled_from([8, 10, 16])),
        heads=heads,
        kv_heads=kv_heads,
        rope_theta=draw(st.sampled_from([100.0, 10_000.0, 500_000.0])),
        softcap=draw(st.sampled_from([5.0, 15.0, 30.0])),
        norm_eps=draw(st.sampled_from([1e-6, 1e-2])),
    )


def their_name(ours):
    """`blocks.3.attention.q.weight` → `model.layers.3.self_attn.q_proj.weight`."""
    if not ours.startswith("blocks."):
        return NAMES[ours.removesuffix(".weight")] + ".weight"
    _, layer, part = ours.removesuffix(".weight").split(".", 2)
    return f"model.layers.{layer}.{NAMES[part]}.weight"


def the_same_in_transformers(model):
    c = model.config
    theirs = transformers.NanoChatForCausalLM(
        transformers.NanoChatConfig(
            vocab_size=c.vocab_size,
            hidden_size=c.width,
            intermediate_size=c.mlp_width,
            num_hidden_layers=c.depth,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            max_position_embeddings=c.sequence_len,
            rms_norm_eps=c.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
            final_logit_softcapping=c.softcap,
            pad_token_id=None,  # their padding token gets no gradient
            attn_implementation="eager",
        )
    )
    theirs.load_state_dict({their_name(name): p.detach() for name, p in model.named_parameters()}, strict=True)
    return theirs


def random_ids(config, rows, length, seed):
    return torch.randint(config.vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(config=configs(), length=st.integers(1, 24), seed=st.integers(0, 2**31))
def test_logits_equal_those_of_transformers(random_model, config, length, seed):
    model = random_model(config, seed=seed)
    ids = random_ids(config, 2, length, seed)
    with torch.no_grad():
        ours, theirs = model.logits(model(ids)), the_same_in_transformers(model)(ids).logits
    assert theirs.abs().max() > 0.5, "logits too small to show a difference"
    assert (ours - theirs).abs().max() <= 1e-5


@settings(max_examples=20, deadline=None)
@given(config=configs(), length=st.integers(3, 24), seed=st.integers(0, 2**31))
def test_loss_and_gradients_equal_those_of_transformers(random_model, config, length, seed):
    model = random_model(config, seed=seed)
    theirs = the_same_in_transformers(model)
    ids = random_ids(config, 2, length, seed)
    supervised = torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    supervised[0, 1] = True  # at least one
    targets = torch.where(supervised, ids, -1).roll(-1, 1)
    targets[:, -1] = -1
    loss = model.loss_sum(ids, targets) / (targets >= 0).sum()
    their_loss = theirs(ids, labels=torch.where(supervised, ids, -100)).loss
    assert_close(loss, their_loss, atol=1e-5, rtol=1e-5)
    loss.backward()
    their_loss.backward()
    their_gradients = {name: p.grad for name, p in theirs.named_parameters()}
    largest = max(gradient.abs().max().item() for gradient in their_gradients.values())
    for name, p in model.named_parameters():
        assert_close(p.grad, their_gradients.pop(their_name(name)), atol=1e-5 * largest, rtol=0, msg=name)
    assert not their_gradients
