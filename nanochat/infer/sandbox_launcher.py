"""Puts up the walls of the sandbox and runs one command inside: `python -I -S sandbox_launcher.py '<order as JSON>'`.

A program of its own, with nothing but the standard library, because a process that has threads (torch) may not safely do this
between fork and exec. See sandbox.py for the order. Exit code 0 or 1 as the command's, 124 out of time, 125 no walls here.

Namespaces, mounts and pivot_root as in unshare(2), mount_namespaces(7), user_namespaces(7), pivot_root(2).
"""

import ctypes
import json
import os
import resource
import signal
import sys

NEW_MOUNTS, NEW_HOSTNAME, NEW_IPC = 0x00020000, 0x04000000, 0x08000000
NEW_USER, NEW_PROCESSES, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
READ_ONLY, NO_SETUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
DETACH = 2
DIE_WITH_PARENT, NO_NEW_PRIVILEGES = 1, 38
KEPT_MOUNT_FLAGS = NO_SETUID | NO_DEVICES | 8  # and noexec: flags that a remount may not drop
SCRATCH = "size=16m,nr_inodes=1024"
MOST_FILE_BYTES = 8 << 20
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments) -> None:
    """A C function that returns -1 with errno; OSError then."""
    arguments = [a.encode() if isinstance(a, str) else ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    if getattr(_libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def enter_namespaces() -> None:
    """Own mounts, processes, network, IPC, host name; without root by way of a user namespace that maps this user to itself."""
    flags = NEW_MOUNTS | NEW_PROCESSES | NEW_NETWORK | NEW_IPC | NEW_HOSTNAME
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        call("unshare", flags)
        return
    call("unshare", flags | NEW_USER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as f:
            f.write(text)


def build_root(folder: str, read_only: list[str]) -> None:
    """Makes a new root on `folder` out of the `read_only` paths, three devices and an empty /tmp; goes there."""
    call("mount", None, "/", None, PRIVATE | RECURSIVE, None)
    call("mount", "tmpfs", folder, "tmpfs", NO_SETUID | NO_DEVICES, SCRATCH + ",mode=755")
    for path in read_only:
        if os.path.islink(path) and "/" not in path.strip("/"):  # /bin -> usr/bin
            os.symlink(os.readlink(path), folder + path)
        else:
            bind(path, folder + path, READ_ONLY)
    for path in DEVICES:
        bind(path, folder + path, 0)
    os.mkdir(folder + "/tmp")
    call("mount", "tmpfs", folder + "/tmp", "tmpfs", NO_SETUID | NO_DEVICES, SCRATCH + ",mode=1777")
    os.chdir(folder)
    call("pivot_root", ".", ".")
    call("umount2", ".", DETACH)
    call("mount", None, "/", None, REMOUNT | READ_ONLY | NO_SETUID | NO_DEVICES, None)
    os.chdir("/tmp")


def bind(source: str, target: str, flags: int) -> None:
    """Shows `source` at `target`. Something already visible there, as part of another path, stays as it is."""
    if os.path.exists(target):
        return
    if os.path.isdir(source):
        os.makedirs(target)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "w").close()
    call("mount", source, target, None, BIND | RECURSIVE, None)
    kept = os.statvfs(target).f_flag & KEPT_MOUNT_FLAGS
    call("mount", None, target, None, REMOUNT | BIND | flags | kept | NO_SETUID, None)


def give_up_rights(user: int | None) -> None:
    """No way back to a privilege; root becomes `user`."""
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    call("prctl", DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)


def set_limits(memory: int, seconds: float) -> None:
    """Address space, processor time, size and number of files, no core files; no new process or thread (but see root)."""
    processor = int(seconds) + 1
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, processor), (resource.RLIMIT_FSIZE, MOST_FILE_BYTES),
                       (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, 0)):  # fmt: skip
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def become(order: dict) -> None:
    """The child: walls, rights, limits, then the command. Does not return."""
    try:
        if order["walls"]:
            build_root(order["folder"], order["read_only"])
        give_up_rights(order["drop"])
        set_limits(order["memory"], order["seconds"])
        os.execve(order["command"][0], order["command"], order["environment"])
    except OSError as error:
        print(f"no walls here: {error}", file=sys.stderr, flush=True)
    os._exit(125)


def main() -> int:
    order = json.loads(sys.argv[1])
    if order["walls"]:
        try:
            enter_namespaces()
        except OSError as error:
            print(f"no walls here: {error}", file=sys.stderr)
            return 125
    child = os.fork()
    if child == 0:
        become(order)
    out_of_time = []

    def stop(number, frame):
        out_of_time.append(number)
        os.kill(child, signal.SIGKILL)  # the first process of its namespace: whatever it started goes with it

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, order["seconds"])
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if out_of_time or code == -signal.SIGXCPU:
        return 124
    if code < 0:
        print(f"ended by signal {signal.Signals(-code).name}", file=sys.stderr)
    return code if code in (0, 125) else 1


if __name__ == "__main__":
    sys.exit(main())
