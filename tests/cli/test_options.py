import argparse

import pytest

from themo.cli.commands import NAMES
from themo.cli.main import parse
from themo.cli.options import AUTO_GPUS, WIDEST_HELP, gpus, seconds
from themo.config.settings import known_leaves, load, option
from themo.errors import InputError


def test_every_setting_has_an_option_that_reads_its_own_value() -> None:
    """`train --<setting> <value>` gives the value back, whatever its type."""
    settings = load()
    for leaf, value in settings.leaves().items():
        if isinstance(value, bool):
            arguments = [option(leaf) if value else option(leaf).replace("--", "--no-")]
        elif leaf == "corpus":
            arguments = [option(leaf), *value]
        elif isinstance(value, tuple):
            arguments = [option(leaf), ",".join(value)]
        else:
            arguments = [option(leaf), "null" if value is None else str(value)]
        given = parse(["train", *arguments]).settings
        assert list(given) == [leaf]
        if leaf not in ("corpus", "images", "captions"):
            assert load(overrides=given).leaves()[leaf] == value


@pytest.mark.parametrize("text", ["8e-5", "8.0e-5", "0.00008"])
def test_learn_rate_as_people_write_it(text: str) -> None:
    options = parse(["train", "--batch-size", "256", "--learn-rate", text])
    assert options.settings == {"batch_size": 256, "learn_rate": 8e-5}


def test_an_option_left_out_is_not_set() -> None:
    assert parse(["train"]).settings == {}
    assert parse(["test", "--baseline"]).settings == {}


def test_text_stays_text() -> None:
    given = parse(["train", "--experiment", "8e-5", "--corpus", "1", "2", "--columns", "1, 2"]).settings
    assert given == {"experiment": "8e-5", "corpus": ["1", "2"], "columns": ["1", "2"]}
    assert parse(["train", "--validation", "null"]).settings == {"validation": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["trian"], "invalid choice: 'trian' (did you mean 'train'?) (choose from "),
        (["test", "--task", "retreival"], "'retreival' (did you mean 'retrieval'?) (choose from "),
        (["export", "--format", "open-clip"], "'open-clip' (did you mean 'open_clip'?) (choose from "),
        (
            ["train", "--learnrate", "1"],
            "unrecognized arguments: --learnrate 1 (did you mean '--learn-rate'?)",
        ),
        (
            ["train", "--learning-rate=1"],
            "--learning-rate=1 (did you mean '--learn-rate'?) (see python -m themo train",
        ),
        (["train", "--epoch", "2"], "unrecognized arguments: --epoch 2 (did you mean '--epochs'?)"),
        (
            ["train", "--quietly", "x"],
            "unrecognized arguments: --quietly x (see python -m themo train --help)",
        ),
        (["train", "--learn-rat", "1"], "unrecognized arguments"),  # no guessing
        (["train", "--seed"], "argument --seed: expected one argument"),
        (["train", "--preset", "miniature", "--config", "a.yaml"], "not allowed with argument"),
        (["test", "--task", "segmentation"], "argument --task: invalid choice: 'segmentation'"),
        (["test", "--batch-size", "3"], "unrecognized arguments"),
        (["tune", "--num-samples", "0"], "--num-samples: must be a whole number above 0, got '0'"),
        (["tune", "--num-samples", "many"], "--num-samples: must be a whole number above 0, got 'many'"),
    ],
)
def test_refusals(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(arguments)
    assert message in str(caught.value)
    assert "--help" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", ["prepare", "train", "test", "tune"])
def test_help_of_a_command_explains_its_settings(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([command, "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert f"python -m themo {command}" in shown
    for leaf, (section, _) in known_leaves().items():
        if command in ("train", "tune") or section == "paths":
            assert option(leaf) in shown


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        parse([command, "--help"])
    return capsys.readouterr().out


def test_help_shows_the_default_presets_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = " ".join(help_of("train", capsys).split())
    for expected in (
        "--learn-rate X Peak learning rate. (0.0025)",
        "--columns A,B English and Spanish column, by name, or by number from 1 in a TSV without a header. "
        "(en,es)",
        "--backbone-weights, --no-backbone-weights Start from the backbone's pretrained weights; false: "
        "random weights in its architecture. (no)",
        "null: no clipping. (1.0)",
        "; null: all pairs. (null)",
        "(miniature:corpus/train.tsv)",
    ):
        assert expected in shown
    assert "Defaults in brackets are those of the preset miniature." in shown


@pytest.mark.parametrize("command", NAMES)
def test_help_has_examples_and_lines_that_can_be_read(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    text, _, examples = help_of(command, capsys).partition("\nexamples:\n")
    assert f"themo {command} " in examples
    assert max(map(len, text.splitlines())) <= WIDEST_HELP
    monkeypatch.setenv("COLUMNS", "72")
    text = help_of(command, capsys).partition("\nexamples:\n")[0]
    assert max(map(len, text.splitlines())) <= 72
    # every option except -h belongs to a group with its own title
    assert len(text.partition("\noptions:\n")[2].partition("\n\n")[0].splitlines()) == 1


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, expected in ((["--help"], "examples:"), (["--version"], "themo 0.")):
        with pytest.raises(SystemExit):
            parse(arguments)
        assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "length"), [("90", 90), ("90s", 90), ("45m", 2700), ("2h30m", 9000), ("1d1s", 86_401)]
)
def test_lengths_of_time(text: str, length: float) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize(
    "text", ["", "0", "0h", "h", "-5m", "1.5h", "30m2h", "٣m", "soon", "9" * 400, "1d" + "9" * 5000 + "s"]
)
def test_invalid_lengths_of_time_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"must be a time such as 2h30m, 45m or 90s, got"):
        seconds(text)


def test_a_wrong_length_of_time_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"argument --time-budget: must be a time such as .*, got 'soon'"):
        parse(["tune", "--time-budget", "soon"])


@pytest.mark.parametrize(("text", "number"), [("0", 0.0), ("0.25", 0.25), ("2", 2.0), ("auto", AUTO_GPUS)])
def test_a_number_of_gpus(text: str, number: float) -> None:
    assert gpus(text) == number


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "all", "Auto"])
def test_no_number_of_gpus(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        gpus(text)
    assert str(caught.value) == f"must be a number of at least 0, or auto, got {text!r}"


@pytest.mark.parametrize("command", ["", *NAMES])
def test_help_fits_80_columns(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        parse([*([command] if command else []), "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == []
