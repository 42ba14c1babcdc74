import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local_stack import ports
from local_stack.errors import StackError
from local_stack.ports import LOOPBACK, free_port, reserve

OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_no_port_is_returned_twice() -> None:
    given = [free_port() for _ in range(500)]
    assert len(set(given)) == len(given)


@pytest.mark.skipif(not OUTGOING_PORTS.exists(), reason="only Linux has a file with the ports of outgoing connections")
def test_a_port_is_below_those_of_outgoing_connections() -> None:
    lowest, _ = map(int, OUTGOING_PORTS.read_text().split())
    assert free_port() < lowest


def test_taken_ports_are_ignored_until_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = free_port(), free_port()
    monkeypatch.setattr(ports, "_CHOICE", range(min(taken, free), max(taken, free) + 1, abs(taken - free)))
    for port in (taken, free):
        os.close(ports._given.pop(port))
    with socket.socket() as listener:
        listener.bind((LOOPBACK, taken))
        assert free_port() == free
        with pytest.raises(StackError, match="is free"):
            free_port()


def test_several_ports_are_reserved_together_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = free_port(), free_port(), free_port()
    for port in (first, second, third):
        os.close(ports._given.pop(port))
    assert reserve({first, second})
    assert not reserve({third, second})
    monkeypatch.setattr(ports, "_CHOICE", (first, second, third))
    assert free_port() == third


def test_no_two_processes_get_the_same_port() -> None:
    """Each starts its servers some seconds later, so the port is still free when the other one looks."""
    program = "from local_stack import ports; ports._CHOICE = range(30_500, 30_503); print(ports.free_port()); input()"
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        given = [process.stdout.readline().strip() for process in processes if process.stdout is not None]
    finally:
        for process in processes:
            process.communicate("\n", timeout=30)
    assert sorted(given) == ["30500", "30501", "30502"]
