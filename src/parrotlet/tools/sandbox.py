"""The sandbox for Python that a model wrote: does a function pass its tests?

The tests run in a process of their own, out of the program's reach (`harness.py`), so a function is judged by the
values that it returns. That has a price: it fails if it raises, if it was to change an argument in place, and if it
returns anything but None, bool, int, float, str, list, tuple, dict, set, frozenset and bytes (or a subclass of one).

It fails closed. Where the program can't be shut off from this machine, it is not run, unless the user says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Literal

from ..errors import UserError
from . import harness, isolate

UNISOLATED = "PARROTLET_UNISOLATED_PYTHON"
"""The environment variable that lets programs run without isolation, if it is 1."""
KEPT_CHARACTERS = 2000

Verdict = Literal["passed", "failed", "time", "output"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a program may use."""

    seconds: float = 30.0
    """By the clock, its start included; on a busy machine that says little about the program."""
    cpu_seconds: int = 5
    """Of computing, of each process."""
    memory_bytes: int = 512 << 20
    """Address space of each process."""
    processes: int = 8
    """Processes and threads, that of the tests among them."""
    output_bytes: int = 64 << 10
    """What it writes to standard output and standard error."""
    disk_bytes: int = 16 << 20
    """Files, which lie in memory."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program ended."""

    verdict: Verdict
    """`passed`: the last test was reached and held. `time`, `output`: ended for using too much of it."""
    output: str
    """The end of what it wrote, errors included."""

    @property
    def passed(self) -> bool:
        """Whether all tests held."""
        return self.verdict == "passed"


def run_tests(program: str, name: str, tests: str, limits: Limits | None = None) -> Outcome:
    """Run `program` and then, in another process, `tests`, which call its function `name` as `candidate`.

    Raises `UserError` if they can't be isolated and `UNISOLATED` isn't set; if it is set, only time and output are
    limited, and a program that goes for the process of its tests may reach it. Safe from several threads.
    """
    check_allowed()
    return _run(program, name, tests, limits or Limits(), _isolates())


def check_allowed() -> None:
    """Raise `UserError` unless programs may be run here: isolated, or all the same if `UNISOLATED` is set."""
    if _isolates():
        check_isolation()


def _isolates() -> bool:
    return os.environ.get(UNISOLATED) != "1"


@cache
def check_isolation() -> None:
    """Raise `UserError`, which says what would lift it, unless programs can be isolated here."""
    if sys.platform != "linux":
        raise _refusal("that takes Linux")
    outcome = _run("", "", "", Limits(seconds=120), isolated=True)
    if not outcome.passed:
        raise _refusal(outcome.output.strip() or outcome.verdict)


def _refusal(reason: str) -> UserError:
    return UserError(
        f"Python that a model wrote can't be isolated on this machine ({reason.splitlines()[-1]}), so it is not run. "
        "It takes Linux with user namespaces, as outside of most containers. "
        f"{UNISOLATED}=1 runs it all the same: with your rights, your files and your network"
    )


def _run(program: str, name: str, tests: str, limits: Limits, isolated: bool) -> Outcome:
    message = json.dumps([program, name, tests]).encode() + b"\n"
    with subprocess.Popen(
        _command(limits, isolated),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={"PYTHONHASHSEED": "0"},
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            output, ended = _talk(process.stdin, process.stdout, message, limits)
            if not ended:
                process.wait()
        finally:
            _end(process, isolated)
    text, code = output.decode(errors="replace")[-KEPT_CHARACTERS:], process.returncode
    if isolated and not ended and code not in (harness.PASSED, harness.FAILED) and code <= 128:
        raise _refusal(text.strip() or f"exit code {code}")
    return Outcome(verdict=ended or ("passed" if code == harness.PASSED else "failed"), output=text)


def _command(limits: Limits, isolated: bool) -> list[str]:
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    judge = Path(harness.__file__).read_text(encoding="utf-8")
    if not isolated:
        return [python, "-I", "-S", "-B", "-u", "-c", judge]
    values = {name: getattr(limits, name) for name in ("memory_bytes", "processes", "disk_bytes", "cpu_seconds")}
    return [python, "-I", "-S", str(Path(isolate.__file__)), json.dumps(values), judge]


def _talk(stdin: IO[bytes], stdout: IO[bytes], message: bytes, limits: Limits) -> tuple[bytes, Verdict | None]:
    """Give the program its message and take what it writes, to its end or a limit, which is told."""
    end, output = time.monotonic() + limits.seconds, b""
    for pipe in (stdin, stdout):
        os.set_blocking(pipe.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(stdin, selectors.EVENT_WRITE)
        selector.register(stdout, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0:
            ready = {key.fileobj for key, _ in selector.select(left)}
            if stdin in ready:
                with contextlib.suppress(BrokenPipeError):
                    message = message[os.write(stdin.fileno(), message) :]
                    if message:
                        continue
                selector.unregister(stdin)
            if stdout in ready:
                piece = os.read(stdout.fileno(), 1 << 16)
                output += piece
                if not piece:
                    return output, None
                if len(output) > limits.output_bytes:
                    return output, "output"
    return output, "time"


def _end(process: subprocess.Popen[bytes], isolated: bool) -> None:
    """End the program and all that it started. What isolates it does so when it is asked to end."""
    if isolated:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: only zombies are left
        os.killpg(process.pid, 9)
