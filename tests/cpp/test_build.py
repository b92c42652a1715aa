"""What is compiled for this machine: once, anew when it changes, and never a reason to fail."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from parrotlet.cpp import build
from parrotlet.cpp.build import compile_ahead, library, torch_lacks

WITHOUT = "slow"
SEVEN = 'extern "C" int seven() { return 7; }'

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "cache"))
    library.cache_clear()
    torch_lacks.cache_clear()
    yield
    library.cache_clear()
    torch_lacks.cache_clear()


def test_it_is_compiled_once_and_anew_when_its_source_or_what_that_includes_changes(monkeypatch, tmp_path, capsys):
    source, shared = tmp_path / "small.cpp", tmp_path / "shared.h"
    source.write_text(SEVEN)
    shared.touch()
    monkeypatch.setattr(build, "SHARED", shared)
    assert library(source, WITHOUT).seven() == 7
    assert "once" in capsys.readouterr().err
    library.cache_clear()
    assert library(source, WITHOUT).seven() == 7
    assert not capsys.readouterr().err
    shared.write_text("// new")
    library.cache_clear()
    library(source, WITHOUT)
    assert "once" in capsys.readouterr().err, "an old library for a new header"
    source.write_text(SEVEN.replace("7", "8"))
    library.cache_clear()
    assert library(source, WITHOUT).seven() == 8, "an old library for a new source"


@pytest.mark.parametrize(
    ("source", "compiler", "said"),
    [(SEVEN, "no-such-compiler", "no C++ compiler found"), ("this is no C++", None, "can't be compiled")],
)
def test_where_it_cant_be_compiled_a_notice_says_so_once(source, compiler, said, monkeypatch, tmp_path, capsys):
    (tmp_path / "small.cpp").write_text(source)
    if compiler:
        monkeypatch.setenv("CXX", compiler)
    assert library(tmp_path / "small.cpp", WITHOUT) is None
    notice = capsys.readouterr().err
    assert said in notice
    assert WITHOUT in notice
    assert library(tmp_path / "small.cpp", WITHOUT) is None
    assert not capsys.readouterr().err, "told twice"


def test_two_threads_that_ask_at_once_compile_once(tmp_path, capsys):
    source = tmp_path / "small.cpp"
    source.write_text(SEVEN)
    with ThreadPoolExecutor(4) as pool:
        loaded = [pool.submit(library, source, WITHOUT) for _ in range(4)]
    assert [each.result().seven() for each in loaded] == [7] * 4
    assert capsys.readouterr().err.count("once") == 1


def test_what_was_begun_ahead_is_waited_for_and_not_compiled_again(monkeypatch, tmp_path, capfd):
    source = tmp_path / "small.cpp"
    source.write_text(SEVEN)
    compile_ahead(source)
    monkeypatch.setattr(build, "_compile", None)
    assert library(source, WITHOUT).seven() == 7
    assert capfd.readouterr().err.count("once") == 1


def test_what_was_begun_for_another_machine_is_left_alone(monkeypatch, tmp_path, capfd):
    source = tmp_path / "small.cpp"
    source.write_text('extern "C" int seven() { return OTHER; }')
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-DOTHER=8"])
    compile_ahead(source)
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-UOTHER", "-DOTHER=7"])
    assert library(source, WITHOUT).seven() == 7
    assert capfd.readouterr().err.count("once") == 2


def test_what_goes_wrong_ahead_is_told_when_it_is_asked_for(tmp_path, capfd):
    (tmp_path / "small.cpp").write_text("this is no C++")
    compile_ahead(tmp_path / "small.cpp")
    assert library(tmp_path / "small.cpp", WITHOUT) is None
    assert f"can't be compiled: {WITHOUT}" in capfd.readouterr().err


def test_a_broken_cache_folder_is_no_reason_to_fail(monkeypatch, tmp_path):
    (tmp_path / "small.cpp").write_text(SEVEN)
    (tmp_path / "a file").touch()
    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "a file"))
    assert library(tmp_path / "small.cpp", WITHOUT) is None


def test_the_compiler_may_be_a_command_of_several_words(monkeypatch, tmp_path):
    (tmp_path / "small.cpp").write_text(SEVEN)
    monkeypatch.setenv("CXX", f"env {build.compiler()[0]}")
    assert library(tmp_path / "small.cpp", WITHOUT).seven() == 7


@pytest.mark.parametrize(
    ("device", "change", "lacking"),
    [
        ("cpu", lambda patch: patch.setenv("CXX", "no-such-compiler"), "no C++ compiler"),
        ("cpu", lambda patch: patch.setenv("CXX", "env g++"), "one program as CXX, not env g++"),
        (
            "cpu",
            lambda patch: patch.setattr(build.sysconfig, "get_path", lambda name: "/no-such-folder"),
            "python3-dev",
        ),
        ("cuda", lambda patch: patch.setattr(build.importlib.util, "find_spec", lambda name: None), "Triton"),
        (
            "cuda",
            lambda patch: (
                patch.setattr(build.importlib.util, "find_spec", lambda name: name),
                patch.setenv("CC", "no-such-compiler -O2"),
            ),
            "no C compiler",
        ),
    ],
)
def test_what_torchs_compiler_lacks_is_named(device, change, lacking, monkeypatch):
    monkeypatch.setattr(build.sys, "platform", "linux")
    change(monkeypatch)
    assert lacking in torch_lacks(device)
