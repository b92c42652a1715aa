"""How the blocks are run, and which rows are whose."""

import pytest
import torch
from torch.testing import assert_close

from parrotlet import ranks
from parrotlet.data import Batch
from parrotlet.model import GPT, ModelConfig, kernels
from parrotlet.train.parallel import own_rows, parallelize, run_here

CPU = torch.device("cpu")
CONFIG = ModelConfig(depth=3, vocab_size=97, sequence_len=64, width=48, heads=6, kv_heads=2)


def random_model():
    model = GPT.build(CONFIG, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * p.shape[-1] ** -0.5)
    return model


def random_ids(rows, length=16, seed=0):
    return torch.randint(CONFIG.vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))


def loss_and_gradients(model):
    targets = random_ids(2, seed=1)
    targets[1, 9:] = -1
    segments = torch.arange(16).div(7, rounding_mode="floor").expand(2, -1)
    loss = model.loss_sum(random_ids(2), targets, torch.arange(16).expand(2, -1) % 7, segments)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters()}


def loss_gradients_and_kept(model):
    """And how many numbers are kept for the backward pass, weights apart."""
    weights, kept = {p.data_ptr() for p in model.parameters()}, {}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = loss_and_gradients(model)
    return found, sum(kept.values())


def assert_same(found, expected):
    assert_close(found[0], expected[0], rtol=1e-5, atol=0)
    for name, gradient in expected[1].items():
        assert gradient.any()
        assert_close(found[1][name], gradient, rtol=0, atol=1e-5 * float(gradient.abs().max()), msg=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore:The .grad attribute:UserWarning")
def test_the_compiled_block_gives_the_same_loss_and_gradients():
    """And one graph serves all layers, and stages with segments and without. (The warnings are about what torch's own
    compiler does.)"""
    torch._dynamo.reset()
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    model = parallelize(random_model(), CPU, compile_rows=2)
    (found, kept), (expected, kept_uncompiled) = map(loss_gradients_and_kept, (model, random_model()))
    assert_same(found, expected)
    assert kept < 0.75 * kept_uncompiled, "what is cheap to compute again is kept"
    assert graphs["unique_graphs"] - before == 1
    if kernels.available(CPU, torch.float32):
        of_another_stage = random_model()
        run_here(of_another_stage, CPU, compile_rows=2)
        of_another_stage.loss_sum(random_ids(2), random_ids(2, seed=1), torch.arange(16).expand(2, -1)).backward()
        assert graphs["unique_graphs"] - before == 1


def test_recomputing_keeps_less_and_gives_the_same_gradients():
    kept = {}
    for recompute in (False, True):
        model, saved = random_model(), []
        run_here(model, CPU, recompute=recompute)
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t.numel()) or t, lambda t: t):
            model(random_ids(2)).sum()
        kept[recompute] = sum(saved)
        if recompute:
            assert_same(loss_and_gradients(model), loss_and_gradients(random_model()))
    assert kept[True] < kept[False] / 3


def test_only_training_on_whole_micro_batches_is_compiled(monkeypatch):
    used = []

    def recording(function, **options):
        return lambda *args: used.append(args[0]) or function(*args)

    monkeypatch.setattr(torch, "compile", recording)
    model = random_model()
    names = list(model.state_dict())
    run_here(model, CPU, compile_rows=2)
    assert list(model.state_dict()) == names
    ids = random_ids(3)
    model.loss_sum(ids[:1], ids[:1]).backward()
    model.loss_sum(ids, ids).backward()
    model.token_losses(ids[:2], ids[:2])
    assert not used
    model.loss_sum(ids[:2], ids[:2]).backward()
    assert used == list(model.blocks)


@pytest.mark.parametrize(("rows", "world"), [(8, 4), (7, 4), (3, 4), (5, 1)])
def test_the_ranks_share_the_rows_and_each_has_as_many(rows, world, monkeypatch):
    ids = torch.arange(rows * 4).view(rows, 4)
    batch = Batch(ids, ids, ids, ids * 0, sources=tuple((row,) for row in range(rows)), attends="row")
    monkeypatch.setattr(ranks, "world_size", lambda: world)
    parts = []
    for rank in range(world):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        parts.append(own_rows(batch))
    assert {len(part) for part in parts} == {-(-rows // world)}
    dealt = {
        row: parts[row % world].rows(slice(row // world, row // world + 1)) for row in range(-(-rows // world) * world)
    }
    for row, part in dealt.items():
        if row < rows:
            assert torch.equal(part.inputs[0], ids[row])
            assert part.sources == ((row,),)
        else:
            assert (part.supervised, part.tokens, part.sources) == (0, 0, ((),))
    assert sum(part.supervised for part in parts) == batch.supervised
