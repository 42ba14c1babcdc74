from local_stack.plan import SERVICES
from local_stack.ports import reserve
from support.demo import an_unused_port


def test_no_other_test_gets_a_port_that_a_demo_has_not_taken_yet() -> None:
    first = an_unused_port()
    ports = [first + role.port_offset for role in SERVICES]
    assert [port for port in ports if reserve({port})] == []
