"""CORE on several ranks: the same decisions, each item asked once."""

import json
import socket
import subprocess
import sys

from small_bundle import write_small_bundle

JOB = """
import json, sys
import torch, torch.distributed as dist
from pathlib import Path
from parrotlet.evals.core import evaluate_core_task
from parrotlet.evals.core_bundle import read_bundle
rank, world, port, folder = sys.argv[1:]
if int(world) > 1:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=int(rank), world_size=int(world))
asked = 0

class Model:
    context, prefix, branches, device = 500, [0], True, torch.device("cpu")
    def encode(self, texts):
        return [[ord(char) for char in text] for text in texts]
    def logits(self, batch):
        global asked
        asked += len(batch.inputs)
        generator = torch.Generator().manual_seed(5)
        table = torch.randn(200, 200, generator=generator)
        return table[batch.inputs[batch.rows, batch.columns]]

(task,) = read_bundle(Path(folder))[0]
result = evaluate_core_task(Model(), task)
print(json.dumps({"asked": asked, "decisions": result.decisions, "accuracy": result.accuracy}))
"""


def run(world, folder):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", JOB, str(rank), str(world), str(port), str(folder)], stdout=subprocess.PIPE
        )
        for rank in range(world)
    ]
    return [json.loads(job.communicate(timeout=250)[0]) for job in jobs]


def test_ranks_share_the_items_and_have_all_decisions(tmp_path):
    bundle = write_small_bundle(tmp_path / "bundle")
    (alone,) = run(1, bundle)
    shares = run(2, bundle)
    assert alone["asked"] == 11
    assert sorted(share["asked"] for share in shares) == [5, 6]
    for share in shares:
        assert share["decisions"] == alone["decisions"]
        assert share["accuracy"] == alone["accuracy"]
    assert len(set(alone["decisions"])) > 1
