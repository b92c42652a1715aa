"""What torch finds in the environment."""

import os

from parrotlet.torch_environment import set_torch_environment


def test_what_torch_compiles_is_kept_in_the_cache_folder_unless_the_user_says_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path))
    for chosen in (None, "/elsewhere"):
        if chosen:
            monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", chosen)
        else:
            monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        set_torch_environment()
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (chosen or str(tmp_path / "torch"))
