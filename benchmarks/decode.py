"""Tokens a second of the engine beside others, on models of one shape, in one process: docs/performance.md.

    python benchmarks/decode.py                   # the engine and transformers
    python benchmarks/decode.py --nanochat DIR    # DIR: a checkout of github.com/karpathy/nanochat

Without more options it takes three to four minutes. All write 64 tokens after one prompt of 32, greedily (or
`--temperature 1`), and take turns. Shown are tokens a second of whole answers (the median turn, and the median ratio of
a turn), and of single steps: the median one, and the fastest tenth, which is what is left when other programs on the
computer disturb most steps.
nanochat's model has additions of its own; its embedding, matrices and head have the same shapes. `transformers` gets
the same weights as the engine and, in float32, must write the same tokens.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import time
import types
from pathlib import Path

from parrotlet.openmp import let_threads_sleep

let_threads_sleep()

import torch

from parrotlet.dtypes import DTYPES
from parrotlet.engine import Engine, Sampling
from parrotlet.export.weights import their_weights
from parrotlet.model import GPT, ModelConfig
from parrotlet.tokenizer import Tokenizer

CONFIG = ModelConfig(depth=4, vocab_size=8192, sequence_len=512, width=256, heads=2, kv_heads=2)
PROMPT, TOKENS = list(range(1, 33)), 64
SPECIALS = ("bos", "user_start", "user_end", "assistant_start", "assistant_end", "python_start", "python_end")


class NoText(Tokenizer):
    """A vocabulary without text: one byte a token."""

    def __init__(self):
        self.vocab_size = CONFIG.vocab_size
        names = (*SPECIALS, "output_start", "output_end")
        for id, name in enumerate(names, CONFIG.vocab_size - len(names)):
            setattr(self, name, id)
        self.special_ids = frozenset(getattr(self, name) for name in names)

    def token_bytes(self, id):
        return b"" if id in self.special_ids else b"a"

    def encode_special(self, name):
        return getattr(self, name.strip("<|>"))

    def get_bos_token_id(self):
        return self.bos


def a_model(dtype):
    model = GPT.build(CONFIG, seed=0, dtype=dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator), alpha=0.02)
        model.head.weight[CONFIG.vocab_size - 9 :] = 0  # never the likeliest: no answer ends early
    return model


def ours(model, rows, temperature):
    engine = Engine(model, NoText(), rows=rows)
    sampling = Sampling(temperature=temperature, max_tokens=TOKENS)

    def write(turn, tick):
        prompt = [turn % 8000 + 100, *PROMPT[1:]]  # another one each time: nothing of it is in memory
        asked = [engine.submit(prompt, sampling, tools=False) for _ in range(rows)]
        done = {}
        while len(done) < rows:
            done |= {event.request: event.completion.ids for event in engine.step() if event.completion}
            tick()
        return [done[request] for request in asked]

    return write


def transformers_(model, rows, temperature):
    import transformers

    transformers.logging.set_verbosity_error()
    c = model.config
    theirs = transformers.NanoChatForCausalLM(
        transformers.NanoChatConfig(
            vocab_size=c.vocab_size,
            hidden_size=c.width,
            intermediate_size=c.mlp_width,
            num_hidden_layers=c.depth,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            max_position_embeddings=c.sequence_len,
            rms_norm_eps=c.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
            final_logit_softcapping=c.softcap,
        )
    )
    theirs.load_state_dict(their_weights(model.state_dict()))
    theirs = theirs.to(model.dtype).eval()
    sampled = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}

    def write(turn, tick):
        ids = torch.tensor([[turn % 8000 + 100, *PROMPT[1:]]] * rows)
        options = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "pad_token_id": 0, "eos_token_id": 0} | sampled
        options["streamer"] = types.SimpleNamespace(put=lambda _: tick(), end=lambda: None)
        with torch.inference_mode():
            out = theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)
        return [tuple(row[len(PROMPT) :].tolist()) for row in out]

    return write


def nanochat(folder, dtype, rows, temperature):
    os.environ["NANOCHAT_DTYPE"] = dtype
    for module in [name for name in sys.modules if name.split(".")[0] == "nanochat"]:
        del sys.modules[module]  # it settles its dtype when it is imported
    sys.path.insert(0, folder)
    sys.modules["rustbpe"] = types.ModuleType("rustbpe")  # trains its tokenizer, which is not used here
    from nanochat.engine import Engine as TheirEngine
    from nanochat.gpt import GPT as TheirGPT
    from nanochat.gpt import GPTConfig

    c = CONFIG
    with torch.device("meta"):
        shape = {"n_layer": c.depth, "n_head": c.heads, "n_kv_head": c.kv_heads, "n_embd": c.width}
        theirs = TheirGPT(GPTConfig(sequence_len=c.sequence_len, vocab_size=c.vocab_size, **shape))
    theirs.to_empty(device="cpu")
    theirs.init_weights()
    with torch.no_grad():
        theirs.lm_head.weight[c.vocab_size - 9 :] = 0
    engine = TheirEngine(theirs.eval(), NoText())

    def write(turn, tick):
        prompt = [turn % 8000 + 100, *PROMPT[1:]]
        columns = []
        for column, _ in engine.generate(
            prompt, num_samples=rows, max_tokens=TOKENS, temperature=temperature, seed=turn
        ):
            columns.append(column)
            tick()
        return list(zip(*columns, strict=True))

    return write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanochat", metavar="DIR")
    parser.add_argument("--dtype", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpu-time", action="store_true", help="count this process's CPU seconds (with --threads 1)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter
    about = {"torch": torch.__version__, "temperature": args.temperature, "clock": clock.__name__}
    about |= {"rounds": args.rounds, "load": os.getloadavg()}
    print(about)
    print("tokens/s (how many times as fast parrotlet is):   whole answers         median step       fastest tenth")
    figures = []
    for dtype, threads, rows in itertools.product(args.dtype, args.threads, args.rows):
        torch.set_num_threads(threads)
        model = a_model(DTYPES[dtype])
        ways = {"parrotlet": ours(model, rows, args.temperature)}
        ways["transformers"] = transformers_(model, rows, args.temperature)
        if args.nanochat:
            ways["nanochat"] = nanochat(args.nanochat, dtype, rows, args.temperature)
        check = not args.temperature and dtype == "float32"
        for name, figure in compared(measure(ways, rows, args.rounds, clock=clock, check=check)).items():
            figures.append({"dtype": dtype, "threads": threads, "rows": rows, "way": name} | figure)
            show(figures[-1])
            if args.json:
                args.json.write_text(json.dumps(about | {"figures": figures}, indent=1))


def measure(ways, rows, rounds, clock, check):
    """Of each way: the tokens a second of each turn, and of each step between two tokens."""
    rates = {name: ([], []) for name in ways}
    for turn in range(rounds + 1):  # the first one warms up
        answers = {}
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            times = [clock()]
            answers[name] = ways[name](turn, lambda times=times: times.append(clock()))
            whole, steps = rates[name]
            if turn:
                whole.append(rows * TOKENS / (clock() - times[0]))
                steps += [rows / (b - a) for a, b in itertools.pairwise(times[3:])]
            assert [len(answer) for answer in answers[name]] == [TOKENS] * rows, name
        assert not check or answers["parrotlet"] == answers["transformers"], "other tokens than transformers'"
    return rates


def compared(rates):
    """Of each way: tokens a second, and how many times as fast parrotlet is. Of whole answers the median turn, and the
    median of the turns' ratios; of the steps the median one, and the fastest tenth."""
    own, own_steps = rates["parrotlet"]
    return {
        name: {
            "whole": (statistics.median(whole), statistics.median(a / b for a, b in zip(own, whole, strict=True))),
            "step": (statistics.median(steps), statistics.median(own_steps) / statistics.median(steps)),
            "fastest": (fastest(steps), fastest(own_steps) / fastest(steps)),
        }
        for name, (whole, steps) in rates.items()
    }


def show(figure):
    rates = "  ".join(f"{rate:8,.0f} (×{ratio:5.2f})" for rate, ratio in map(figure.get, ("whole", "step", "fastest")))
    where = f"{figure['dtype']:<8} {figure['threads']} threads {figure['rows']:>3} rows"
    print(f"{where}  {figure['way']:<12} {rates}", flush=True)


def fastest(rates):
    return statistics.quantiles(rates, n=10)[-1]


if __name__ == "__main__":
    main()
