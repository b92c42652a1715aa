"""Run as a script: shuts a Python program off from this machine, and starts it. Linux only, standard library only.

    python -I isolate.py LIMITS_AS_JSON PROGRAM

Standard input and exit code are the program's; 128 + n says that signal n ended it, 1 that it was not started.

The program gets process, network, mount, IPC and user namespaces of its own: no other process, no network, and of the
file system only Python and the system's libraries, read-only, and an empty folder in memory. It runs without any
privilege, also where root starts it. Whatever step fails, the program is not started.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
READ_ONLY = 0x1 | 0x2 | 0x4  # no writing, no set-user-ID, no devices
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
NOBODY = 65534
ROOT = "/tmp"
"""Where the new root is put together: any folder that is there; what is in it is hidden, for the program only."""
SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache", "/dev/null", "/dev/urandom")

libc = ctypes.CDLL(None, use_errno=True)


def main(limits: dict[str, int], program: str) -> None:
    """Start the program, wait for its end, see to it that nothing of it is left, and end as it did."""
    as_root = os.geteuid() == 0
    proc = os.open("/proc", os.O_PATH)
    _unshare(NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS | (0 if as_root else NEWUSER))
    if not as_root:
        _map_own_id(proc, os.geteuid(), os.getegid(), in_new=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until it is known whom to end
    child = os.fork()
    if child == 0:
        _inside(limits, program, proc, as_root)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _call(libc.prctl, PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(code if code >= 0 else 128 - code)


def _inside(limits: dict[str, int], program: str, proc: int, as_root: bool) -> None:
    """In the new namespaces, as their first process: when it ends, all others are ended."""
    try:
        os.setsid()  # else signals to its own process group would reach out, where no root starts it
        _new_root(limits["disk_bytes"])
        if as_root:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            _call(libc.prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
            _unshare(NEWUSER)
            _map_own_id(proc, NOBODY, NOBODY, in_new=True)
        _write(proc, "sys/user/max_user_namespaces", "0")  # in a namespace of its own it could mount memory
        os.close(proc)
        _limit(limits)
        _call(libc.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _call(libc.prctl, PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/work", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, "-I", "-S", "-B", "-u", "-c", program], environment)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def _new_root(disk_bytes: int) -> None:
    """Leave the file system but for Python, the system's libraries, and `/work`."""
    _call(libc.mount, None, b"/", None, MS_REC | MS_PRIVATE, None)
    _mount_memory(ROOT, 1 << 20, "755")
    for path in dict.fromkeys((*SYSTEM, os.path.realpath(sys.base_prefix))):
        _show(path)
    os.mkdir(f"{ROOT}/work")
    _read_only(ROOT)
    _mount_memory(f"{ROOT}/work", disk_bytes, "777")
    os.chdir(ROOT)
    _call(libc.syscall, PIVOT_ROOT[os.uname().machine], b".", b".")
    _call(libc.umount2, b".", MNT_DETACH)
    os.chdir("/work")


def _show(path: str) -> None:
    """Let a folder or file, if it is there, be seen in the new root."""
    there = ROOT + path
    if not os.path.lexists(path) or os.path.lexists(there):
        return
    os.makedirs(os.path.dirname(there), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), there)
        return
    if os.path.isdir(path):
        os.mkdir(there)
    else:
        os.close(os.open(there, os.O_CREAT | os.O_WRONLY))
    _call(libc.mount, path.encode(), there.encode(), None, MS_BIND | MS_REC, None)


def _read_only(path: str) -> None:
    """Everything at and below a mount."""
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY & ~0x4, 0, 0, 0)  # /dev/null is a device
    _call(libc.syscall, MOUNT_SETATTR, AT_FDCWD, path.encode(), AT_RECURSIVE, attributes, ctypes.sizeof(attributes))


def _mount_memory(path: str, size: int, mode: str) -> None:
    options = f"size={size},nr_inodes=4096,mode={mode}".encode()
    _call(libc.mount, b"tmpfs", path.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, options)


def _map_own_id(proc: int, uid: int, gid: int, in_new: bool) -> None:
    """In a new user namespace: the one user there is stays who it was."""
    _write(proc, "self/setgroups", "deny")
    _write(proc, "self/uid_map", f"{uid} {uid} 1")
    _write(proc, "self/gid_map", f"{gid} {gid} 1")


def _write(proc: int, name: str, text: str) -> None:
    file = os.open(name, os.O_WRONLY, dir_fd=proc)
    os.write(file, text.encode())
    os.close(file)


def _limit(limits: dict[str, int]) -> None:
    values = {
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_FSIZE: limits["disk_bytes"],
        resource.RLIMIT_CPU: limits["cpu_seconds"],
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for name, value in values.items():
        resource.setrlimit(name, (value, value))


def _unshare(flags: int) -> None:
    _call(libc.unshare, flags)


def _call(function: ctypes._FuncPointer, *args: object) -> None:  # pyright: ignore[reportPrivateUsage]
    if function(*args) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{os.strerror(error)} ({args[0]})")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2])
