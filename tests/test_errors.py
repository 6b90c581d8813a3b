import json

import pytest

from themo.errors import fault_of


@pytest.mark.parametrize(
    ("content", "fault"),
    [("{}", "the key 'a' is missing"), ("[1]", "a value has another type"), ("{", "Expecting property name")],
)
def test_faults_of_contents_name_no_python(content: str, fault: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)) as caught:
        json.loads(content)["a"]
    assert fault_of(caught.value).startswith(fault)
