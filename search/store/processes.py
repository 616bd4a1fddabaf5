"""Operating-system processes, named so that the name never fits another one."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def name_of_this_process() -> str:
    """Names this process for ever; "" where the operating system does not tell enough."""
    pid = os.getpid()
    return f"{_machine()}/{pid}/{_started(pid)}" if _machine() else ""


def process_is_gone(process: str) -> bool:
    """True if that process ran on this machine and has ended; False if alive or elsewhere."""
    machine, _, rest = process.rpartition("/")
    machine, _, pid = machine.rpartition("/")
    if not machine or machine != _machine():
        return False
    return _started(int(pid)) != rest


@cache
def _machine() -> str:
    """This boot of this kernel and its process namespace; "" where Linux does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; "" if it is not there, or a zombie.

    Not in seconds since 1970: those move when the machine's clock is set, and then a process that
    is alive would pass for another one that had its number before.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # from the third on; the second may hold anything
    return "" if fields[0] in "ZX" else fields[19]
