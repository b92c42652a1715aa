"""Programs that a model might write, and worse ones."""

import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolated import isolation_or_skip
from parrotlet.errors import UserError
from parrotlet.tools import Limits, run_tests, sandbox
from parrotlet.tools.harness import PASSED, packed, unpacked

TESTS = "assert candidate() == 1\n"
RIGHT = "def f():\n    return 1\n"
LIMITS = Limits(cpu_seconds=1, seconds=60, memory_bytes=128 << 20, output_bytes=4096)


@pytest.fixture(scope="module", autouse=True)
def isolation():
    """Where there is none, `test_without_isolation_nothing_runs` is what can be shown."""
    with pytest.MonkeyPatch.context() as patch:
        isolation_or_skip(patch)
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
    outcome = run_tests(program, "f", TESTS, LIMITS)
    assert outcome.passed, outcome


def test_several_threads_at_once():
    programs = {RIGHT: True, "def f():\n    return 2\n": False, "while True: pass\n": False}
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda program: run_tests(program, "f", TESTS, LIMITS), [*programs] * 4))
    assert [outcome.passed for outcome in outcomes] == [*programs.values()] * 4


@pytest.mark.parametrize(
    ("expression", "is_right"),
    [
        ("[1, (2.5, 'x', None, True), {'a': {1, 2}}, b'x', frozenset({3})]", True),
        ("[1, [2.5, 'x', None, True], {'a': {1, 2}}, b'x', frozenset({3})]", False),
        ("collections.Counter('aab')", False),
    ],
)
def test_what_a_function_returns_is_compared_by_kind(expression, is_right):
    expected = "[1, (2.5, 'x', None, True), {'a': {1, 2}}, b'x', frozenset({3})]"
    program = f"import collections\ndef f(x, *, y): return x and {expression}"
    outcome = run_tests(program, "f", f"assert candidate(1, y=[2]) == {expected}", LIMITS)
    assert outcome.passed is is_right, outcome


@pytest.mark.parametrize("kind", ["Counter(a=1)", "defaultdict(int, a=1)", "OrderedDict(a=1)"])
def test_a_kind_of_dict_is_a_dict(kind):
    program = f"from collections import *\ndef f(): return {kind}"
    assert run_tests(program, "f", "assert candidate() == {'a': 1}", LIMITS).passed


keys = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    keys,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(keys, inner)
        | st.sets(keys, max_size=1)
        | st.frozensets(keys, max_size=1)
    ),
)


@given(values)
def test_values_come_back_the_same(value):
    assert repr(unpacked(json.loads(json.dumps(packed(value))))) == repr(value)


def test_not_a_number_comes_back():
    assert math.isnan(unpacked(json.loads(json.dumps(packed(math.nan)))))


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
    assert run_tests(program, "f", TESTS, LIMITS).verdict == "failed"


NEAR = "x = candidate()\nassert abs(x - 1) < 1e-9\n"
BY_MATH = "import math\nassert candidate() < math.exp(0.5)\n"
BY_STRING = "import string\nassert str(candidate()) == string.digits[1]\n"
BY_CHECK = "def check(candidate):\n    assert candidate() == 1\ncheck(candidate)\n"
UNUSUAL = "assert candidate() == 271828\n"
WRONG = "def f(): return 2\n"
CHEATS = {
    "a builtin's name": ("abs = lambda x: 0\n" + WRONG, NEAR),
    "a builtin": ("import builtins\nbuiltins.abs = lambda x: 0\n" + WRONG, NEAR),
    "a builtin's name, in the caller": (
        "import sys\ndef f():\n    sys._getframe(1).f_globals['abs'] = lambda x: 0\n    return 2",
        NEAR,
    ),
    "a builtin's name, everywhere": (
        "import gc\nfor found in gc.get_objects():\n"
        "    if type(found) is dict and '__builtins__' in found: found['abs'] = lambda x: 0\n" + WRONG,
        NEAR,
    ),
    "check": (
        "import sys\ndef trace(frame, event, arg):\n    frame.f_globals['check'] = lambda f: None\n    return trace\n"
        "sys.settrace(trace)\n" + WRONG,
        BY_CHECK,
    ),
    "a module": ("import math\nmath.exp = lambda x: 9\n" + WRONG, BY_MATH),
    "a module put in its place": (
        "import sys, types\nsys.modules['math'] = types.SimpleNamespace(exp=lambda x: 9)\n" + WRONG,
        BY_MATH,
    ),
    "a module's file": (
        "import sys\nopen('string.py', 'w').write('digits = \"02\"')\nsys.path.insert(0, '/work')\n" + WRONG,
        BY_STRING,
    ),
    "a module loaded anew": (
        "import importlib, string, sys\nopen('string.py', 'w').write('digits = \"02\"')\n"
        "sys.path.insert(0, '/work')\nimportlib.reload(string)\n" + WRONG,
        BY_STRING,
    ),
    "import": (
        "import builtins, types\nreal = builtins.__import__\n"
        "builtins.__import__ = lambda name, *rest: (\n"
        "    types.SimpleNamespace(exp=lambda x: 9) if name == 'math' else real(name, *rest))\n" + WRONG,
        BY_MATH,
    ),
    "AssertionError": (
        "import builtins, os\nclass Passed(BaseException):\n    def __init__(self, *a): os._exit(10)\n"
        "builtins.AssertionError = Passed\n" + WRONG,
        TESTS,
    ),
    "print and output": (
        "import builtins, sys\nbuiltins.print = lambda *a, **k: None\nsys.stdout = sys.stderr = None\n" + WRONG,
        TESTS,
    ),
    "equal to everything": ("class All:\n    __eq__ = lambda *a: True\ndef f(): return All()", TESTS),
    "near to everything": (
        "class All:\n    __sub__ = __abs__ = lambda a, *b: a\n    __lt__ = lambda *a: True\ndef f(): return All()",
        NEAR,
    ),
    **{
        f"{kind} equal to everything": (
            f"class All({kind}):\n    __eq__ = lambda *a: True\n    __hash__ = None\ndef f(): return All({value})",
            TESTS,
        )
        for kind, value in {"int": "2", "float": "2", "str": "'2'", "list": "[2]", "dict": "{2: 2}"}.items()
    },
    "says to be an int": (
        "class All:\n    __class__ = int\n    __eq__ = lambda *a: True\n    __repr__ = lambda a: '1'\n"
        "def f(): return All()",
        TESTS,
    ),
    "a class for a value": (
        "class Meta(type):\n    __eq__ = lambda *a: True\nclass All(metaclass=Meta): pass\ndef f(): return All",
        TESTS,
    ),
    "an exception for a value": ("class E(Exception):\n    __eq__ = lambda *a: True\ndef f(): return E(1)", TESTS),
    "raises what ends with success": (f"def f(): raise SystemExit({PASSED})", TESTS),
    "ends with success": (f"import os\nos._exit({PASSED})", TESTS),
    "ends with success when asked": (f"import os\ndef f(): os._exit({PASSED})", TESTS),
    "ends with success at exit": (f"import atexit, os\natexit.register(os._exit, {PASSED})\nraise SystemExit", TESTS),
    "ends with success when deleted": (
        f"import os\nclass Last:\n    def __del__(self): os._exit({PASSED})\nlast = Last()\ndef f(): raise ValueError",
        TESTS,
    ),
    "ends with success by a thread": (
        f"import os, threading\nthreading.Timer(0.05, os._exit, ({PASSED},)).start()\n"
        "import time\ndef f(): time.sleep(1)",
        TESTS,
    ),
    "ends with success by a copy": (f"import os\nif os.fork(): os._exit({PASSED})\n" + WRONG, TESTS),
    "a copy answers, too": ("import os\nos.fork()\n" + WRONG, TESTS),
    "all that it can read, written": (
        "import os\ndef f():\n    for fd in range(3, 32):\n        try:\n            os.set_blocking(fd, False)\n"
        "            os.write(1, os.read(fd, 65536).decode().split('\"')[-2].encode())\n"
        "        except (OSError, IndexError): pass\n    os._exit(0)",
        TESTS,
    ),
    "answers that nobody asked for": (
        "import os\nfor fd in range(3, 32):\n    try: os.write(fd, b'null\\n{}\\n')\n    except OSError: pass\n"
        + WRONG,
        TESTS,
    ),
    "answers that are none": ('import json\njson.dumps = lambda value: \'{"set": [{"list": []}]}\'\n' + WRONG, TESTS),
    "answers that are too deep": ("import json\njson.dumps = lambda value: '[' * 10**6\n" + WRONG, TESTS),
    "answers that are too long": ("import json\njson.dumps = lambda value: '[' + '1,' * (20 << 20)\n" + WRONG, TESTS),
    "skips the test by a trace": (
        "import sys\ndef skip(frame, event, arg):\n"
        "    if frame.f_code.co_name == 'check' and event == 'line': frame.f_lineno = 3\n"
        "    return skip\nsys.settrace(skip)\n" + WRONG,
        "def check():\n    assert candidate() == 1\n    return\ncheck()\n",
    ),
    "changes the caller by a profile": (
        "import sys\ndef profile(frame, event, arg):\n"
        "    if frame.f_back: frame.f_back.f_globals['abs'] = lambda x: 0\nsys.setprofile(profile)\n" + WRONG,
        NEAR,
    ),
    "the expected value, from its callers": (
        "import sys\ndef f():\n    frame = sys._getframe()\n    while frame := frame.f_back:\n"
        "        for value in frame.f_code.co_consts:\n            if value == 271_828: return value",
        UNUSUAL,
    ),
    "the expected value, from memory": (
        "import gc, re\ndef f():\n    for found in gc.get_objects():\n"
        "        for one in (found.values() if type(found) is dict else found if type(found) is list else ()):\n"
        "            if type(one) is str and (hit := re.search('== (2718' '28)', one)): return int(hit[1])",
        UNUSUAL,
    ),
    "signals the tests": (
        "import os, signal\nfor s in range(1, 65):\n    try: os.kill(1, s)\n    except OSError: pass\n" + WRONG,
        TESTS,
    ),
    "takes from the tests what they need": (
        "import resource\nfor limit in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):\n"
        "    resource.prlimit(1, limit, (0, 0))\n" + WRONG,
        TESTS,
    ),
}


@pytest.mark.parametrize(("program", "tests"), CHEATS.values(), ids=CHEATS)
def test_what_patches_or_fools_the_tests_fails(program, tests):
    outcome = run_tests(program, "f", tests, LIMITS)
    assert outcome.verdict == "failed", outcome


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
    "reads the tests' memory": "import ctypes\nassert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0",
    "takes the tests' input": (
        "import ctypes\ncall = ctypes.CDLL(None).syscall\nassert call(438, call(434, 1, 0), 0, 0) >= 0"
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
        outcome = run_tests(program.format(names=lines, attempt=indented), "f", "", LIMITS)
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


@pytest.fixture
def mark(monkeypatch, tmp_path):
    """A text that only the commands of this test's programs have, and of what isolates them."""
    source = Path(sandbox.harness.__file__).read_text()
    (tmp_path / "harness.py").write_text(f"# {tmp_path}\n{source}")
    monkeypatch.setattr(sandbox.harness, "__file__", str(tmp_path / "harness.py"))
    return f"# {tmp_path}"


def running(mark):
    """The processes that have it, by number: their commands."""
    listed = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return {int(line.split()[0]): line for line in listed.splitlines() if mark in line}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_does_not_end_is_ended_with_all_that_it_started(name, mark):
    program, verdict = ENDLESS[name]
    seconds = 3 if verdict == "time" else 60
    limits = Limits(cpu_seconds=1, seconds=seconds, output_bytes=4096)
    outcome = run_tests(program, "f", TESTS, limits)
    assert outcome.verdict in (verdict, "time"), outcome
    assert not running(mark)


AS_NOBODY = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from parrotlet.tools import Limits, run_tests
limits = Limits(cpu_seconds=1, seconds=60, memory_bytes=128 << 20, output_bytes=4096)
passed = [run_tests(one, "f", "assert candidate() == 1", limits).passed for one in json.loads(sys.argv[2])]
print(json.dumps([os.getuid(), *passed]))
"""
HOSTILE = {
    "sys.exit(0)": "import sys; sys.exit(0)",
    "the parent's memory": "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb')\ndef f(): return 1",
    "processes": "import os\n[os.fork() for _ in range(40)]\ndef f(): return 1",
    "memory": "x = bytearray(1 << 30)\ndef f(): return 1",
    "its process group": "import os\nos.kill(0, 9)\ndef f(): return 1",
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
        run_tests(program, "f", TESTS, LIMITS)
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv(sandbox.UNISOLATED, "1")
    assert run_tests(program, "f", TESTS, LIMITS).passed
    assert (tmp_path / "ran").exists()
    sandbox.check_isolation.cache_clear()


def test_an_isolation_that_can_not_start_is_no_verdict(monkeypatch, tmp_path):
    """Though another could before, which is remembered."""
    sandbox.check_isolation()
    monkeypatch.setattr(sandbox.isolate, "__file__", str(tmp_path / "nothing.py"))
    with pytest.raises(UserError, match="can't be isolated"):
        run_tests(RIGHT, "f", TESTS, LIMITS)


def test_an_isolation_that_fails_halfway_is_no_verdict():
    with pytest.raises(UserError, match="can't be isolated"):
        run_tests(RIGHT, "f", TESTS, Limits(disk_bytes=-1))


def test_when_what_isolates_is_killed_so_is_the_program(monkeypatch, mark):
    sandbox.check_isolation()
    talk = sandbox._talk

    def kill_and_talk(*args):
        while len(processes := running(mark)) < 3:
            time.sleep(0.05)
        os.kill(next(number for number, command in processes.items() if "isolate.py" in command), 9)
        return talk(*args)

    monkeypatch.setattr(sandbox, "_talk", kill_and_talk)
    with pytest.raises(UserError, match="can't be isolated"):
        run_tests("import time\ntime.sleep(1000)", "f", TESTS, LIMITS)
    assert not running(mark)


def test_other_systems_are_told(monkeypatch):
    sandbox.check_isolation.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="Linux"):
        run_tests(RIGHT, "f", TESTS)
    sandbox.check_isolation.cache_clear()
