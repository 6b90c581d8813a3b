from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tiny import SettingsFactory

from themo.config.corpus_names import experiment_of
from themo.config.presets import presets
from themo.config.sections import MAX_TOKENS, PathSettings
from themo.config.settings import Settings, described, known_leaves, load
from themo.config.yaml_files import read_value, read_yaml
from themo.errors import InputError

MINIMAL = {
    "data": {"corpus": ["pairs.tsv"]},
    "teacher": {"architecture": "ViT-B-32"},
    "student": {"backbone": "bert"},
}


def yaml_file(tmp_path: Path, content: str | dict[str, Any]) -> Path:
    path = tmp_path / "own.yaml"
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(tmp_path: Path, content: str | dict[str, Any], **overrides: Any) -> str:
    """The message with which a file is refused: one line that names file or option, or a line per problem."""
    path = yaml_file(tmp_path, content)
    with pytest.raises(InputError) as caught:
        load(config=path, overrides=overrides)
    message = str(caught.value)
    lines = message.splitlines()
    assert len(lines) == 1 or all(line.startswith(str(path)) for line in lines)
    return message.replace(str(path), "own.yaml")


def test_problems_of_a_file_come_one_a_line(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "preset: miniature\ntraining:\n  batchsize: 2\n  seed: x\nstudnet: {}\n")
    with pytest.raises(InputError) as caught:
        load(config=path)
    assert str(caught.value).replace(str(path), "own.yaml").splitlines() == [
        "own.yaml:4: training.seed: must be a valid integer, got 'x'",
        "own.yaml:3: unknown key 'training.batchsize' (did you mean 'batch_size'?)",
        "own.yaml:5: unknown key 'studnet' (did you mean 'student'?)",
    ]


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid_and_round_trips(name: str, tmp_path: Path) -> None:
    settings = load(preset=name)
    assert load(config=yaml_file(tmp_path, settings.to_yaml())) == settings


def test_the_miniature_is_the_default() -> None:
    assert load() == load(preset="miniature")


def test_leaf_names_are_unique_and_described() -> None:
    sections = [section for _, section in Settings.model_fields.items() if section.annotation is not None]
    names = [
        leaf
        for section in sections
        for leaf in section.annotation.model_fields  # type: ignore[union-attr]
        if section.annotation.__name__ != "MiniatureRecipe"  # type: ignore[union-attr]
    ]
    assert len(names) == len(set(names))
    assert set(names) == set(known_leaves())
    assert all(described()[leaf] for leaf in known_leaves())


words = st.text("abcñ é.-_/:#'\"{}[]0123456789eE+~!*&%@`\\|>,?", min_size=1, max_size=12).filter(
    lambda word: not word.startswith("~") and "*~" not in word  # homes, which are not known
)
overrides = st.fixed_dictionaries(
    {},
    optional={
        "learn_rate": st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        "weight_decay": st.floats(min_value=0, allow_infinity=False),
        "epochs": st.floats(min_value=1e-9, max_value=1e9),
        "batch_size": st.integers(1, 10**9),
        "patience": st.none() | st.integers(1, 100),
        "clip_norm": st.none() | st.floats(min_value=1e-9, max_value=1e9),
        "objective": st.sampled_from(["auto", "val/match@01", "val/cosine", "val/loss"]),
        "last_layer_norm": st.booleans(),
        "nested_widths": st.none()
        | st.sets(st.integers(1, 999), min_size=1).map(lambda widths: tuple(sorted(widths))),
        "corpus": st.lists(words, min_size=1, max_size=3),
        "columns": st.lists(words, min_size=2, max_size=2, unique=True).map(tuple),
        "validation": st.none() | words,
        "backbone": words,
        "language": words | st.just("~"),
        "logs_dir": words,
        "experiment": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True),
        "pretrained": st.sampled_from([None, "null", "true", "1", "8e-5", "2026-11-22", "0x1F", "1:30"]),
    },
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(overrides)
@example({"learn_rate": 8e-5, "experiment": "8e-5", "columns": ("1e5", "2e5")})
def test_settings_survive_yaml(tmp_path: Path, leaves: dict[str, Any]) -> None:
    settings = Settings.model_validate(MINIMAL).override(leaves)
    assert load(config=yaml_file(tmp_path, settings.to_yaml())) == settings
    assert settings.leaves() | leaves | {
        "corpus": settings.data.corpus,
        "columns": settings.data.columns,
    } == (settings.leaves())


@pytest.mark.parametrize("text", ["8e-5", "8.0e-5", "0.00008", "8E-5", "+8e-5"])
def test_numbers_as_people_write_them(text: str, tmp_path: Path) -> None:
    assert read_value(text) == 8e-5
    path = yaml_file(tmp_path, yaml.safe_dump(MINIMAL) + f"training: {{learn_rate: {text}}}")
    assert load(config=path).training.learn_rate == 8e-5


@pytest.mark.parametrize("text", ["e5", "1e", "v1e5", "1e5x"])
def test_words_that_are_no_numbers(text: str) -> None:
    assert read_value(text) == text


@pytest.mark.parametrize(("text", "value"), [("null", None), ("true", True), ("3", 3), ("[", "[")])
def test_option_values_are_read_as_yaml(text: str, value: object) -> None:
    assert read_value(text) == value


def test_a_file_may_start_from_a_preset(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, {"preset": "miniature", "training": {"seed": 7}, "miniature": {"seed": 3}})
    settings, preset = load(config=path), load()
    assert (settings.training.seed, settings.miniature.seed) == (7, 3)
    assert settings.training.learn_rate == preset.training.learn_rate
    assert settings.data == preset.data


def test_options_win_over_the_file(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, MINIMAL | {"training": {"batch_size": 2, "seed": 5}})
    training = load(config=path, overrides={"batch_size": 4}).training
    assert (training.batch_size, training.seed) == (4, 5)


def test_a_new_corpus_drops_the_presets_validation_corpus(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text("preset: miniature\ndata:\n  corpus: [pairs.tsv]\n  targets: own.npy\n")
    data = load(path).data
    assert (data.corpus, data.targets) == (("pairs.tsv",), "own.npy")
    assert (data.validation, data.validation_captions, data.validation_images) == (None, None, None)
    path.write_text("preset: miniature\ndata:\n  corpus: pairs.tsv\n")
    assert load(path).data.corpus == ("pairs.tsv",)
    path.write_text("preset: miniature\ndata:\n  corpus: 5\n")
    with pytest.raises(InputError, match=r"ours\.yaml: data\.corpus: must be a list, got 5"):
        load(path)


def test_a_new_corpus_leaves_the_old_ones_validation_behind() -> None:
    assert load().data.validation is not None
    data = load(overrides={"corpus": ["own.parquet"]}).data
    assert (data.corpus, data.validation, data.targets) == (("own.parquet",), None, None)
    assert (data.validation_captions, data.validation_images) == (None, None)
    kept = load(overrides={"corpus": ["own.parquet"], "validation": "held.tsv"}).data
    assert kept.validation == "held.tsv"


@pytest.mark.parametrize(
    ("corpus", "experiment"),
    [
        (["data/my pairs.v2.tsv.gz"], "my-pairs"),
        (["0.5*opus-100", "talks"], "opus-100-talks"),
        (["miniature:corpus/train.tsv"], "miniature"),
        (["miniature:corpus/train.tsv", "own.tsv"], "own"),
        (["miniature.tsv"], "own-miniature"),
        (["¿.tsv"], "own-corpus"),
        (["corpus ñandú 日本.tsv"], "corpus-nandu"),
        (["日本.tsv"], "own-corpus"),
        ("pairs.tsv", "pairs"),
        ("miniature:corpus/train.tsv", "miniature"),
    ],
)
def test_an_own_corpus_has_an_experiment_of_its_own(
    tmp_path: Path, corpus: list[str] | str, experiment: str
) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(yaml.safe_dump({"preset": "miniature", "data": {"corpus": corpus}}), encoding="utf-8")
    for settings in (load(preset="miniature", overrides={"corpus": corpus}), load(path)):
        assert settings.paths.experiment == experiment
    named = load(overrides={"corpus": corpus, "experiment": "mine"})
    assert named.paths.experiment == "mine"
    of_a_preset = load(preset="vit-l-14-beto", overrides={"corpus": corpus})
    assert of_a_preset.paths.experiment == "vit-l-14-beto"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_any_corpus_gives_an_experiment_a_name(names: list[str]) -> None:
    name = experiment_of(names)
    assert name != "miniature"
    assert PathSettings(experiment=name).experiment == name


def test_the_objective_sees_images_where_there_are_any() -> None:
    assert load().objective == "val/retrieval@01"
    assert load(overrides={"corpus": ["own.parquet"]}).objective == "val/match@01"
    assert load(overrides={"objective": "val/loss"}).objective == "val/loss"


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (
            "training",
            {"lern_rate": 1},
            "own.yaml: unknown key 'training.lern_rate' (did you mean 'learn_rate'?)",
        ),
        ("trainig", {"seed": 1}, "own.yaml: unknown key 'trainig' (did you mean 'training'?)"),
        ("learn_rate", 3, "own.yaml: unknown key 'learn_rate': it belongs under 'training:'"),
        ("miniature", {"teacher_stepz": 1}, "own.yaml: unknown key 'miniature.teacher_stepz'"),
        (
            "training",
            {"learn_rate": "fast"},
            "own.yaml: training.learn_rate: must be a valid number, got 'fast'",
        ),
        ("training", {"learn_rate": 0}, "own.yaml: training.learn_rate: must be greater than 0, got 0"),
        (
            "student",
            {"backbone": "b", "max_length": MAX_TOKENS + 1},
            "own.yaml: student.max_length: must be less than or equal to 512, got 513",
        ),
        (
            "training",
            {"learn_rate": float("inf")},
            "own.yaml: training.learn_rate: must be a finite number, got",
        ),
        ("training", {"batch_size": 2.5}, "own.yaml: training.batch_size: must be a valid integer, got 2.5"),
        (
            "training",
            {"batch_size": 64.0},
            "own.yaml: training.batch_size: must be a valid integer, got 64.0",
        ),
        (
            "training",
            {"batch_size": True},
            "own.yaml: training.batch_size: must be a valid integer, got True",
        ),
        ("training", {"batch_size": "8"}, "own.yaml: training.batch_size: must be a valid integer, got '8'"),
        (
            "training",
            {"optimizer": "sgd"},
            "own.yaml: training.optimizer: must be 'adam' or 'adamw', got 'sgd'",
        ),
        (
            "training",
            {"objective": "val/los"},
            "own.yaml: training.objective: must be 'auto', 'val/retrieval@01', 'val/match@01'",
        ),
        ("training", None, "own.yaml: training: must be a mapping, got None"),
        ("student", {"pooling": "mean"}, "own.yaml: student.backbone is missing"),
        (
            "student",
            {"backbone": "b", "dropout": 1.0},
            "own.yaml: student.dropout: must be less than 1, got 1.0",
        ),
        ("loss", {"loss": "huber"}, "own.yaml: loss.loss: must be a mix of mse, cosine, infonce"),
        ("loss", {"loss": "mse+mse"}, "twice, got 'mse+mse'"),
        (
            "loss",
            {"nested_widths": [0, 8]},
            "own.yaml: loss.nested_widths: must be widths of at least 1, 0 is",
        ),
        (
            "loss",
            {"nested_widths": [8, 8]},
            "own.yaml: loss.nested_widths: must name each width once, 8 occurs",
        ),
        (
            "loss",
            {"nested_widths": [8, 4]},
            "own.yaml: loss.nested_widths: must be ascending, 4 comes after 8",
        ),
        (
            "loss",
            {"nested_widths": []},
            "own.yaml: loss.nested_widths: must name a width, or be null, got []",
        ),
        (
            "loss",
            {"nested_widths": ["a"]},
            "own.yaml: loss.nested_widths.0: must be a valid integer, got 'a'",
        ),
        ("loss", {"nested_weights": [1.0]}, "own.yaml: loss: `nested_weights` must be one for each of the 0"),
        (
            "loss",
            {"nested_widths": [8], "nested_weights": [0.0]},
            "own.yaml: loss.nested_weights: must be above 0, got [0.0]",
        ),
        ("data", {"corpus": []}, "own.yaml: data.corpus: must"),
        (
            "data",
            {"corpus": ["a.tsv"], "validation": "2*b.tsv"},
            "own.yaml: data.validation: must have no weight, got '2*b.tsv'",
        ),
        ("data", {"corpus": ["0*talks"]}, "own.yaml: data.corpus: a weight must be greater than 0, got"),
        ("data", {"corpus": ["0.0*own.tsv"]}, "own.yaml: data.corpus: a weight must be greater than 0, got"),
        ("data", {"corpus": ["a"], "columns": ["en"]}, "own.yaml: data.columns"),
        ("data", {"corpus": ["a"], "columns": ["en", "es", "fr"]}, "own.yaml: data.columns: must"),
        ("paths", {"experiment": "a/b"}, "own.yaml: paths.experiment: must"),
        (
            "data",
            {"corpus": ["a"], "targets": "t.npy", "validation": "v.tsv"},
            "own.yaml: `data.targets` has no rows for the file `data.validation`: "
            "set `data.validation` to null",
        ),
        (
            "data",
            {"corpus": ["a"], "validation_images": "i"},
            "own.yaml: data: `validation_captions` and `validation_images` must be given together",
        ),
        (
            "data",
            {"corpus": ["a"], "targets": "t.npy", "validation_captions": "c", "validation_images": "i"},
            "own.yaml: `data.targets` have no image tower for `data.validation_images`",
        ),
        (
            "training",
            {"objective": "val/retrieval@01"},
            "own.yaml: `training.objective: val/retrieval@01` needs `data.validation_captions` and",
        ),
        (
            "training",
            {"batch_size": 2, "accumulate": 4},
            "own.yaml: `training.accumulate <= training.batch_size` must hold, got accumulate=4, batch_size",
        ),
        (
            "student",
            {"backbone": "b", "hidden_size": 64},
            "own.yaml: `student.hidden_size` and `student.hidden_layers` need `student.backbone_weights",
        ),
        (
            "benchmarks",
            {"captions": "c"},
            "own.yaml: benchmarks: `captions` and `images` must be given together",
        ),
    ],
)
def test_refusals(tmp_path: Path, section: str, values: object, message: str) -> None:
    found = refusal(tmp_path, MINIMAL | {section: values})
    assert message in found
    assert "must be String" not in found
    assert "must be Tuple" not in found


def test_all_problems_in_one_line(tmp_path: Path) -> None:
    message = refusal(
        tmp_path, {"data": {"corpus": ["a"]}, "training": {"seed": -1, "speed": 3}}, batch_size=0, loss="x"
    )
    for part in (
        "own.yaml: teacher is missing",
        "own.yaml: student is missing",
        "own.yaml: training.seed: must be greater than or equal to 0, got -1",
        "own.yaml: unknown key 'training.speed'",
        "--batch-size: must be greater than or equal to 1, got 0",
        "--loss: must be a mix",
    ):
        assert part in message


def test_an_option_is_named_as_such(tmp_path: Path) -> None:
    assert refusal(tmp_path, MINIMAL, columns=["en"]).startswith("--columns")
    assert refusal(tmp_path, MINIMAL, learn_rate="fast") == "--learn-rate: must be a valid number, got 'fast'"
    assert "options: unknown setting 'learnrate' (did you mean 'learn_rate'?)" in refusal(
        tmp_path, MINIMAL, learnrate=1
    )


def test_a_contradiction_names_the_options_that_took_part() -> None:
    with pytest.raises(InputError, match=r"yaml with --objective, --corpus: `training\.objective: val/re"):
        load(overrides={"objective": "val/retrieval@01", "corpus": ["own.tsv"]})


def test_override_names_its_source(settings: SettingsFactory) -> None:
    with pytest.raises(InputError, match=r"^space\.yaml: batch_size: must be greater .* got 0$"):
        settings().override({"batch_size": 0}, source="space.yaml")
    with pytest.raises(InputError, match=r"^space\.yaml: unknown setting 'batchsize' \(did you mean"):
        settings().override({"batchsize": 3}, source="space.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "training: {seed: 1}\ntraining: {seed: 2}",
            "own.yaml:2: is not valid YAML: key 'training' occurs twice",
        ),
        ("training:\n  seed: 1\n  seed: 1", "own.yaml:3: is not valid YAML: key 'seed' occurs twice"),
        ("training: [1", "own.yaml:1: is not valid YAML"),
        ("training:\n\tseed: 1", "own.yaml:2: is not valid YAML"),
        ("a: \0", "own.yaml: is not valid YAML"),
        ("? [a, b]\n: 1", "own.yaml:1: is not valid YAML"),
        ("training: {seed: 2026-13-45}", "own.yaml: is not valid YAML: month must be in 1..12"),
        ("a: !!python/object:os.system {}", "own.yaml:1: is not valid YAML"),
        ("- a", "own.yaml: must be a mapping of sections, got list"),
        ("", "own.yaml: must be a mapping of sections, but is empty"),
        ("preset: nosuch", "preset must be one of dfn5b-h-14-beto, miniature, "),
        ("preset: [miniature]", "vit-l-14-beto, got ['miniature']"),
        ("1: 2", "own.yaml: "),
    ],
)
def test_broken_files(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("ab:-{}[]?&*!|>'\"%@`#,.~<=\n 01e\t\0é", max_size=30))
def test_any_text_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = yaml_file(tmp_path, text)
    message = ""
    try:
        assert isinstance(read_yaml(path), dict)
    except InputError as error:
        message = str(error)
    assert message.startswith(str(path) if message else "")
    assert len(message.splitlines()) <= 1


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nosuch\.yaml: cannot be read: No such file or directory"):
        load(config=tmp_path / "nosuch.yaml")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load(config=tmp_path)
    (tmp_path / "latin.yaml").write_bytes("idioma: español".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.yaml: cannot be read: is not UTF-8"):
        read_yaml(tmp_path / "latin.yaml")


def test_preset_and_config() -> None:
    with pytest.raises(InputError, match=r"--preset must be one of .*miniature, .* got 'big'"):
        load(preset="big")
    with pytest.raises(InputError, match="--config and --preset cannot be combined"):
        load(config=Path("a.yaml"), preset="miniature")


def test_a_preset_starts_from_another(tmp_path: Path) -> None:
    whole, small = load(preset="vit-l-14-beto"), load(preset="vit-b-32-beto")
    assert (small.teacher.architecture, small.student) == ("ViT-B-32-quickgelu", whole.student)
    own = load(config=yaml_file(tmp_path, "preset: vit-b-32-beto\ntraining: {seed: 3}"))
    assert own.teacher == small.teacher
    assert own.data == whole.data
    assert own.training.seed == 3


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_whole(name: str) -> None:
    assert load(preset=name).paths.experiment == name
