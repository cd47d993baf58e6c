"""Stages stay offline: a connection beyond this machine and the machines of its job is an error that names who wanted it.

    with guarded(): work()

Python tells an audit hook of each name that is looked up and each address that is connected to, whatever library asks for it, before
it happens. What does not go through Python's sockets (gloo, NCCL, the rendezvous of torchrun) is not seen and not disturbed. Allowed are
loopback, Unix sockets, this machine under its own name, MASTER_ADDR, and the nodes of the Slurm job.
"""

import contextlib
import ipaddress
import os
import re
import socket
import sys
import sysconfig
import threading
from pathlib import Path

from nanochat.common import UserError

ROOT = Path(__file__).resolve().parents[2]
STANDARD_LIBRARY = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")})
INSTALLED = ("site-packages", "dist-packages")  # they lie within the standard library's folder


class OfflineError(UserError):
    """Somebody tried to reach another machine while a stage runs."""


_allowed: list[frozenset[str]] = []  # names and addresses that may be reached, one entry per guard in force; empty: no guard
_installed = False
_here = threading.local()  # set while this thread asks for the addresses of the allowed names


def install_guard(also: tuple[str, ...] = ()) -> None:
    """From here on only loopback, the job's own machines and the hosts `also` can be reached from this process."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)  # for good: Python has no way to take it out again
        _installed = True
    _allowed.append(_own_names() | {host.lower() for host in also})


@contextlib.contextmanager
def guarded(also: tuple[str, ...] = ()):
    """`install_guard` for the length of a block."""
    install_guard(also)
    try:
        yield
    finally:
        _allowed.pop()


def expand_nodes(text: str) -> list[str]:
    """The names in a Slurm list of nodes: `gpu[01-02,07],login` -> gpu01, gpu02, gpu07, login."""
    names = []
    for entry in re.findall(r"[^,\[]+(?:\[[^\]]*\][^,\[]*)*", text):
        head, bracket, rest = entry.partition("[")
        if not bracket:
            names.append(entry)
            continue
        inside, _, tail = rest.partition("]")
        numbers = (number for part in inside.split(",") for number in _range(part))
        names += [name for number in numbers for name in expand_nodes(head + number + tail)]
    return names


def _range(part: str) -> list[str]:
    first, dash, last = part.partition("-")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)] if dash else [part]


def _own_names() -> frozenset[str]:
    nodes = expand_nodes(os.environ.get("SLURM_JOB_NODELIST", ""))
    names = {"localhost", socket.gethostname(), os.environ.get("MASTER_ADDR", ""), os.environ.get("SLURM_LAUNCH_NODE_IPADDR", ""), *nodes}
    return frozenset(name.lower() for name in names if name)


# ---------------------------------------------------------------------------------------------------------------------
# The hook


def _hook(event: str, args: tuple) -> None:
    host_of = _EVENTS.get(event)
    if host_of is None or not _allowed or getattr(_here, "asking", False):
        return
    host, port = host_of(*args)
    if not _may_reach(host):
        where = f"{host}:{port}" if port else host
        raise OfflineError(
            f"{_caller()} tried to reach {where}, but stages work offline and open only local files; "
            "fetch it beforehand with bash download_data.sh, or leave it out"
        )


def _peer(sock, address) -> tuple[str | None, object]:
    """Where a socket is to be connected to; None for a kind of socket that cannot leave the machine."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return None, None
    return _text(address[0]), address[1]


_EVENTS = {
    "socket.connect": _peer,
    "socket.sendto": _peer,
    "socket.sendmsg": _peer,
    "socket.getaddrinfo": lambda host, port, *rest: (_text(host), port),
    "socket.gethostbyname": lambda host: (_text(host), None),
    "socket.gethostbyaddr": lambda host: (_text(host), None),
}


def _text(host) -> str | None:
    return host.decode(errors="replace") if isinstance(host, (bytes, bytearray)) else host


def _may_reach(host: str | None) -> bool:
    if not host:
        return True
    name, allowed = host.lower().rstrip("."), _allowed[-1]
    address = _address(name)
    if address is None:
        return name in allowed or name.endswith(".localhost") or _short(name) in {_short(n) for n in allowed if not _address(n)}
    if address.is_loopback or address.is_unspecified:
        return True
    return str(address) in allowed or str(address) in _addresses(allowed)


def _short(name: str) -> str:
    """A node's name without its domain: Slurm says gpu01 where the resolver says gpu01.cluster."""
    return name.partition(".")[0]


def _address(name: str):
    try:
        found = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


_known: dict[str, set[str]] = {}


def _addresses(names: frozenset[str]) -> set[str]:
    """The addresses of the allowed names, each asked for once."""
    _here.asking = True
    try:
        for name in names - _known.keys():
            with contextlib.suppress(OSError, UnicodeError):
                _known[name] = {str(_address(entry[4][0])) for entry in socket.getaddrinfo(name, None)}
    finally:
        _here.asking = False
    return set().union(*(_known.get(name, set()) for name in names))


def _caller() -> str:
    """`file:line` of the nearest frame of this project, and through which package it went; without one the nearest that is not Python's."""
    frame, nearest = sys._getframe(2), None
    while frame is not None:
        path = frame.f_code.co_filename
        if path != __file__ and not _is_python_s(path):
            if Path(path).is_relative_to(ROOT) and not any(part in path for part in INSTALLED):
                through = f" (through {_package(nearest)})" if nearest else ""
                return f"{Path(path).relative_to(ROOT)}:{frame.f_lineno}{through}"
            nearest = nearest or f"{path}:{frame.f_lineno}"
        frame = frame.f_back
    return nearest or "Python itself"


def _is_python_s(path: str) -> bool:
    return path.startswith("<frozen") or (path.startswith(STANDARD_LIBRARY) and not any(part in path for part in INSTALLED))


def _package(place: str) -> str:
    match = re.search(r"(?:site|dist)-packages/([^/:]+)", place)
    return match.group(1).removesuffix(".py") if match else place
