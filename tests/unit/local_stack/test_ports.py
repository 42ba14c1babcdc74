import socket
from pathlib import Path

import pytest

from local_stack import ports
from local_stack.errors import StackError
from local_stack.ports import LOOPBACK, free_port

GIVEN_TO_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_no_port_is_given_twice() -> None:
    given = [free_port() for _ in range(500)]
    assert len(set(given)) == len(given)


@pytest.mark.skipif(not GIVEN_TO_CONNECTIONS.exists(), reason="only Linux says which ports it gives to connections")
def test_a_port_is_none_that_the_system_gives_to_a_connection_meanwhile() -> None:
    lowest, _ = map(int, GIVEN_TO_CONNECTIONS.read_text().split())
    assert free_port() < lowest


def test_a_taken_port_is_passed_over_until_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = free_port(), free_port()
    monkeypatch.setattr(ports, "_CHOICE", range(min(taken, free), max(taken, free) + 1, abs(taken - free)))
    monkeypatch.setattr(ports, "_given", set())
    with socket.socket() as listener:
        listener.bind((LOOPBACK, taken))
        assert free_port() == free
        with pytest.raises(StackError, match="is free"):
            free_port()
