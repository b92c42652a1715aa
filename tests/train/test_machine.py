"""How a run is computed on a machine that is not the one it began on."""

import dataclasses
import functools
import os
import platform
from pathlib import Path

import pytest
import torch

from parrotlet.errors import UserError
from parrotlet.files import write_text
from parrotlet.recipe import MachineSettings, Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run, load_model, micro_batch, prepare, setup, train, train_tokenizer
from parrotlet.train import machine as machine_module
from parrotlet.train.machine import machine_here, resolve_machine
from small_run import write_small_run


@pytest.fixture
def here(monkeypatch):
    """A machine with a CPU alone, good at bfloat16 or not."""

    def choose(*, bfloat16):
        monkeypatch.setattr(
            machine_module, "_THERE", dict.fromkeys(("cuda", "mps"), lambda: False) | {"cpu": lambda: True}
        )
        for module in (machine_module, setup):
            monkeypatch.setattr(module, "multiplies_bfloat16", lambda device: bfloat16)

    return choose


@pytest.mark.parametrize("good", [True, False])
def test_auto_is_bfloat16_where_the_machine_is_good_at_it(here, good):
    here(bfloat16=good)
    decided = resolve_machine(MachineSettings())
    assert (decided.device, decided.dtype) == ("cpu", "bfloat16" if good else "float32")


@pytest.mark.parametrize("lacking", ["no compiler", None])
def test_auto_compiles_where_torch_finds_what_it_needs(here, monkeypatch, capsys, lacking):
    here(bfloat16=True)
    monkeypatch.setattr(machine_module, "torch_lacks", lambda device: lacking)
    monkeypatch.setattr(machine_module, "can_compile", functools.cache(machine_module.can_compile.__wrapped__))
    assert resolve_machine(MachineSettings()).compile == (lacking is None)
    assert resolve_machine(MachineSettings(compile=True)).compile
    resolve_machine(MachineSettings())
    assert capsys.readouterr().err.count("not compiled") == (lacking is not None), "told once"


def test_a_run_that_is_compiled_goes_on_where_there_is_no_compiler(tmp_path, monkeypatch, capsys):
    run = Run.begin(tmp_path / "run", Recipe.parse(write_small_run(tmp_path), "test", {"machine.compile": True}))
    train_tokenizer(run)
    monkeypatch.setattr(machine_module, "torch_lacks", lambda device: "no C++ compiler")
    monkeypatch.setattr(setup, "can_compile", functools.cache(machine_module.can_compile.__wrapped__))
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("there is no compiler"))
    train(prepare(run, STAGES["base"]))
    assert "no C++ compiler: the blocks are not compiled" in capsys.readouterr().err


def test_a_run_goes_on_with_other_threads_and_not_compiled(tmp_path):
    recipe = Recipe.parse(write_small_run(tmp_path), "test", {"machine.compile": True, "machine.threads": 2})
    train_tokenizer(Run.begin(tmp_path / "run", recipe))  # or it would begin anew
    here = dataclasses.replace(recipe, machine=dataclasses.replace(recipe.machine, compile=False, threads=1))
    going_on = Run.begin(tmp_path / "run", here).recipe.machine
    assert (going_on.compile, going_on.threads) == (False, 1)


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", 64), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), (None, 64)],
)
def test_a_container_may_have_fewer_cores_than_the_machine(tmp_path, monkeypatch, limit, cores):
    monkeypatch.setattr(machine_module, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)
    if limit:
        (tmp_path / "cpu.max").write_text(f"{limit}\n")
        (tmp_path / "memory.max").write_text("3000000\n")
    assert resolve_machine(MachineSettings()).threads == cores
    if limit:
        assert micro_batch._memory(torch.device("cpu")) == 1_500_000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of the C library of Linux")
def test_freed_memory_is_kept_until_it_is_given_back():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    machine_module._keep_freed_memory()
    before = resident()
    tensors = [torch.ones(2**20) for _ in range(64)]
    last = torch.ones(2**10)  # behind them, so that they are not simply the end of the heap
    del tensors
    assert resident() - before > 128 * 2**20
    machine_module.give_back_freed_memory()
    assert resident() - before < 64 * 2**20
    assert last.all()


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_a_finished_stage_is_asked_as_far_as_the_machine_can(here, device, good):
    here(bfloat16=good)
    trained = MachineSettings(device=device, dtype="bfloat16", compile=True, threads=1)
    expected = dataclasses.replace(trained, device="cpu", dtype="bfloat16" if good else "float32")
    assert machine_here(trained) == expected
    assert machine_here(dataclasses.replace(trained, threads=4096)).threads == machine_module._cores()


def test_a_run_from_a_gpu_is_asked_here_but_not_trained_further(tmp_path, here, capsys):
    run = Run.begin(tmp_path / "run", Recipe.parse(write_small_run(tmp_path), "test"))
    train_tokenizer(run)
    base = STAGES["base"]
    train(prepare(run, base))
    before = load_model(run, "base").state_dict()
    assert "trained on" not in capsys.readouterr().err

    machine = dataclasses.replace(run.recipe.machine, device="cuda", dtype="bfloat16")
    moved = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, machine=machine))
    write_text(run.folder / "recipe.toml", moved.recipe.to_toml())
    here(bfloat16=False)
    model = load_model(moved, "base")
    assert "trained on cuda in bfloat16, asked on cpu in float32" in capsys.readouterr().err
    assert model.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(UserError, match=r"machine\.device is 'cuda', but torch sees none here"):
        prepare(moved, base)


def test_training_in_a_slow_dtype_says_so(tmp_path, here, capsys):
    recipe = Recipe.parse(write_small_run(tmp_path), "test", {"machine.dtype": "bfloat16"})
    run = Run.begin(tmp_path / "run", recipe)
    train_tokenizer(run)
    for good in (True, False):
        here(bfloat16=good)
        prepare(run, STAGES["base"])
        assert ("far slower than float32" in capsys.readouterr().err) != good
