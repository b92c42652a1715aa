"""Programs that a model might write, and worse ones."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from parrotlet.errors import UserError
from parrotlet.tools import Limits, run_tests, sandbox

TESTS = "assert f() == 1\n"
RIGHT = "def f():\n    return 1\n"
LIMITS = Limits(cpu_seconds=1, seconds=60, memory_bytes=128 << 20, output_bytes=4096)


@pytest.fixture(scope="module", autouse=True)
def isolation():
    """Where there is none, `test_without_isolation_nothing_runs` is what can be shown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(sandbox.UNISOLATED, raising=False)  # these programs must never run without
        try:
            sandbox.check_isolation()
        except UserError as error:
            pytest.skip(str(error))
        yield


@pytest.mark.parametrize(
    "program",
    [
        RIGHT,
        "print('hello')\n" + RIGHT,
        "import sys, math, re, collections, itertools, hashlib, threading\n" + RIGHT,
        "open('mine.txt', 'w').write('x')\nassert open('/work/mine.txt').read() == 'x'\n" + RIGHT,
        "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()\n" + RIGHT,
        "import subprocess\nsubprocess.run(['/bin/true'], check=True)\n" + RIGHT,
        "if __name__ == '__main__':\n" + "    def f(): return 1\n",
        "#" + "小" * 100_000 + "\n" + RIGHT,
    ],
)
def test_right_programs_pass(program):
    outcome = run_tests(program, TESTS, LIMITS)
    assert outcome.passed, outcome


FAILING = {
    "wrong": "def f(): return 2",
    "syntax error": "def f(: return 1",
    "raises": "raise ValueError",
    "sys.exit(0) at once": "import sys; sys.exit(0)",
    "sys.exit(0) in the tests": "import sys\ndef f(): sys.exit(0)",
    "os._exit(0)": "import os\ndef f(): os._exit(0)",
    "SystemExit by atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(): raise SystemExit",
    "prints what looks like success": "print('passed', '0' * 32)",
    "asserts and equality patched": "import builtins\nbuiltins.AssertionError = Warning\ndef f(): return 2",
    "os.write patched": "import os\nos.write = print\ndef f(): return 2",
    "json patched": "import json\njson.loads = lambda line: 'pass'\ndef f(): return 2",
    "kills its parent": "import os, signal\nos.kill(os.getppid(), 9)\ndef f(): return 2",
    "kills everything": "import os\nos.kill(-1, 9)\ndef f(): return 2",
    "kills itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\ndef f(): os.abort()",
    "reads the tests from standard input": "import sys\nassert sys.stdin.read() == ''\ndef f(): return 2",
    "recursion": "def f(): return f()",
    "crashes the interpreter": "import ctypes\nctypes.string_at(0)",
}


@pytest.mark.parametrize("program", FAILING.values(), ids=FAILING)
def test_what_does_not_reach_the_end_fails(program):
    assert run_tests(program, TESTS, LIMITS).verdict == "failed"


ESCAPES = {
    "reads the home folder": "assert set(os.listdir(HOME)) & IN_HOME",
    "reads a file in the temporary folder": "open(SECRET)",
    "reads this repository": "open(TEST_FILE)",
    "writes to this repository": "open(TEST_FILE + '.escaped', 'w')",
    "reads passwords": "open('/etc/passwd')",
    "writes to the system": "open('/usr/lib/escaped', 'w')",
    "writes to the root": "open('/escaped', 'w')",
    "writes to Python": "open(os.__file__, 'a')",
    "reads processes": "os.listdir('/proc')",
    "reads the parent's memory": "open(f'/proc/{PARENT}/mem', 'rb')",
    "reads the parent's memory by system call": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.ptrace(16, PARENT, 0, 0) == 0"
    ),
    "signals the parent": "os.kill(PARENT, 0)",
    "network": "import socket\nsocket.create_connection(('127.0.0.1', PORT), 2)",
    "network outside": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('1.1.1.1', 53))",
    "abstract socket": "import socket\nsocket.socket(socket.AF_UNIX).connect(NAME)",
    "becomes root": "os.setuid(0)",
    "mounts": "import ctypes\nassert ctypes.CDLL(None).mount(b'x', b'/work', b'tmpfs', 0, None) == 0",
    "a user namespace": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "chroot": "os.chroot('/work')",
    "raises its limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "memory": "x = bytearray(1 << 30)",
    "a large file": "open('big', 'wb').write(b'x' * (17 << 20))",
    "many files": "for i in range(40):\n    open(f'big{i}', 'wb').write(b'x' * (1 << 20))",
    "many processes": "children = [os.fork() or time.sleep(20) for _ in range(30)]",
    "many threads": "import threading\n[threading.Thread(target=time.sleep, args=(3,)).start() for _ in range(30)]",
    "real-time priority": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))",
    "device files": "os.mknod('/work/disk', 0o60600, os.makedev(254, 0))",
    "sees the environment": "assert len(os.environ) > 6",
}


@pytest.mark.parametrize("attempt", ESCAPES.values(), ids=ESCAPES)
def test_what_would_reach_out_does_not(attempt, tmp_path):
    """Each attempt ends in an error of Python, and the program says so."""
    (tmp_path / "secret").write_text("secret")
    program = "import os, time\n{names}\ntry:\n{attempt}\nexcept Exception as error:\n    print('held', error)\n"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0parrotlet-{os.getpid()}")
        abstract.listen()
        names = {
            "HOME": str(Path.home()),
            "IN_HOME": {path.name for path in Path.home().iterdir() if path.name not in sys.base_prefix},
            "SECRET": str(tmp_path / "secret"),
            "TEST_FILE": __file__,
            "PARENT": os.getpid(),
            "PORT": server.getsockname()[1],
            "NAME": f"\0parrotlet-{os.getpid()}",
        }
        lines = "\n".join(f"{name} = {value!r}" for name, value in names.items())
        indented = "\n".join("    " + line for line in [*attempt.split("\n"), "print('ESCAPED')"])
        outcome = run_tests(program.format(names=lines, attempt=indented), "", LIMITS)
    assert "held" in outcome.output, outcome
    assert "ESCAPED" not in outcome.output
    assert not Path(__file__ + ".escaped").exists()


ENDLESS = {
    "computes": ("while True: pass", "failed"),
    "writes": ("while True: print('x' * 100)", "output"),
    "sleeps": ("import time\ntime.sleep(1000)", "time"),
    "forks": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "time"),
    "forks and hides": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)\ntime.sleep(1000)",
        "time",
    ),
    "ignores signals": (
        "import signal, time\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\ntime.sleep(1000)",
        "time",
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_does_not_end_is_ended_with_all_that_it_started(name):
    program, verdict = ENDLESS[name]
    seconds = 3 if verdict == "time" else 60
    limits = Limits(cpu_seconds=1, seconds=seconds, output_bytes=4096)
    outcome = run_tests(f"# mark-{name}\n{program}", TESTS, limits)
    assert outcome.verdict in (verdict, "time"), outcome
    running = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in running.splitlines() if line.split()[0] == str(os.getpid()) and "isolate.py" in line]
    assert not [line for line in running.splitlines() if "channel = open(os.dup(0)" in line]


AS_NOBODY = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from parrotlet.tools import Limits, run_tests
limits = Limits(cpu_seconds=1, seconds=60, memory_bytes=128 << 20, output_bytes=4096)
print(json.dumps([os.getuid(), *(run_tests(one, "assert f() == 1").passed for one in json.loads(sys.argv[2]))]))
"""
HOSTILE = {
    "sys.exit(0)": "import sys; sys.exit(0)",
    "the parent's memory": "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb')\ndef f(): return 1",
    "processes": "import os\n[os.fork() for _ in range(40)]\ndef f(): return 1",
    "memory": "x = bytearray(1 << 30)\ndef f(): return 1",
    "passwords": "open('/etc/passwd')\ndef f(): return 1",
    "network": "import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)\ndef f(): return 1",
    "a user namespace": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0\ndef f(): return 1",
    "endless": "while True: pass",
}


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user")
def test_a_user_without_rights_has_the_same_isolation():
    """With the system's Python, which every user can run, where it is new enough."""
    python = "/usr/bin/python3"
    asked = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not Path(python).exists() or subprocess.run(asked, check=False).returncode:
        pytest.skip("the system has no Python 3.11")
    with socket.create_server(("127.0.0.1", 0)) as server:
        programs = [RIGHT, *(text.replace("{port}", str(server.getsockname()[1])) for text in HOSTILE.values())]
        source = str(Path(sandbox.__file__).parents[2])
        command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", python, "-B", "-c", AS_NOBODY]
        done = subprocess.run([*command, source, json.dumps(programs)], capture_output=True, text=True, check=False)
    if "Permission denied" in done.stderr or "No module named 'parrotlet'" in done.stderr:
        pytest.skip("nobody can't read the sources here")
    assert json.loads(done.stdout) == [65534, True, *[False] * len(HOSTILE)], done.stderr


def test_without_isolation_nothing_runs(monkeypatch, tmp_path):
    """And the message says what would lift it; then it runs."""
    sandbox.check_isolation.cache_clear()
    monkeypatch.setattr(sandbox.isolate, "__file__", str(tmp_path / "nothing.py"))
    program = f"open({str(tmp_path / 'ran')!r}, 'w')\n{RIGHT}"
    with pytest.raises(UserError, match=f"{sandbox.UNISOLATED}=1"):
        run_tests(program, TESTS, LIMITS)
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv(sandbox.UNISOLATED, "1")
    assert run_tests(program, TESTS, LIMITS).passed
    assert (tmp_path / "ran").exists()
    sandbox.check_isolation.cache_clear()


def test_other_systems_are_told(monkeypatch):
    sandbox.check_isolation.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="Linux"):
        run_tests(RIGHT, TESTS)
    sandbox.check_isolation.cache_clear()
