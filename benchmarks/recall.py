"""How soon a small model finds again what it has read: docs/world.md.

    python benchmarks/recall.py --steps 150

A row is five things, each with its letter behind it, then five questions: a thing, whose letter is to be said. Nothing
but the letters is learned from. With letters `in order` the first thing always has the first letter, as choices have;
else letters are drawn. What differs besides is whether the model has short convolutions.
"""

import argparse
import itertools

import torch
from torch import Tensor

from parrotlet.model import GPT, ModelConfig
from parrotlet.optim import Optimizers, OptimSettings

ROWS, PAIRS, THINGS, FIRST_THING = 16, 5, 400, 100
BOS, ASK = 98, 99


def batch(rows: int, in_order: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and targets, (rows, 2 + 4 × PAIRS - 1)."""
    things = torch.stack([torch.randperm(THINGS, generator=generator)[:PAIRS] for _ in range(rows)]) + FIRST_THING
    letters = torch.randint(PAIRS, (rows, PAIRS), generator=generator)
    letters = torch.arange(PAIRS).expand(rows, -1) if in_order else letters
    asked = torch.randint(PAIRS, (rows, PAIRS), generator=generator)
    told = torch.stack([things, letters], -1).flatten(1)
    questions = torch.stack([things.gather(1, asked), letters.gather(1, asked)], -1).flatten(1)
    ids = torch.cat([torch.full((rows, 1), BOS), told, torch.full((rows, 1), ASK), questions], 1)
    targets = torch.full_like(ids, -1)
    targets[:, 3 + 2 * PAIRS :: 2] = ids[:, 3 + 2 * PAIRS :: 2]
    return ids[:, :-1].contiguous(), targets[:, 1:].contiguous()


@torch.inference_mode()
def share_right(model: GPT, in_order: bool) -> float:
    inputs, targets = batch(200, in_order, torch.Generator().manual_seed(1))
    said = model.logits(model(inputs)).argmax(-1)
    return float((said == targets)[targets >= 0].float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150, help=f"of {ROWS} rows; every row asks {PAIRS} times")
    args = parser.parse_args()
    print(f"{'letters':<10} {'short conv':<12} letters right after {args.steps} steps (a guess: {1 / PAIRS:.0%})")
    for in_order, conv in itertools.product((False, True), (False, True)):
        config = ModelConfig(depth=4, vocab_size=512, sequence_len=64, width=256, heads=4, kv_heads=4, short_conv=conv)
        model = GPT.build(config, seed=1)
        optimizers = Optimizers(model, OptimSettings(embedding_lr=0.04))
        generator = torch.Generator().manual_seed(0)
        for step in range(args.steps):
            inputs, targets = batch(ROWS, in_order, generator)
            (model.loss_sum(inputs, targets) / (targets >= 0).sum()).backward()
            optimizers.step(step, 1.0)
            optimizers.zero_grad()
        named = "in order" if in_order else "drawn"
        print(f"{named:<10} {'yes' if conv else 'no':<12} {share_right(model, in_order):.0%}", flush=True)


if __name__ == "__main__":
    main()
