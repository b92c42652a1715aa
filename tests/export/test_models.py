"""`transformers` computes what we compute."""

import copy
import json

import pytest
import torch

from parrotlet.engine import Engine, Sampling
from parrotlet.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")


def loaded(model, folder):
    """As a user loads it: custom code only where there is short convolutions."""
    kwargs = {} if model.config.is_plain else {"trust_remote_code": True}
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **kwargs).eval()


def random_ids(model, rows, length, seed=0):
    return torch.randint(model.config.vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))


def test_plain_models_take_no_custom_code(exported):
    model, folder = exported
    names = {path.name for path in folder.iterdir()}
    assert ("modeling_parrotlet.py" in names) != model.config.is_plain
    config = json.loads((folder / "config.json").read_text())
    assert ("auto_map" in config) != model.config.is_plain
    card = (folder / "README.md").read_text()
    assert card.count("trust_remote_code=True") == 2 * (not model.config.is_plain), "model and tokenizer"
    theirs = loaded(model, folder)
    assert set(theirs.state_dict()) == set(transformers.AutoModelForCausalLM.from_config(theirs.config).state_dict())


@torch.no_grad()
def test_logits_are_equal(exported):
    model, folder = exported
    ids = random_ids(model, 3, 60)
    ours, theirs = model.logits(model(ids)), loaded(model, folder)(ids).logits
    assert theirs.abs().max() > 2, "logits too small to show a difference"
    assert (ours - theirs).abs().max() <= 1e-5


@torch.no_grad()
def test_rows_filled_on_the_left_have_the_logits_of_rows_alone(exported):
    model, folder = exported
    ids = random_ids(model, 1, 20)
    filled = torch.cat((torch.full((1, 7), 5), ids), dim=1)
    mask = torch.cat((torch.zeros(1, 7, dtype=torch.long), torch.ones_like(ids)), dim=1)
    theirs = loaded(model, folder)(filled, attention_mask=mask).logits[:, 7:]
    assert (model.logits(model(ids)) - theirs).abs().max() <= 1e-4


@torch.no_grad()
def test_greedy_answers_of_200_tokens_are_equal(exported):
    """Two prompts of different lengths in one batch, with their cache, against our engine."""
    model, folder = exported
    tokenizer = Tokenizer.load(folder)
    prompts = [random_ids(model, 1, length, seed=length)[0].tolist() for length in (9, 23)]
    prompts = [[id % 300 for id in prompt] for prompt in prompts]
    specials = sorted(tokenizer.special_ids)
    theirs = loaded(model, folder)
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    asked = {"do_sample": False, "max_new_tokens": 200, "eos_token_id": None, "suppress_tokens": specials}
    settings = transformers.GenerationConfig(pad_token_id=0, **asked)
    written = theirs.generate(input_ids=ids, attention_mask=mask, generation_config=settings)[:, longest:]
    engine = Engine(without_specials(model, specials), tokenizer, rows=2)
    ours = engine.generate(prompts, Sampling(temperature=0.0, max_tokens=200), tools=False)
    assert [list(completion.ids) for completion in ours] == written.tolist()
    assert len(set(written[0].tolist())) > 10, "an answer that repeats itself shows little"
    assert model.head.weight[specials].all(), "other tests use the model, too"


def without_specials(model, specials):
    """A copy, of which the engine ends no answer: no such token is ever the likeliest."""
    model = copy.deepcopy(model)
    model.head.weight.data[specials] = 0
    return model
