"""Models whose every weight counts."""

import pytest
import torch

from parrotlet.model import GPT


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Matrices this small gain nothing from a second thread, and wait for it where something else runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def random_model():
    """A function: config → model with random weights everywhere, none of them zero, and logits of ±4 or so."""

    def build(config, *, seed=0, dtype=torch.float32):
        model = GPT.build(config, seed=seed, dtype=dtype)
        generator = torch.Generator().manual_seed(seed + 1)
        with torch.no_grad():
            for name, p in model.named_parameters():
                scale = 1.0 if name == "embedding.weight" else p.shape[-1] ** -0.5
                p.copy_(torch.randn(p.shape, generator=generator) * scale)
        return model

    return build
