"""A small model whose every weight counts."""

import pytest

from parrotlet.cpp import compiler
from parrotlet.model import GPT, ModelConfig
from scripted import grown

CONTEXT = 64


@pytest.fixture(scope="session", params=["plain", "short conv", "ngrams"])
def model(tokenizer, request):
    config = ModelConfig(
        depth=2,
        vocab_size=tokenizer.vocab_size,
        sequence_len=CONTEXT,
        width=64,
        heads=4,
        kv_heads=2,
        short_conv=request.param != "plain",
        ngrams=500 if request.param == "ngrams" else 0,
    )
    return grown(GPT.build(config, seed=5))


@pytest.fixture(scope="module", params=["native", "torch"])
def way(request):
    """Both ways to compute: every promise is about both."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            patch.setattr("parrotlet.engine.decoder.native_library", lambda: None)
        elif compiler() is None:
            pytest.skip("no C++ compiler")
        yield request.param
