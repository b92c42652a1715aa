"""What only an accelerator can show; skipped, with the reason, where there is none."""

import pytest
import torch

from parrotlet.model import GPT, ModelConfig

CONFIG = ModelConfig(depth=2, vocab_size=300, sequence_len=256, width=64, heads=2, kv_heads=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
@pytest.mark.parametrize("packed", [False, True])
def test_cuda_gives_the_loss_and_the_gradients_of_the_cpu(packed):
    """Packed rows go through FlexAttention's block masks there."""
    ids = torch.randint(0, 300, (2, 257), generator=torch.Generator().manual_seed(0))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    segments = (torch.arange(256) // 50).expand(2, -1) if packed else None
    positions = torch.arange(256).expand(2, -1) % (50 if packed else 256)
    found = []
    for device in ("cpu", "cuda"):
        model = GPT.build(CONFIG, seed=1, device=device)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(2)).to(device), alpha=0.05)
        moved = (None if x is None else x.to(device) for x in (inputs, targets, positions, segments))
        loss = model.loss_sum(*moved)
        loss.backward()
        found.append((loss.item(), torch.cat([p.grad.flatten().cpu() for p in model.parameters()])))
    (cpu_loss, cpu_grad), (cuda_loss, cuda_grad) = found
    assert cuda_loss == pytest.approx(cpu_loss, rel=1e-4)
    assert (cuda_grad - cpu_grad).abs().max() < 1e-3 * cpu_grad.abs().max()
