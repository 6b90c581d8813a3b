import pytest

from themo.tracking.names import comparison_params, metric_name, version_name


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


def test_paths_below_the_working_directory_become_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {
        "logs_dir": f"{tmp_path}/logs",
        "cache_dir": str(tmp_path),
        "corpus": [f"2*{tmp_path}/pairs.tsv", "opus100"],
        "teacher": f"local-dir:{tmp_path}/teacher",
        "backbone": f"/elsewhere{tmp_path}/bert",
        "images": f"{tmp_path}-other/images",
        "prompts": "",
        "layers": 2,
    }
    assert comparison_params(given) == given | {
        "logs_dir": "logs",
        "cache_dir": ".",
        "corpus": ["2*pairs.tsv", "opus100"],
        "teacher": "local-dir:teacher",
    }


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("my logs/miniature/version_0", "miniature/version_0"),
        ("my logs/tune/small/best", "tune/small/best"),
        ("other/version_3", "other/version_3"),
    ],
)
def test_a_version_is_named_by_its_place_below_the_logs(tmp_path, monkeypatch, version, name):
    assert version_name(tmp_path / version, tmp_path / "my logs") == name
    monkeypatch.chdir(tmp_path)
    assert version_name(tmp_path / version, tmp_path / "my logs") == name
