"""The real `huggingface_hub` client against a local server that speaks the Hub's protocol."""

import contextlib
import errno
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import hub_server
from hub_server import Fault, HubServer, serving
from parrotlet.errors import UserError
from parrotlet.hub import Hub

REPO = "org/name"
TRAIN = "data/train-00000-of-00001.bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in (TRAIN, "data/test-00000-of-00001.bin"):
        file = tmp_path / "served" / "datasets" / REPO / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(300_000))
    return tmp_path / "served"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and an environment that names no mirror and no proxy."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def server(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A server that HF_ENDPOINT names: set after huggingface_hub was imported, as a test cannot but do."""
    with serving(folder) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def served(folder: Path, path: str = TRAIN) -> bytes:
    return (folder / "datasets" / REPO / path).read_bytes()


def downloads(server: HubServer) -> int:
    return sum(asked.method == "GET" and "/resolve/" in asked.path for asked in server.asked)


def test_lists_and_downloads_from_the_mirror(server: HubServer, folder: Path, cache: Path) -> None:
    hub = Hub()
    assert hub.dataset_files(REPO, "data/*.bin") == ["data/test-00000-of-00001.bin", TRAIN]
    file = hub.dataset_file(REPO, TRAIN)
    assert file.read_bytes() == served(folder)
    assert file.is_relative_to(cache)


def test_a_file_is_downloaded_once_and_again_when_it_changes(server: HubServer, folder: Path) -> None:
    hub = Hub()
    first = hub.dataset_file(REPO, TRAIN)
    assert hub.dataset_file(REPO, TRAIN) == first
    assert downloads(server) == 1
    (folder / "datasets" / REPO / TRAIN).write_bytes(b"other content")
    assert hub.dataset_file(REPO, TRAIN).read_bytes() == b"other content"
    assert downloads(server) == 2


def test_a_broken_download_goes_on_where_it_broke(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    chunk = constants.DOWNLOAD_CHUNK_SIZE
    (folder / "datasets" / REPO / TRAIN).write_bytes(os.urandom(1000) * (2 * chunk // 1000))
    server.break_next_after = chunk + 1000
    assert Hub().dataset_file(REPO, TRAIN).read_bytes() == served(folder)
    assert server.asked[-1].range == f"bytes={chunk}-"


def test_offline_uses_the_cache_alone(server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Hub().dataset_file(REPO, TRAIN)
    asked = len(server.asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert Hub().dataset_files(REPO, "data/train-*") == [TRAIN]
    assert Hub().dataset_file(REPO, TRAIN).read_bytes() == served(folder)
    with pytest.raises(UserError, match=r"org/name: data/test-.* is not in the cache.*HF_HUB_OFFLINE"):
        Hub().dataset_file(REPO, "data/test-00000-of-00001.bin")
    with pytest.raises(UserError, match=r"org/other: \* is not in the cache.*HF_HUB_OFFLINE"):
        Hub().dataset_files("org/other", "*")
    assert len(server.asked) == asked


def test_offline_says_when_parts_are_not_cached(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = folder / "datasets" / REPO / "parts" / "train-00000-of-00002.bin"
    part.parent.mkdir()
    part.write_bytes(b"1")
    part.with_name("train-00001-of-00002.bin").write_bytes(b"2")
    Hub().dataset_file(REPO, "parts/train-00001-of-00002.bin")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="only 1 of the 2 files"):
        Hub().dataset_files(REPO, "parts/train-*")


def test_unknown_dataset_file_and_pattern(server: HubServer) -> None:
    for call in (Hub().dataset_files, Hub().dataset_file):
        with pytest.raises(UserError, match=f"no dataset org/other at {server.url}"):
            call("org/other", "x")
    with pytest.raises(UserError, match=f"dataset org/name at {server.url} has no file data/x.bin"):
        Hub().dataset_file(REPO, "data/x.bin")
    with pytest.raises(UserError, match=f"org/name at {server.url}: no file matches 'x'; there are data/test-0"):
        Hub().dataset_files(REPO, "x")
    with pytest.raises(UserError, match="not the id of a dataset"):
        Hub().dataset_file("no/such/id", "x")


def test_gated_dataset(server: HubServer) -> None:
    server.gated.add(REPO)
    for call in (Hub().dataset_files, Hub().dataset_file):
        with pytest.raises(UserError, match=r"asks for consent.*HF_TOKEN"):
            call(REPO, TRAIN)


def test_no_network_says_where_and_what_to_do(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(folder) as server:
        gone = server.url
    monkeypatch.setenv("HF_ENDPOINT", gone)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's retries
    for call in (Hub().dataset_files, Hub().dataset_file):
        with pytest.raises(UserError, match=rf"org/name: can't get {TRAIN} from {gone} .*HF_ENDPOINT.*folder"):
            call(REPO, TRAIN)


def test_an_endpoint_that_is_no_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WelcomePage(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "9")
            self.end_headers()
            self.wfile.write(b"<p>Hi</p>")

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), WelcomePage) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        try:
            for call in (Hub().dataset_files, Hub().dataset_file):
                with pytest.raises(UserError, match=r"org/name: can't get x from http://127\.0\.0\.1"):
                    call(REPO, "x")
        finally:
            server.shutdown()
            thread.join()


@given(st.lists(st.sampled_from(get_args(Fault)), max_size=8))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_goes_wrong_the_data_are_right_or_an_error_says_why(
    server: HubServer, folder: Path, cache: Path, faults: list[Fault]
) -> None:
    """The real client against a server that fails in many ways, one after the other; then against one that does not."""
    shutil.rmtree(cache, ignore_errors=True)
    server.faults[:] = faults
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", lambda seconds: None)
        try:
            got = Hub().dataset_file(REPO, TRAIN).read_bytes()
        except UserError as error:
            got = str(error)
        event("right data" if isinstance(got, bytes) else got[:60])
        assert got == served(folder) or REPO in got
        server.faults.clear()
        server.break_next_after = None
        with contextlib.suppress(UserError):  # the client may still hold a connection that was broken
            Hub().dataset_file(REPO, TRAIN)
        assert Hub().dataset_file(REPO, TRAIN).read_bytes() == served(folder)


@pytest.mark.parametrize("fault", ["corrupt", "etag"])
def test_wrong_content_is_refused_and_removed(server: HubServer, folder: Path, cache: Path, fault: Fault) -> None:
    server.faults[:] = ["etag"] * 2 if fault == "etag" else ["none", "corrupt"]
    with pytest.raises(UserError, match=rf"org/name: {TRAIN} from .* is damaged: its hash is"):
        Hub().dataset_file(REPO, TRAIN)
    assert not [file for file in cache.rglob("*") if file.is_file() and file.stat().st_size == 300_000]
    assert Hub().dataset_file(REPO, TRAIN).read_bytes() == served(folder)


def test_a_full_disk_is_called_so(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(UserError, match=f"org/name: no room for {TRAIN} in .*cache; make room"):
        Hub().dataset_file(REPO, TRAIN)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("Data processing error: CAS service error"), f"can't get {TRAIN} from .*CAS service error"),
        (
            RuntimeError("I/O error: No space left on device (os error 28)"),
            f"no room for {TRAIN} in .*cache; make room",
        ),
    ],
)
def test_what_the_faster_client_raises_is_said(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    def failing(*args: object, **more: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.file_download.http_get", failing)
    with pytest.raises(UserError, match=f"org/name: {says}"):
        Hub().dataset_file(REPO, TRAIN)


def test_files_are_identified_without_downloading_them_the_same_way_offline(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = Hub().identities(REPO, "*")
    assert downloads(server) == 0
    assert online[TRAIN] == hashlib.sha256(served(folder)).hexdigest()
    Hub().dataset_file(REPO, TRAIN)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert Hub().identities(REPO, "*") == online
    monkeypatch.setenv("PARROTLET_CACHE", str(folder))  # never listed from here
    assert Hub().identities(REPO, "*") == {TRAIN: online[TRAIN]}


def test_offline_a_copy_of_another_revision_is_refused(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub().dataset_file(REPO, TRAIN)
    (folder / "datasets" / REPO / TRAIN).write_bytes(b"other content")
    Hub().dataset_files(REPO, "*")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=f"the cached {TRAIN} is of another revision than was listed last"):
        Hub().dataset_file(REPO, TRAIN)


def test_a_file_that_changes_before_it_is_fetched_is_refused(server: HubServer, folder: Path) -> None:
    listed = Hub().identities(REPO, "*")[TRAIN]
    assert Hub().dataset_file(REPO, TRAIN, listed).is_file()
    (folder / "datasets" / REPO / TRAIN).write_bytes(b"other content")
    with pytest.raises(UserError, match=f"{TRAIN} has changed since it was looked at"):
        Hub().dataset_file(REPO, TRAIN, listed)


def test_the_server_runs_as_a_script(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, hub_server.__file__, str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            monkeypatch.setenv("HF_ENDPOINT", process.stdout.readline().strip().removeprefix("export HF_ENDPOINT="))
            assert Hub().dataset_file(REPO, TRAIN).read_bytes() == served(folder)
        finally:
            process.terminate()


def test_nothing_of_the_hub_client_is_imported_before_it_is_needed() -> None:
    command = "import sys, parrotlet.hub; sys.exit('huggingface_hub' in sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True)


@pytest.mark.real_data
def test_real_datasets_over_the_wire(real_data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {
        "openai/gsm8k": "main/*.parquet",
        "allenai/ai2_arc": "ARC-Easy/train-*.parquet",
        "cais/mmlu": "auxiliary_train/train-*.parquet",
        "HuggingFaceTB/smol-smoltalk": "data/test-*.parquet",
        "karpathy/fineweb-edu-100b-shuffle": "shard_00004.parquet",
    }
    local = Hub(folder=real_data / "hub")
    with serving(real_data / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        for repo, pattern in wanted.items():
            paths = Hub().dataset_files(repo, pattern)
            assert paths == local.dataset_files(repo, pattern)
            for path in paths:
                assert Hub().dataset_file(repo, path).read_bytes() == local.dataset_file(repo, path).read_bytes()
    shutil.rmtree(cache)
