import errno
import json
import os

import pytest
import torch

from parrotlet import files
from parrotlet.errors import UserError
from parrotlet.train import checkpoint as checkpoints
from parrotlet.train.checkpoint import (
    Checkpoint,
    checkpoint_folder,
    list_checkpoints,
    load_checkpoint,
    remove_old_checkpoints,
    save_checkpoint,
)


def a_checkpoint(value=1.0):
    return Checkpoint(
        model={"weight": torch.full((3, 4), value)},
        optimizer={"weight.momentum": torch.full((3, 4), value / 2)},
        state={"step": 5, "order": {"row": 3, "streams": [[1, 2]]}},
        recipe='name = "x"\n',
    )


def test_what_is_saved_is_loaded(tmp_path):
    folder = save_checkpoint(tmp_path, 5, a_checkpoint())
    assert folder.name == "step_000005"
    loaded = load_checkpoint(folder)
    assert torch.equal(loaded.model["weight"], torch.ones(3, 4))
    assert torch.equal(loaded.optimizer["weight.momentum"], torch.full((3, 4), 0.5))
    assert loaded.state == a_checkpoint().state
    assert loaded.recipe == 'name = "x"\n'


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "recipe.toml"])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_damage_is_refused_by_name(tmp_path, name, damage):
    folder = save_checkpoint(tmp_path, 5, a_checkpoint())
    content = (folder / name).read_bytes()
    if damage == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content[:-2] if damage == "cut" else content[:-2] + b"xy")
    with pytest.raises(UserError, match=rf"damaged: {name}.*Remove .*step_000005"):
        load_checkpoint(folder)


def test_without_manifest_it_is_no_checkpoint(tmp_path):
    folder = save_checkpoint(tmp_path, 5, a_checkpoint())
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="not a whole checkpoint"):
        load_checkpoint(folder)


@pytest.mark.parametrize("fails_at", range(1, 12))
def test_a_crash_while_saving_leaves_the_one_before(tmp_path, monkeypatch, fails_at):
    """Whichever sync it happens at: the folder of the new step does not appear, and nothing torn is listed."""
    save_checkpoint(tmp_path, 5, a_checkpoint(1.0))
    calls = 0

    class Killed(BaseException):
        pass

    def sync(path):
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise Killed

    monkeypatch.setattr(files, "sync", sync)
    monkeypatch.setattr(checkpoints, "sync", sync)
    try:
        save_checkpoint(tmp_path, 6, a_checkpoint(2.0))
    except Killed:
        pass
    else:
        assert calls < fails_at, "every sync point was tried"
    for step in list_checkpoints(tmp_path):
        assert load_checkpoint(checkpoint_folder(tmp_path, step)).model["weight"][0, 0] == step - 4
    monkeypatch.undo()
    save_checkpoint(tmp_path, 6, a_checkpoint(2.0))
    assert list_checkpoints(tmp_path) == [5, 6]


def test_full_disk_is_one_message_and_loses_nothing(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 5, a_checkpoint())

    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints, "sync", full)
    with pytest.raises(UserError, match=r"No space left on device.*step 5 is intact"):
        save_checkpoint(tmp_path, 6, a_checkpoint())
    assert list_checkpoints(tmp_path) == [5]
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_000005"]


def test_old_ones_and_left_overs_are_removed(tmp_path):
    for step in (1, 2, 3, 4):
        save_checkpoint(tmp_path, step, a_checkpoint())
    (tmp_path / "checkpoints" / "step_000009.aside").mkdir()
    assert list_checkpoints(tmp_path) == [1, 2, 3, 4]
    remove_old_checkpoints(tmp_path, keep=2)
    assert list_checkpoints(tmp_path) == [3, 4]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    remove_old_checkpoints(tmp_path, keep=0)
    assert list_checkpoints(tmp_path) == [3, 4]


def test_what_is_being_removed_is_no_checkpoint(tmp_path, monkeypatch):
    """Nor does it matter if its files can't be removed yet."""
    for step in (1, 2):
        save_checkpoint(tmp_path, step, a_checkpoint())

    def killed(folder, ignore_errors=False):
        (folder / "manifest.json").unlink()
        assert ignore_errors

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints.shutil, "rmtree", killed)
        remove_old_checkpoints(tmp_path, keep=1)
    assert list_checkpoints(tmp_path) == [2]
    remove_old_checkpoints(tmp_path, keep=1)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_000002"]


def test_what_is_in_a_folder_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    synced, sync = [], files.sync
    monkeypatch.setattr(files, "sync", lambda path: (synced.append(path.name), sync(path)))
    with files.written_aside(tmp_path / "world") as aside:
        (aside / "part").mkdir(parents=True)
        (aside / "part" / "0.parquet").write_bytes(b"texts")
        name = aside.name
    assert set(synced[:2]) == {"part", "0.parquet"}
    assert synced[2:] == [name, tmp_path.name]


def test_another_format_is_refused(tmp_path):
    folder = save_checkpoint(tmp_path, 5, a_checkpoint())
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(UserError, match="format 99"):
        load_checkpoint(folder)
