"""The compiled forward pass: where it is used, and that nothing about the machine shows in what it computes."""

import platform

import pytest
import torch
from torch.testing import assert_close

from parrotlet.cpp import build
from parrotlet.engine import native
from parrotlet.engine.decoder import Decoder
from parrotlet.engine.torch_forward import TorchForward
from parrotlet.model import GPT, ModelConfig
from scripted import grown

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler")


@pytest.fixture
def fresh_library():
    build.library.cache_clear()
    yield build.library
    build.library.cache_clear()


def a_model(dtype=torch.float32):
    shape = ModelConfig(
        depth=2, vocab_size=101, sequence_len=64, width=64, heads=4, kv_heads=2, short_conv=True, ngrams=97
    )
    return grown(GPT.build(shape, seed=3, dtype=dtype))


def scores_of(model):
    """Of three rows, after prompts of up to 40 tokens."""
    made, ids = Decoder(model, 3), list(range(40, 80))
    for row in range(3):
        made.prefill(row, ids[: 39 - row], 0)
    return made.decode([ids[39 - row] for row in range(3)], [39 - row for row in range(3)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_nothing(dtype, threads, monkeypatch):
    model, before = a_model(dtype), torch.get_num_threads()
    alone = scores_of(model)
    monkeypatch.setattr(native, "THREAD_PAYS", 1)
    try:
        torch.set_num_threads(threads)
        assert torch.equal(scores_of(model), alone)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names a level of x86")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)], ids=str)
def test_a_processor_without_wide_registers_computes_the_same_up_to_rounding(dtype, bound, fresh_library, monkeypatch):
    here = scores_of(a_model(dtype))
    fresh_library.cache_clear()
    plain = ["-march=x86-64-v3" if flag == "-march=native" else flag for flag in build.FLAGS]
    monkeypatch.setattr(build, "FLAGS", plain)
    assert_close(scores_of(a_model(dtype)), here, rtol=0, atol=bound)


@pytest.mark.parametrize(
    ("source", "compiler", "said"),
    [("int main() {}", "no-such-compiler", "no C++ compiler found"), ("this is no C++", None, "can't be compiled")],
)
def test_where_it_cant_be_compiled_torch_computes(source, compiler, said, fresh_library, monkeypatch, tmp_path, capsys):
    (tmp_path / "broken.cpp").write_text(source)
    monkeypatch.setattr(native, "GENERATION", tmp_path / "broken.cpp")
    if compiler:
        monkeypatch.setenv("CXX", compiler)
    assert isinstance(Decoder(a_model(), 1)._forward, TorchForward)
    assert capsys.readouterr().err.count(said) == 1
    Decoder(a_model(), 1)
    assert not capsys.readouterr().err, "told twice"
