"""Models of nanochat as others publish them: weights of `transformers`, tokenizers with nanochat's split pattern."""

import base64
import json
from pathlib import Path

import pytest
import tiktoken
import torch
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as HFTokenizer

from nanochat_pattern import PATTERN
from parrotlet.chat import Conversation, render
from parrotlet.engine import Engine, Sampling
from parrotlet.errors import UserError
from parrotlet.export import Imported, export_stage
from parrotlet.recipe import Recipe
from parrotlet.stages import BASE
from parrotlet.tokenizer import SPECIAL_TOKENS
from parrotlet.tokenizer.stored import byte_alphabet
from parrotlet.train import Run, load_model, prepare, run_pipeline, train_stage
from small_run import write_small_run

transformers = pytest.importorskip("transformers")

TEXT = "The parrot's 365 birds said hello hello to 鹦鹉, and they'll say:  good morning!!\n\n  你好，鹦鹉。\n" * 3
TEXTS = (
    TEXT,
    "It's 1999,\r\n   SHE'LL say\t<|bos|> hello   ",
    "小鹦鹉 🦜 1234567",
    " " * 300 + "x",
    "\n \n\n  hello hello",
)


def trained(special_tokens=()):
    """A tokenizer as nanochat makes one, by `tokenizers`."""
    tokenizer = HFTokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=list(special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT, Path(__file__).read_text()], trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def converted(folder):
    """One as `transformers` writes it for the ranks that nanochat keeps: all ways to merge into a token are listed."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    alphabet = byte_alphabet()
    vocab = json.loads(trained().to_str())["model"]["vocab"]
    ranks = {bytes(alphabet[char] for char in token): id for token, id in vocab.items()}
    lines = [
        b"%s %d\n" % (base64.b64encode(token), id) for token, id in sorted(ranks.items(), key=lambda item: item[1])
    ]
    (folder / "tokenizer.model").write_bytes(b"".join(lines))
    made = TikTokenConverter(str(folder / "tokenizer.model"), PATTERN, extra_special_tokens=SPECIAL_TOKENS).converted()
    assert len(json.loads(made.to_str())["model"]["merges"]) > len(ranks) - 256
    encoding = tiktoken.Encoding("nanochat", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    assert all(made.encode(text.replace("<", "")).ids == encoding.encode(text.replace("<", "")) for text in TEXTS)
    return made


TOKENIZERS = {
    "trained": lambda folder: trained(),
    "specials first": lambda folder: trained(SPECIAL_TOKENS),
    "converted": converted,
}


def publish(folder, kind):
    """The folder of a model with random weights, the model, and its tokenizer."""
    tokenizer = TOKENIZERS[kind](folder)
    config = transformers.NanoChatConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_theta=100_000.0,
    )
    model = transformers.NanoChatForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = 1.0 if "embed" in name else 1.5 * p.shape[-1] ** -0.5
            p.copy_(torch.randn(p.shape, generator=generator) * scale)
    model.save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|bos|>").save_pretrained(folder)
    return folder, model, tokenizer


@pytest.fixture(scope="module", params=TOKENIZERS)
def published(request, tmp_path_factory):
    return publish(tmp_path_factory.mktemp("published"), request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """That of one of them."""
    return publish(tmp_path_factory.mktemp("published"), "converted")[0]


def run_with(published, at):
    imported = Imported.read(published)
    run = Run.begin(at / "run", imported.recipe(Recipe.parse(write_small_run(at), "test")))
    imported.put_into(run)
    return run


@pytest.fixture
def run(published, tmp_path):
    return run_with(published[0], tmp_path)


def test_ids_are_those_of_the_published_tokenizer(published):
    _, _, theirs = published
    ours = Imported.read(published[0]).tokenizer
    for name in SPECIAL_TOKENS:
        assert getattr(ours, name.strip("<|>")) == theirs.token_to_id(name)
    theirs.encode_special_tokens = True
    for text in TEXTS:
        ids = ours.encode(text)
        assert ids == theirs.encode(text).ids
        assert ours.decode(ids) == text
        assert ours.bytes_per_token[ids].sum() == len(text.encode())


@torch.no_grad()
def test_logits_are_those_of_transformers(published, run):
    _, theirs, _ = published
    ours = load_model(run, "base")
    ids = torch.randint(theirs.config.vocab_size, (3, 60), generator=torch.Generator().manual_seed(0))
    expected = theirs(ids).logits
    assert expected.abs().max() > 2, "logits too small to show a difference"
    assert (ours.logits(ours(ids)) - expected).abs().max() <= 1e-5


def test_only_an_end_is_sampled_of_the_special_tokens(run):
    """Wherever their ids are."""
    tokenizer, model = run.tokenizer(), load_model(run, "base")
    prompts = [[tokenizer.bos, *tokenizer.encode(text)] for text in ("The", "hello", "9", "\n")]
    written = Engine(model, tokenizer, rows=4).generate(prompts, Sampling(temperature=2.0, max_tokens=50), tools=False)
    ids = {id for completion in written for id in completion.ids}
    assert ids & tokenizer.special_ids <= {tokenizer.assistant_end}
    assert len(ids) > 20


def test_mid_starts_from_it_and_is_exported(published, run, tmp_path):
    _, _, theirs = published
    train_stage(run, "mid")
    assert run.load("mid").state["started_from"] == "base@0"
    export_stage(run, "mid", tmp_path / "out")
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    theirs.encode_special_tokens = True
    for text in TEXTS:
        if "<|" not in text:
            assert loaded(text, add_special_tokens=False)["input_ids"] == theirs.encode(text).ids
    messages = [{"role": "user", "content": "Say <|bos|> "}, {"role": "assistant", "content": " It's 1999.\n"}]
    rendered = render(Conversation.from_messages(messages, "test"), run.tokenizer()).ids
    assert loaded.apply_chat_template(messages, tokenize=True, return_dict=False) == rendered
    ids = torch.tensor([run.tokenizer().encode(TEXT)[:60]])
    model, other = load_model(run, "mid"), transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        assert (model.logits(model(ids)) - other(ids).logits).abs().max() <= 1e-5
    again = Imported.read(tmp_path / "out")
    assert again.tokenizer.fingerprint == run.tokenizer().fingerprint


def test_base_goes_on_from_its_weights(folder, tmp_path):
    """Asked for by name; the run as a whole takes the import as it is."""
    run = run_with(folder, tmp_path)
    imported = run.load("base").model
    assert list(run_pipeline(run)["stages"]) == ["base", "mid", "sft"]
    assert run.load("base").state["step"] == 0
    training = prepare(run, BASE)
    assert training.step == 0
    assert all(torch.equal(weight, imported[name]) for name, weight in training.model.state_dict().items())
    run.validation("base").append({"step": 0})  # by a training that was ended before it saved
    train_stage(run, "base")
    state = run.load("base").state
    assert (state["step"], state["started_from"].split(" of ")[0]) == (12, "the import")
    assert [line["step"] for line in run.metrics("base").read()] == list(range(12))
    assert not all(torch.equal(weight, imported[name]) for name, weight in run.load("base").model.items())
    train_stage(run, "base")
    assert len(run.metrics("base").read()) == 12


def changed(folder, to, name, change):
    """The folder `to`, with another content of one JSON file."""
    for path in folder.iterdir():
        (to / path.name).symlink_to(path)
    values = json.loads((folder / name).read_text())
    change(values)
    (to / name).unlink()
    (to / name).write_text(json.dumps(values))
    return to


def configured(folder, to, changes, without=()):
    def change(values):
        values.update(changes)
        for name in without:
            del values[name]

    return changed(folder, to, "config.json", change)


@pytest.mark.parametrize(
    ("changes", "without"),
    [
        ({}, ("final_logit_softcapping", "rms_norm_eps", "hidden_act", "attention_dropout", "attention_bias")),
        (
            {"rope_theta": 100_000.0, "rope_scaling": None, "logits_soft_cap": 15.0, "qkv_bias": False},
            ("rope_parameters",),
        ),
        ({"rope_parameters": {"rope_theta": 100_000.0}}, ()),
    ],
    ids=["left out", "of an older version", "no rope_type"],
)
def test_configurations_that_mean_the_same(folder, tmp_path, changes, without):
    expected = Imported.read(folder).config
    assert Imported.read(configured(folder, tmp_path, changes, without)).config == expected
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert theirs.rope_parameters == {"rope_type": "default", "rope_theta": expected.rope_theta}
    assert (theirs.final_logit_softcapping, theirs.rms_norm_eps) == (expected.softcap, expected.norm_eps)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; Parrotlet computes only 'relu2'"),
        ({"attention_bias": True}, "attention_bias is True; Parrotlet computes only False"),
        ({"attention_dropout": 0.1}, "attention_dropout is 0.1; Parrotlet computes only 0"),
        ({"intermediate_size": 64}, "intermediate_size is 64; Parrotlet computes only 128"),
        ({"head_dim": 16}, "head_dim is 16; Parrotlet computes only 8"),
        ({"final_logit_softcapping": None}, "final_logit_softcapping is None; Parrotlet needs a number"),
        (
            {"final_logit_softcapping": 100.0},
            "final_logit_softcapping is 100.0; with 509 tokens it must be at most 81.8",
        ),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_parameters is .*linear.*only .*default"),
        ({"hidden_act": "gelu", "attention_bias": True}, r"hidden_act is 'gelu'.*\n.*attention_bias is True"),
    ],
)
def test_what_is_computed_in_another_way_is_refused_by_name(folder, tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        Imported.read(configured(folder, tmp_path, changes))


def new_pattern(pattern):
    def change(tree):
        tree["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (new_pattern(r"\S+"), "split .* differently by its pattern"),
        (new_pattern(PATTERN.replace("{1,2}", "{1,2}+")), "split .* differently by its pattern"),
        (new_pattern("l*"), "its split pattern .* can't be used"),
        (new_pattern("("), "pattern|not a tokenizer"),
        (lambda tree: tree.update(normalizer={"type": "NFC"}), "normalizer changes texts"),
        (lambda tree: tree["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True), "aren't split by one"),
        (lambda tree: tree["model"].update(dropout=0.9), "reads other ids"),
        (lambda tree: tree["added_tokens"][0].update(content="<|endoftext|>"), r"<\|endoftext\|>"),
    ],
    ids=["drops blanks", "possessive", "empty", "broken", "normalizer", "prefix", "dropout", "other specials"],
)
def test_a_tokenizer_that_would_give_other_ids_is_refused(folder, tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        Imported.read(changed(folder, tmp_path, "tokenizer.json", change))


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: [token.update(lstrip=True, normalized=True) for token in tree["added_tokens"]],
        lambda tree: tree.update(
            truncation={"max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
        ),
        lambda tree: tree.update(post_processor=None),
    ],
    ids=["greedy specials", "truncation", "no post-processor"],
)
def test_what_plain_texts_do_not_meet_is_left_behind(folder, tmp_path, change):
    expected = Imported.read(folder).tokenizer.fingerprint
    assert Imported.read(changed(folder, tmp_path, "tokenizer.json", change)).tokenizer.fingerprint == expected


def test_patterns_of_other_tokenizers_are_kept(folder, tmp_path):
    """Such as GPT-4's."""
    change = new_pattern(PATTERN.replace("{1,2}", "{1,3}"))
    tokenizer = Imported.read(changed(folder, tmp_path, "tokenizer.json", change)).tokenizer
    theirs = HFTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs.encode_special_tokens = True
    for text in TEXTS:
        assert tokenizer.encode(text) == theirs.encode(text, add_special_tokens=False).ids
