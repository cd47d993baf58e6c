"""Runs a command where there is no network but loopback:  python tests/namespace.py COMMAND...

Needs `unshare` of util-linux and user namespaces, no root. The address of the host's own name is put on loopback too: torchrun
publishes that name, and without an address of its own it would wait for itself for ever.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--")
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8913, 0x8914, 0x8916, 1  # <linux/sockios.h>, <linux/if.h>


def unavailable() -> str:
    """Why there can be no namespace here, "" if there can."""
    if not shutil.which("unshare"):
        return "there is no unshare (package util-linux)"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    return tried.stderr.strip() if tried.returncode else ""


def command(words: list[str]) -> list[str]:
    """The command that runs `words` in such a namespace."""
    return [*UNSHARE, sys.executable, __file__, own_address(), *words]


def own_address() -> str:
    """The IPv4 address of this host's name; asked outside, where names are still resolved."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def bring_up(address: str) -> None:
    """Switches loopback on, with a further address if that is not a loopback address anyway."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(s, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))
        if not address.startswith("127."):
            fcntl.ioctl(s, SIOCSIFADDR, struct.pack("16sH2x4s8x", b"lo:1", socket.AF_INET, socket.inet_aton(address)))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        bring_up(sys.argv[1])
        os.execvp(sys.argv[2], sys.argv[2:])
