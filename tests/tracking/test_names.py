import pytest

from themo.tracking.names import comparison_params, metric_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/match@01", "val/match_at_01"),
        ("best/val/loss", "best/val/loss"),
        ("train/0.1*infonce", "train/0.1_infonce"),
    ],
)
def test_metric_names_are_as_mlflow_takes_them(name, expected):
    assert metric_name(name) == expected


def test_learning_rates_are_compared_by_their_logarithm():
    assert comparison_params({"learn_rate": 1e-4, "loss": "mse"}) == {
        "learn_rate": 1e-4,
        "loss": "mse",
        "log10_learn_rate": -4,
    }
    assert comparison_params({"loss": "mse"}) == {"loss": "mse"}
