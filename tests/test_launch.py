"""The files in `launch/`: what they give to torchrun and to Parrotlet is what these understand."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import get_args_parser

from parrotlet.recipe import built_in_recipes

LAUNCH = Path(__file__).parents[1] / "launch"


def options(arguments):
    """What torchrun makes of its arguments; it exits where it does not know one."""
    return get_args_parser().parse_args(arguments)


def assert_trains_on_several_machines(parsed):
    assert parsed.module
    assert parsed.training_script == "parrotlet"
    assert parsed.training_script_args[0] == "train"
    assert parsed.rdzv_backend == "c10d"
    assert parsed.rdzv_endpoint
    assert parsed.max_restarts == 3


def shell_arguments(script):
    """The words after torchrun; what the shell would put in for `$(…)` is FOUND."""
    command = re.search(r"torchrun((?:[^\n\\]*\\\n)+[^\n]*)", script)[1].replace("\\\n", " ")
    return shlex.split(re.sub(r"\$\(.*?\)", "FOUND", command))


def test_slurm():
    script = LAUNCH / "slurm.sh"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    parsed = options(shell_arguments(script.read_text()))
    assert_trains_on_several_machines(parsed)
    assert parsed.training_script_args == ["train", "$@"]


def test_skypilot():
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    assert task["envs"]["RECIPE"] in built_in_recipes()
    parsed = options(shell_arguments(task["run"]))
    assert_trains_on_several_machines(parsed)
    assert parsed.training_script_args[-1].startswith(next(iter(task["file_mounts"])))


def test_kubernetes():
    service, volume, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["torchrun"]
    parsed = options(container["args"])
    assert_trains_on_several_machines(parsed)
    assert int(parsed.nnodes) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert int(parsed.nproc_per_node) == container["resources"]["limits"]["nvidia.com/gpu"]
    name = job["metadata"]["name"]
    assert parsed.rdzv_endpoint == f"{name}-0.{service['metadata']['name']}:29500"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]


@pytest.mark.parametrize("path", sorted(LAUNCH.iterdir()), ids=lambda path: path.name)
def test_each_says_how_to_use_it(path):
    assert any(f"launch/{path.name}" in line for line in path.read_text().splitlines() if line.startswith("#"))
