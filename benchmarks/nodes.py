"""Two machines, one of which fails: two network namespaces of Linux, joined by a cable that can be cut.

    sudo python benchmarks/nodes.py --steps 60

Trains on both, and then again three times:

    replaced   one loses power in the middle of a step and is started again; the job waits for it (--nnodes=2)
    alone      both lose power; one of them goes on alone (--nnodes=1)
    elastic    the cable is cut, so that nobody hears of the other's end; the job goes on with one machine, and with two
               once the other is back (--nnodes=1:2)

What comes is compared with the training that nothing happened to. It needs the right to make namespaces.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from ranks import furthest

from parrotlet.train.metrics import MetricsFile
from small_run import write_small_run

PORT, TIMEOUT = 29500, 15
ADDRESSES = ("10.77.0.1", "10.77.0.2")
SIZES = {"depth = 1": "depth = 4", "width = 32": "width = 128", "tokens_per_step = 256": "tokens_per_step = 6144"}
SIZES |= {"device_batch_size = 2": "device_batch_size = 16", "save_every = 4": "save_every = 10"}
"""Half a second a step on one core."""


class Machine:
    """A network namespace, and the launcher in it."""

    def __init__(self, number: int) -> None:
        self.number, self.name = number, f"parrotlet-{os.getpid()}-{number}"
        ip("netns", "add", self.name)

    def plug_in(self) -> None:
        """Give its end of the cable an address."""
        ip("-n", self.name, "address", "add", f"{ADDRESSES[self.number]}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.name, "link", "set", device, "up")

    def launch(self, folder: Path, run: str, nnodes: str) -> None:
        """Begin `train base` of a run, or go on with it."""
        conf = f"is_host={int(not self.number)},keep_alive_interval=2,last_call_timeout=5"
        command = ["ip", "netns", "exec", self.name, sys.executable, "-m", "torch.distributed.run"]
        command += [f"--nnodes={nnodes}", "--nproc-per-node=1", "--max-restarts=5", "--rdzv-backend=c10d"]
        command += [f"--rdzv-endpoint={ADDRESSES[0]}:{PORT}", f"--rdzv-id={run}", f"--rdzv-conf={conf}"]
        command += [f"--local-addr={ADDRESSES[self.number]}", "-m", "--", "parrotlet", "train", "base"]
        command += [f"--timeout={TIMEOUT}", "--recipe", str(folder / "recipe.toml"), "--run", str(folder / run)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PARROTLET_CACHE": str(folder / "cache")}
        environment |= {"GLOO_SOCKET_IFNAME": "eth0", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        self.log = folder / f"{run}-{self.number}.log"
        with self.log.open("ab") as log:
            self.launcher = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def lose_power(self) -> None:
        """All of its processes end, and none gets to say a word."""
        for pid in ip("netns", "pids", self.name).split():
            os.kill(int(pid), signal.SIGKILL)
        self.launcher.wait()

    def finish(self) -> None:
        """Wait until the launcher has come to its end."""
        assert self.launcher.wait() == 0, self.log.read_text()[-3000:]

    def remove(self) -> None:
        """Leave nothing of it."""
        for pid in ip("netns", "pids", self.name).split():
            os.kill(int(pid), signal.SIGKILL)
        ip("netns", "delete", self.name)


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def lines(folder: Path, run: str) -> list[dict]:
    return MetricsFile(folder / run / "base" / "metrics.jsonl").read()


def wait_until(holds: Callable[[], bool], machines: Sequence[Machine]) -> None:
    while not holds():
        for machine in machines:
            assert machine.launcher.poll() is None, machine.log.read_text()[-3000:]
        time.sleep(0.02)


def wait_for_step(folder: Path, run: str, step: int, machines: Sequence[Machine]) -> int:
    """Wait until a run is between this step and the next, and a little longer; returns how far it is."""
    wait_until(lambda: len(lines(folder, run)) >= step, machines)
    time.sleep(0.5 * lines(folder, run)[-1]["seconds"])
    return len(lines(folder, run))


def said(machine: Machine) -> None:
    """Print what its rank said of the end."""
    wait_until(lambda: "error: " in machine.log.read_text(), [machine])
    told = [line for line in machine.log.read_text().splitlines() if line.startswith("error: ")]
    print(f"    {told[-1].partition('. If it')[0]}", flush=True)


def replaced_then_alone(folder: Path, first: Machine, second: Machine, steps: int) -> int:
    """Returns the step from which on one machine was alone."""
    for machine in (first, second):
        machine.launch(folder, "replaced", "2")
    at = wait_for_step(folder, "replaced", steps // 4, [first, second])
    second.lose_power()
    print(f"replaced: after {at} steps one machine loses power, and is started again", flush=True)
    said(first)
    second.launch(folder, "replaced", "2")
    at = wait_for_step(folder, "replaced", steps * 2 // 3, [first, second])
    for machine in (first, second):
        machine.lose_power()
    print(f"alone: after {at} steps both lose power; one goes on alone", flush=True)
    first.launch(folder, "replaced", "1")
    first.finish()
    return at


def elastic(folder: Path, first: Machine, second: Machine, steps: int) -> None:
    for machine in (first, second):
        machine.launch(folder, "elastic", "1:2")
    at = wait_for_step(folder, "elastic", steps // 4, [first, second])
    ip("-n", second.name, "link", "set", "eth0", "down")
    second.lose_power()
    print(f"elastic: after {at} steps the cable is cut", flush=True)
    said(first)
    wait_until(lambda: "going on" in first.log.read_text(), [first])
    ip("-n", second.name, "link", "set", "eth0", "up")
    second.launch(folder, "elastic", "1:2")
    wait_until(lambda: first.log.read_text().count("going on") > 1, [first])
    resumed = [line.partition("going on ")[2] for line in first.log.read_text().splitlines() if "going on" in line]
    print(f"    alone {resumed[0]}, with the other again {resumed[1]}", flush=True)
    for machine in (first, second):
        machine.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    steps = parser.parse_args().steps
    machines = first, second = Machine(0), Machine(1)
    try:
        ip("link", "add", "eth0", "netns", first.name, "type", "veth", "peer", "name", "eth0", "netns", second.name)
        for machine in machines:
            machine.plug_in()
        with tempfile.TemporaryDirectory(prefix="parrotlet-nodes-") as name:
            folder = Path(name)
            text = write_small_run(folder, documents=4000).replace("num_iterations = 12", f"num_iterations = {steps}")
            for small, larger in SIZES.items():
                text = text.replace(small, larger)
            (folder / "recipe.toml").write_text(text)
            for machine in machines:
                machine.launch(folder, "whole", "2")
            for machine in machines:
                machine.finish()
            whole = lines(folder, "whole")
            print(f"{steps} steps on two machines: {sum(line['seconds'] for line in whole):.0f} s", flush=True)
            first.launch(folder, "one", "1")
            first.finish()
            differ = "the losses differ from those of two by"
            print(f"one machine from the beginning: {differ} {furthest(whole, lines(folder, 'one')):.1e} at most")
            alone = replaced_then_alone(folder, first, second, steps)
            last = alone // 10 * 10
            after = lines(folder, "replaced")
            assert [line["loss"] for line in after[:last]] == [line["loss"] for line in whole[:last]]
            print(f"    on two machines every loss is the same to the last bit ({last} steps)")
            print(f"    alone {differ} {furthest(whole, after):.1e} at most ({steps - last} steps)")
            elastic(folder, first, second, steps)
            print(f"    {differ} {furthest(whole, lines(folder, 'elastic')):.1e} at most ({steps} steps)")
    finally:
        for machine in machines:
            machine.remove()


if __name__ == "__main__":
    main()
