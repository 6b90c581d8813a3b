import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from themo.config.loss_mixture import TERMS, parse_mixture

weights = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
mixtures = st.dictionaries(st.sampled_from(TERMS), weights, min_size=1)


@given(mixtures)
@example({"mse": 1e20, "cosine": 5e-324})
@example({"cosine": 1.0, "mse": 1.7976931348623157e308})
def test_any_weights_are_read_as_written(mixture: dict[str, float]) -> None:
    read = parse_mixture("+".join(f"{weight!r}*{name}" for name, weight in mixture.items()))
    assert read == mixture
    assert list(read) == list(mixture)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mse", {"mse": 1.0}),
        (" cosine + 0.1 * infonce ", {"cosine": 1.0, "infonce": 0.1}),
        ("1e+2*mse+cosine", {"mse": 100.0, "cosine": 1.0}),
        ("2*mse+1.5e-3*cosine+infonce", {"mse": 2.0, "cosine": 1.5e-3, "infonce": 1.0}),
    ],
)
def test_forms(text: str, expected: dict[str, float]) -> None:
    assert parse_mixture(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mix of mse, cosine, infonce, such as"),
        ("huber", "must be a mix of mse"),
        ("mse+", "must be a mix of mse"),
        ("mse cosine", "must be a mix of mse"),
        ("mse*0.1", "must be a mix of mse"),
        ("mse+0.5*mse", "must name each loss once, 'mse' occurs twice"),
        ("x*mse", "must have a number before '\\*', not 'x'"),
        ("*mse", "must have a number before '\\*', not ''"),
        ("2*3*mse", "must have a number before '\\*', not '2\\*3'"),
        ("0*mse", "must have positive finite weights, not 0"),
        ("-1*mse", "must have positive finite weights, not -1"),
        ("nan*mse", "must have positive finite weights, not nan"),
        ("inf*mse", "must have positive finite weights, not inf"),
        ("1e999*mse", "must have positive finite weights, not 1e999"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_mixture(text)


@given(st.text("mse+*.0123456789ecoinf -", max_size=20))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    message, weights = "", {}
    try:
        weights = parse_mixture(text)
    except ValueError as error:
        message = str(error)
    assert len(message.splitlines()) == (0 if weights else 1)
    assert all(weight > 0 for weight in weights.values())
