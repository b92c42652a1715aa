"""RowAdam is torch's SparseAdam where a row is one number; what a step does not touch stays."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from parrotlet.errors import UserError
from parrotlet.model import GPT, ModelConfig
from parrotlet.optim import Optimizers, OptimSettings, clip_gradients
from parrotlet.optim.row_adam import RowAdam
from parrotlet.train.parallel import parallelize

RULE = {"lr": 0.1, "eps": 1e-10}
CONFIG = ModelConfig(depth=1, vocab_size=31, sequence_len=16, width=24, heads=2, kv_heads=1, ngrams=40)
IDS = [[0, 3, 3, 7], [7, 1, 3, 0], [5, 5, 5, 5]]


def trained(optimizer, sparse, steps=3, columns=3):
    """The table after some steps, of which none touches rows 8 and 9."""
    table = torch.nn.Parameter(torch.linspace(-1, 1, 10 * columns).view(10, columns).clone())
    moves, wanted = optimizer([table]), torch.arange(4 * columns).view(4, columns) / 10
    for step in range(steps):
        loss = (F.embedding(torch.tensor(IDS[step]), table, sparse=sparse) - wanted).square().sum()
        moves.zero_grad()
        loss.backward()
        moves.step()
    return table.detach(), moves.state[table]


@pytest.mark.parametrize("sparse", [True, False])
def test_of_rows_of_one_number_it_is_torchs_sparse_adam(sparse):
    found, state = trained(lambda p: RowAdam(p, beta=0.95, **RULE), sparse, columns=1)
    expected, theirs = trained(lambda p: torch.optim.SparseAdam(p, betas=(0, 0.95), **RULE), sparse=True, columns=1)
    assert_close(found, expected)
    assert state.keys() == {"step", "exp_avg_sq"}
    assert_close(state["exp_avg_sq"], theirs["exp_avg_sq"])


def test_a_row_moves_along_its_gradient_and_as_far_as_others():
    table = torch.nn.Parameter(torch.zeros(2, 3))
    moves = RowAdam([table], beta=0.95, **RULE)
    table.grad = torch.tensor([[3.0, 0.0, 4.0], [3e-6, 0.0, -4e-6]])
    moves.step()
    assert_close(table.detach(), -0.1 * torch.tensor([[0.6, 0.0, 0.8], [0.6, 0.0, -0.8]]) * 3**0.5, rtol=1e-3, atol=0)


def test_a_row_without_a_gradient_stays_and_so_do_its_mean_squares():
    before, state_before = trained(lambda p: RowAdam(p, beta=0.95, **RULE), sparse=True, steps=2)
    after, state = trained(lambda p: RowAdam(p, beta=0.95, **RULE), sparse=True, steps=3)
    touched = torch.arange(10) == 5
    for old, new in [(before, after), (state_before["exp_avg_sq"], state["exp_avg_sq"])]:
        assert torch.equal((old != new).any(1), touched)


def test_a_looked_up_row_whose_gradient_is_zero_counts_as_not_touched():
    found = []
    for sparse in (True, False):
        table = torch.nn.Parameter(torch.ones(4, 2))
        moves = RowAdam([table], beta=0.95, **RULE)
        for factor in (1.0, 0.0):
            moves.zero_grad()
            (F.embedding(torch.tensor([1, 2]), table, sparse=sparse) * factor).sum().backward()
            moves.step()
        found.append((table.detach(), moves.state[table]["exp_avg_sq"]))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_gradients_of_ngrams_are_clipped_alike_sparse_or_dense_and_however_they_are_added_up():
    ids = torch.randint(31, (4, 17), generator=torch.Generator().manual_seed(0))
    found = []
    for sparse, micro in ((False, 4), (True, 4), (True, 1)):
        model = GPT.build(CONFIG, seed=0)
        if sparse:
            parallelize(model, torch.device("cpu"))
        for rows in ids.split(micro):
            (model.loss_sum(rows[:, :-1], rows[:, 1:]) / 64).backward()
        assert model.ngram.weight.grad.is_sparse == sparse
        norm = clip_gradients(model, 0.05)
        assert norm > 0.05, "nothing was clipped"
        assert clip_gradients(model, 0) == pytest.approx(0.05, rel=1e-4)
        found.append([norm, *(p.grad.to_dense() for p in (model.ngram.weight, model.head.weight))])
    for other in found[1:]:
        assert_close(other, found[0])


def test_its_state_is_loaded_and_one_of_another_shape_is_refused():
    model = GPT.build(CONFIG, seed=0)
    optimizers, ids = Optimizers(model, OptimSettings()), torch.arange(17)[None]
    model.loss_sum(ids[:, :-1], ids[:, 1:]).backward()
    optimizers.step(0, 1.0)
    state = optimizers.state_dict()
    assert state["ngram.weight.exp_avg_sq"].shape == (40, 1)
    again = Optimizers(model, OptimSettings())
    again.load_state_dict(state)
    assert_close(again.state_dict(), state)
    with pytest.raises(UserError, match="does not fit"):
        again.load_state_dict(state | {"ngram.weight.exp_avg_sq": torch.zeros(40, 24)})
