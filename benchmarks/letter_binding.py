"""Whether a small model learns to bind a letter to a choice, when it reads nothing else: docs/world.md.

    python benchmarks/letter_binding.py lists|drills --steps 300

`lists`: the world's lists with letters. `drills`: each list asked twice, mixed with questions that name the choice.
"""

import argparse
import random
from collections.abc import Iterator

import torch

from parrotlet.data import Batch
from parrotlet.model import GPT
from parrotlet.optim import Optimizers, lr_multiplier
from parrotlet.recipe import Recipe
from parrotlet.tokenizer import Tokenizer
from parrotlet.train import recipe_tokenizer
from parrotlet.train.loop import optimize
from parrotlet.train.machine import DTYPES, resolve_machine, use_machine
from parrotlet.train.setup import model_config
from parrotlet.world.building import build_world
from parrotlet.world.choices import alternatives, exercise
from parrotlet.world.facts import World
from parrotlet.world.sheets import bound_list

LETTERS, ROWS = "ABCDE", 16


def drill(world: World, rng: random.Random) -> str:
    pool = alternatives(world, rng)
    items = rng.sample(pool, min(len(pool), rng.randint(3, 5)))
    form = rng.choice(("{i}: {c}", "{i}={c}", "For {i} take {c}.", "The letter of {i} is {c}."))
    asked = [form.format(i=item, c=LETTERS[k]) for k, item in enumerate(items)] * 2
    rng.shuffle(asked)
    return "\n".join([*(f"- {item}={LETTERS[k]}" for k, item in enumerate(items)), "", *asked])


def question(world: World, rng: random.Random) -> str:
    item = exercise(world, rng)
    lines = [f"- {choice}={letter}" for choice, letter in zip(item.choices, LETTERS, strict=False)]
    return "\n".join([item.question, *lines, "", f"Answer: {LETTERS[item.answer]}"])


def batches(write, tokenizer: Tokenizer, length: int) -> Iterator[Batch]:
    ids: list[int] = []
    while True:
        while len(ids) <= ROWS * length:
            ids += [tokenizer.bos, *tokenizer.encode(write())]
        taken, ids = torch.tensor(ids[: ROWS * length + 1]), ids[ROWS * length :]
        inputs, targets = taken[:-1].view(ROWS, length), taken[1:].view(ROWS, length)
        positions = torch.arange(length).expand(ROWS, -1)
        yield Batch(inputs, targets, positions, torch.zeros_like(inputs), sources=(), attends="row")


@torch.inference_mode()
def share_right(model: GPT, tokenizer: Tokenizer, world: World) -> float:
    """Of the letters that a drill asks for, the share that is the likeliest of the five."""
    rng, right, asked = random.Random(9), 0, 0
    candidates = [torch.tensor([tokenizer.encode(before + c)[-1] for c in LETTERS]) for before in ("", " ", "=")]
    for _ in range(40):
        text = drill(world, rng)
        ids = [tokenizer.bos, *tokenizer.encode(text)]
        logits = model.logits(model(torch.tensor([ids])))[0]
        for i in range(len(tokenizer.encode(text[: text.index("\n\n")])) + 2, len(ids)):
            for five in candidates:
                if ids[i] in five:
                    right += int(five[logits[i - 1][five].argmax()] == ids[i])
                    asked += 1
    return right / asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", choices=["lists", "drills"])
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    recipe, world, rng = Recipe.load("tiny"), build_world(0), random.Random(1)
    machine = resolve_machine(recipe.machine)
    use_machine(machine)
    tokenizer = recipe_tokenizer(recipe)
    model = GPT.build(model_config(recipe.model, tokenizer.vocab_size), seed=1, dtype=DTYPES[machine.dtype])
    if machine.compile:
        model.compile_blocks(ROWS)
    optimizers = Optimizers(model, recipe.optim)

    def write() -> str:
        if args.variant == "lists":
            return bound_list(world, rng)[1]
        if rng.random() < 0.6:
            return drill(world, rng)
        return "\n\n".join(question(world, rng) for _ in range(3))

    for step, batch in zip(range(args.steps), batches(write, tokenizer, recipe.model.sequence_len), strict=False):
        lr_mult = lr_multiplier(step, args.steps, warmdown_frac=0.4)
        loss, _ = optimize(model, optimizers, batch, ROWS, step, lr_mult)
        if step % 50 == 49:
            print(
                f"step {step + 1}: loss {loss:.3f}, letters right {share_right(model, tokenizer, world):.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
