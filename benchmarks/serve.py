"""Many streaming clients at once, some of which vanish midway: who is served, how soon, and what memory it takes.

python benchmarks/serve.py runs/tiny --clients 64 --seconds 120
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

VANISHING = 0.2
"""Share of the requests whose client goes away after a few pieces."""
LONGEST = 64
"""Tokens of an answer, at most."""
EMPTY = '"content":""'
"""In the first piece of an answer, which comes before its first token."""


@dataclass
class Seen:
    """Seconds of every request, by how it ended; until its first token; and the server's memory, in MiB."""

    ended: dict[str, list[float]] = field(default_factory=lambda: {"whole": [], "vanished": [], "broken": []})
    first: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


async def client(http: httpx.AsyncClient, model: str, seed: int, until: float, seen: Seen) -> None:
    """One that asks, reads, and asks again."""
    chance = random.Random(seed)
    while time.monotonic() < until:
        leaves_after = chance.randrange(1, 8) if chance.random() < VANISHING else None
        asked = {
            "model": model,
            "messages": [{"role": "user", "content": f"What is {chance.randrange(100)} and {chance.randrange(100)}?"}],
            "stream": True,
            "max_tokens": LONGEST,
            "seed": chance.randrange(2**31),
        }
        begun = time.monotonic()
        how = await read(http, asked, leaves_after, begun, seen)
        seen.ended[how].append(time.monotonic() - begun)


async def read(http: httpx.AsyncClient, asked: dict, leaves_after: int | None, begun: float, seen: Seen) -> str:
    """Read an answer, or some pieces of it; returns how it ended."""
    pieces = 0
    async with http.stream("POST", "/v1/chat/completions", json=asked) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if not line or EMPTY in line:
                continue
            if pieces == 0:
                seen.first.append(time.monotonic() - begun)
            if line == "data: [DONE]":
                return "whole"
            pieces += 1
            if pieces == leaves_after:
                return "vanished"
    return "broken"


async def watch(pid: int, until: float, seen: Seen) -> None:
    """Look at the server's memory every five seconds."""
    while time.monotonic() < until:
        await asyncio.sleep(5)
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        seen.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


async def open_answers(http: httpx.AsyncClient) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("parrotlet_open_answers{"))


async def load(url: str, pid: int, clients: int, seconds: float) -> None:
    seen, limits = Seen(), httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as http:
        model = (await http.get("/v1/models")).json()["data"][0]["id"]
        await http.post("/v1/completions", json={"model": model, "prompt": "a", "max_tokens": 1})  # loads it
        until = time.monotonic() + seconds
        await asyncio.gather(
            watch(pid, until, seen), *(client(http, model, seed, until, seen) for seed in range(clients))
        )
        await asyncio.sleep(1)
        left = await open_answers(http)
    first, rate = sorted(seen.first), len(seen.ended["whole"]) / seconds
    ended = ", ".join(f"{len(times)} {how}" for how, times in seen.ended.items())
    print(f"{clients} clients, {seconds:g} s, stage {model}, {os.cpu_count()} cores")
    print(f"answers: {ended}; {rate:.1f} a second whole")
    print(f"first token: median {statistics.median(first):.2f} s, p95 {first[int(0.95 * len(first))]:.2f} s")
    print(f"memory, MiB, every 5 s: {' '.join(f'{value:.0f}' for value in seen.memory)}")
    print(f"answers that the server still writes: {left:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of the run")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120, help="how long they go on asking")
    options = parser.parse_args()
    command = [sys.executable, "-m", "parrotlet", "serve", "--run", options.run, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = server.stdout.readline().strip()
        try:
            url = said.partition("the page at ")[2].partition(",")[0]
            asyncio.run(load(url, server.pid, options.clients, options.seconds))
        finally:
            server.send_signal(signal.SIGTERM)
            print(f"the server ended with {server.wait(60)}")


if __name__ == "__main__":
    main()
