"""What a training takes, against what was measured: here, and by others who published it."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from parrotlet.cli.plan import _Planned
from parrotlet.errors import UserError
from parrotlet.model import GPT, ModelConfig
from parrotlet.optim import Optimizers, OptimSettings, muon
from parrotlet.optim.muon import orthogonalize
from parrotlet.recipe import Recipe
from parrotlet.train.estimate import activation_bytes, largest_rows, matrices, memory, split_parameters, step
from parrotlet.train.hardware import Hardware

CONFIG = ModelConfig(depth=2, vocab_size=500, sequence_len=32, width=64, heads=2, kv_heads=1, short_conv=True)
EIGHT = Hardware(8, "H100")


@pytest.mark.parametrize(("depth", "hours", "within"), [(20, 3, 0.05), (32, 31, 0.05)])
def test_published_runs(depth, hours, within):
    """Depth 20: 11.2 billion tokens in about 3 h; depth 32: about 31 h at 51 % of the peak."""
    planned = _Planned(Recipe.load("speedrun", {"model.depth": depth}), EIGHT)
    assert planned.seconds / 3600 == pytest.approx(hours, rel=within)
    if depth == 20:
        assert planned.tokens == pytest.approx(11.2e9, rel=0.01)


@pytest.mark.parametrize(("depth", "rows"), [(20, 32), (26, 16), (32, 8)])
def test_published_micro_batches(depth, rows):
    """What fits into 80 GB for the project that made the recipe popular, and twice of which does not."""
    config = ModelConfig.from_depth(depth, vocab_size=65_536, sequence_len=2048)
    assert largest_rows(config, EIGHT, 32) == rows


def test_what_is_there_all_the_time_is_what_a_step_leaves_behind():
    model = GPT.build(CONFIG, seed=0)
    optimizers, ids = Optimizers(model, OptimSettings()), torch.zeros(1, 8, dtype=torch.long)
    model.loss_sum(ids, ids).backward()
    optimizers.step(0, 1.0)
    planned, parameters = memory(CONFIG, 1, 1), list(model.parameters())
    assert planned.parameters == 4 * sum(p.numel() for p in parameters) == 4 * sum(split_parameters(CONFIG))
    assert planned.gradients == 4 * sum(p.grad.numel() for p in parameters)
    state = sum(t.numel() for t in optimizers.state_dict().values() if t.ndim)
    assert planned.optimizer == 4 * state
    assert sum(s.numel() for s in matrices(CONFIG)) == sum(
        v.numel() for k, v in optimizers.state_dict().items() if "momentum" in k
    )


def test_more_ranks_hold_less_each_and_all_of_it():
    whole = memory(CONFIG, 1, 1).state
    assert [memory(CONFIG, 1, world).state * world for world in (2, 8, 64)] == pytest.approx([whole] * 3)


def test_activations_grow_with_the_rows_and_recomputing_saves_most():
    plain, more, less = memory(CONFIG, 2, 8), memory(CONFIG, 4, 8), memory(CONFIG, 4, 8, recompute=True)
    assert more.activations == 2 * plain.activations
    assert less.activations < more.activations
    assert activation_bytes(torch.float32, False) == 2 * activation_bytes(torch.bfloat16, False)
    assert activation_bytes(torch.float32, True) > activation_bytes(torch.float32, False)


def test_the_largest_micro_batch_is_safe_and_the_next_is_not():
    config = Recipe.load("speedrun").model
    config = ModelConfig.from_depth(config.depth, vocab_size=65_536, sequence_len=config.sequence_len)
    rows = largest_rows(config, EIGHT, 1024)
    room = 0.9 * 80e9
    assert memory(config, rows, 8).peak <= room < memory(config, 2 * rows, 8).peak
    deep = ModelConfig.from_depth(32, vocab_size=65_536, sequence_len=2048)
    assert largest_rows(deep, Hardware(1, "L4"), 1) is None


def test_muon_takes_less_time_in_parts(monkeypatch):
    """As many times less as torch counts floating-point operations less, where they are of bfloat16."""
    monkeypatch.setattr(muon, "multiplies_bfloat16", lambda device: True)
    seconds, counted = {}, {}
    for block in (0, 16, 64):
        seconds[block] = step(CONFIG, Hardware(1, "H100"), 64, 1, block).muon
        with FlopCounterMode(display=False) as counter:
            for shape in matrices(CONFIG):
                orthogonalize(torch.ones(1, *shape), block)
        counted[block] = counter.get_total_flops()
    assert counted[16] < 0.4 * counted[0]
    for block in (16, 64):
        assert seconds[block] / seconds[0] == pytest.approx(counted[block] / counted[0])


def test_a_step_on_more_devices_is_faster_until_it_is_sending():
    config = ModelConfig.from_depth(20, vocab_size=65_536, sequence_len=2048)
    steps = [step(config, Hardware(count, "H100"), 524_288, 1) for count in (8, 64, 256, 1024)]
    assert steps[0].compute == 8 * steps[1].compute
    assert steps[0].traffic < steps[0].compute
    assert steps[-1].traffic > steps[-1].compute
    assert steps[2].muon == steps[3].muon, "there are fewer matrices than ranks"


@pytest.mark.parametrize("text", ["8xH101", "H", "0xH100", "x", "-1xH100"])
def test_hardware_that_is_not_known(text):
    with pytest.raises(UserError, match="8xH100"):
        Hardware.parse(text)
    assert Hardware.parse("8xh100") == EIGHT
    assert Hardware.parse("H200") == Hardware(1, "H200")
