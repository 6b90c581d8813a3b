from __future__ import annotations

import pytest
from pydantic import ValidationError

from themo.config.benchmarks import BenchmarkSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"images": "i"}, "`captions` and `images` must be given together"),
        ({"imagenet": "i"}, "`imagenet` needs `prompts`"),
        ({"templates": "t"}, "`class_names` and `templates` must be given together"),
        (
            {"templates": "t", "class_names": "c", "prompts": "p"},
            "`prompts` and `class_names` must not be given together",
        ),
        ({"mclip": "b"}, "`mclip` and `mclip_architecture` must be given together"),
    ],
)
def test_test_data_that_is_named_by_half_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BenchmarkSettings.model_validate(values)


@pytest.mark.parametrize(
    ("values", "named"), [({}, False), ({"captions": "c", "images": "i"}, True), ({"language": "en"}, False)]
)
def test_whether_there_is_anything_to_test_on(values: dict[str, str], named: bool) -> None:
    assert BenchmarkSettings.model_validate(values).names_tests == named
