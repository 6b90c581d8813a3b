import socket

import pytest

from themo.errors import InputError
from tune.cluster import refuse_unreachable


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens(scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InputError) as caught:
            refuse_unreachable(address)
    assert str(caught.value) == f"--address: no Ray cluster answers at {address}: Connection refused"


def test_a_listener_and_no_address_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        refuse_unreachable(f"127.0.0.1:{server.getsockname()[1]}")
    for address in (None, "auto", "local"):
        refuse_unreachable(address)
