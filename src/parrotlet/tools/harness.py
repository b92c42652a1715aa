"""Run in the sandbox as `python -c`: a program in one process, its tests in another. Standard library only.

    standard input   [program, name of its function, tests] as JSON
    exit code        `PASSED` or `FAILED`; any other says that nothing was judged

The tests call the function as `candidate`. Arguments and results go between the processes as JSON of plain values, and
neither the tests nor what they expect is ever in the program's process. So whatever the program patches, prints or ends
with, all that it can do for passing is to answer with the right values.
"""

import ctypes
import json
import os
import signal
import sys
from typing import IO, Any

PASSED, FAILED = 10, 11
PR_SET_DUMPABLE = 4
"""Whether other processes of the same user may read a process's memory and take its files."""
KINDS: dict[str, Any] = {kind.__name__: kind for kind in (list, tuple, dict, set, frozenset, bytes)}
"""What a value may be besides None, bool, int, float and str; a subclass becomes its base."""


def main() -> None:
    """Start the program's process, run the tests, and end with their verdict, and with the program."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # else the program could interrupt its tests
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError("the tests can't be hidden from the program")
    call_reader, call_writer = os.pipe()
    result_reader, result_writer = os.pipe()
    child = os.fork()  # before anything of the tests is in memory
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        serve(os.fdopen(call_reader), os.fdopen(result_writer, "w", 1))
        return
    os.close(call_reader)
    os.close(result_writer)
    verdict = FAILED
    try:
        judge(os.fdopen(call_writer, "w", 1), os.fdopen(result_reader))
        verdict = PASSED
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os.kill(child, signal.SIGKILL)
        os._exit(verdict)


def serve(calls: IO[str], results: IO[str]) -> None:
    """Run the program, then answer calls of its function; if it raises, there are no more answers."""
    program, name = json.loads(calls.readline())
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(program, "program.py", "exec"), namespace)
    results.write("\n")
    for line in calls:
        args, kwargs = unpacked(json.loads(line))
        results.write(json.dumps(packed(namespace[name](*args, **kwargs))) + "\n")


def judge(calls: IO[str], results: IO[str]) -> None:
    """Run the tests; raises what they raise, and `EOFError` where the program gives no answer."""
    program, name, tests = json.loads(sys.stdin.readline())

    def ask(question: Any) -> str:
        calls.write(json.dumps(question) + "\n")
        if not (answer := results.readline()):
            raise EOFError("the program ended")
        return answer

    def candidate(*args: Any, **kwargs: Any) -> Any:
        return unpacked(json.loads(ask(packed((args, kwargs)))))

    ask([program, name])
    exec(compile(tests, "tests.py", "exec"), {"__name__": "__main__", "candidate": candidate})


def packed(value: Any) -> Any:
    """A value as JSON can hold it; what is of no kind that we know is left for `json.dumps` to refuse."""
    for name, kind in KINDS.items():
        if isinstance(value, kind):
            return {name: [packed(item) for item in (value.items() if kind is dict else value)]}
    return value


def unpacked(value: Any) -> Any:
    """The value that `packed` made this of."""
    if type(value) is not dict:
        return value
    ((name, items),) = value.items()
    return KINDS[name](map(unpacked, items))


if __name__ == "__main__":
    main()
