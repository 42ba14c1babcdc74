"""The rights of running containers, and the ports that they can open."""

from collections.abc import Mapping

from support.deploying.deployment import Deployment

_PROBE = """
import concurrent.futures, socket, sys

def is_open(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
    except OSError:
        return False
    return True

# At the same time, because an unknown name and a blocked address cost seconds each.
with concurrent.futures.ThreadPoolExecutor(50) as threads:
    found = list(threads.map(is_open, sys.argv[1:]))
print(*(address for address, is_one in zip(sys.argv[1:], found) if is_one))
"""


def assert_no_needless_rights(deployment: Deployment, service: str) -> None:
    lines = deployment.execute(service, "cat", "/proc/1/status").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert "0" not in status["Uid"]
    assert {*status["CapEff"], *status["CapPrm"], *status["CapBnd"]} == {"0" * 16}
    assert status["NoNewPrivs"] == ["1"]
    mounts = [line.split() for line in deployment.execute(service, "cat", "/proc/mounts").splitlines()]
    [root] = [options.split(",") for _, path, _, options, *_ in mounts if path == "/"]
    assert "ro" in root
    limits = deployment.container(service).description["HostConfig"]
    assert 0 < limits["Memory"] <= 2 * 1024**3
    assert 0 < limits["PidsLimit"] <= 1000
    assert limits["LogConfig"]["Config"] == {"max-file": "5", "max-size": "10m"}


def open_addresses(deployment: Deployment, service: str, ports: Mapping[str, tuple[int, ...]]) -> set[str]:
    """The ports of other containers that the service can open, as `container:port`, by name or by any address."""
    targets = {
        f"{host}:{port}": f"{name}:{port}"
        for name, numbers in ports.items()
        if name != service
        for host in (name, *deployment.addresses(name))
        for port in numbers
    }
    return {targets[line] for line in deployment.execute(service, "python", "-c", _PROBE, *targets).split()}
