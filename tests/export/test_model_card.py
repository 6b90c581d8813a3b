import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from tiny import SettingsFactory

from themo.config.settings import Settings, load
from themo.data.preparation import prepare_data
from themo.evaluation.both_directions import SetRow, SetScores
from themo.evaluation.scores import Scores
from themo.export.model_card import Card
from themo.export.source import Source
from themo.training.loop import train

Make = Callable[..., Source]


@pytest.fixture
def source(settings: SettingsFactory, tmp_path: Path) -> Make:
    """A short run's version, opened, with the settings of another run put in its place if any are given."""

    def make(scores: dict[str, Any] | None = None, said: Settings | None = None, **leaves: Any) -> Source:
        config = settings(epochs=0.2, **leaves)
        folder = tmp_path / "version_0"
        train(config, prepare_data(config), report=lambda last: last.save(folder))
        if scores is not None:
            (folder / "test.json").write_text(json.dumps(scores), encoding="utf-8")
        opened = Source.open(folder)
        if said is None:
            return opened
        summary = opened.summary | {"backbone_repository": said.student.backbone}
        return Source(folder, said, summary, opened.scores, opened.trained, opened.tokenizer)

    return make


def card(source: Source, **changes: Any) -> str:
    values: dict[str, Any] = {
        "library": "transformers",
        "task": "feature-extraction",
        "usage": "```python\n<place>\n<sentences>\n```\n",
        "notes": ["held otherwise"],
        "normalized": False,
    }
    return Card(source, **(values | changes)).render()


def scores() -> dict[str, Any]:
    import torch

    ranks = {"student": torch.tensor([0, 0, 3, 7]), "ceiling": torch.tensor([0, 0, 0, 2])}
    return Scores({"retrieval": ranks}).to_dict()


def test_metadata_as_the_hub_reads_it(source: Make) -> None:
    original = load(preset="vit-l-14-beto").override({"target": "embedding"})
    text = card(source(scores(), said=original))
    data = ModelCard(text).data
    assert data.language == ["es"]
    assert data.license == "other"
    assert data.library_name == "transformers"
    assert data.base_model == [
        "dccuchile/bert-base-spanish-wwm-uncased",
        "timm/vit_large_patch14_clip_224.openai",
    ]
    assert data.datasets == [
        "Helsinki-NLP/opus-100",
        "sentence-transformers/parallel-sentences-talks",
        "sentence-transformers/parallel-sentences-tatoeba",
    ]
    assert data.model_name == "themo-vit-l-14-beto"
    found = {result.metric_type: result for result in data.eval_results}
    assert found["recall_at_1"].metric_value == 0.5
    assert found["recall_at_5"].metric_value == 0.75
    assert found["recall_at_10"].metric_value == 1.0
    assert found["recall_at_1"].metric_name == "R@1, 95 % interval 0.150 to 0.850"
    assert found["recall_at_1"].dataset_name == "XTD10, es"
    assert "corpus talks: TED talks, Reimers and Gurevych (2020); CC BY-NC-ND\n" in text


def test_rows_of_baselines_have_names(source: Make) -> None:
    tested = scores()
    tested["teacher_es"], tested["ci95"]["teacher_es"] = tested["ceiling"], tested["ci95"]["ceiling"]
    assert "| floor: the teacher, fed Spanish | 0.750 (0.301 to 0.954) | 1.000" in card(source(tested))


def test_every_figure_is_the_records(source: Make) -> None:
    opened = source(scores())
    text = card(opened)
    assert (
        "| this model, Spanish | 0.500 (0.150 to 0.850) | 0.750 (0.301 to 0.954) | 1.000 (0.510 to 1.000) |"
        in text
    )
    assert "| its teacher, English (ceiling) | 0.750 (0.301 to 0.954) | 1.000" in text
    assert "4 captions" in text
    assert "over that of its teacher: 0.667" in text
    summary = json.loads((opened.version / "summary.json").read_text(encoding="utf-8"))
    for name, value in summary["best"].items():
        assert f"{name} {value:.4f}" in text
    assert f"{summary['last']['pairs_seen']:,} pairs seen, finished" in text
    assert f"| parameters | {summary['parameters']:,} |" in text
    assert f"torch {summary['environment']['torch']}" in text


def test_unrecorded_facts_are_left_out(source: Make, tmp_path: Path) -> None:
    opened = source()
    text = card(opened)
    assert "Not tested on images." in text
    data = ModelCard(text).data
    assert data.eval_results is None
    assert data.base_model is None
    assert data.datasets is None
    assert str(tmp_path) not in text  # nobody's folders
    assert "- corpus pairs.tsv: the terms are not recorded\n" in text


def test_the_card_states_the_length_of_vectors(source: Make) -> None:
    opened = source()
    assert "Vectors do not have length 1: compare them by cosine. Sentences are cut to" in card(opened)
    assert "Vectors have length 1: compare them by dot product." in card(opened, normalized=True)


def test_the_miniatures_student_of_own_vectors_is_themos(source: Make) -> None:
    opened = source()
    settings = load().override({"targets": "own.npy", "corpus": ["miniature:corpus/train.tsv", "own.tsv"]})
    text = card(replace(opened, settings=settings, summary={"state": "finished"}))
    assert text.partition("## Licence\n\n")[2] == (
        "The permitted uses of the weights depend on their sources:\n\n"
        "- vectors own.npy: the terms are not recorded\n"
        "- backbone Themo's miniature (student): MIT, it is Themo's own\n"
        "- corpus Themo's miniature (corpus/train.tsv): MIT, it is Themo's own\n"
        "- corpus own.tsv: the terms are not recorded\n"
    )


def test_a_local_backbone_is_not_called_the_hubs(
    settings: SettingsFactory, tiny_backbone: Path, source: Make, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "beto").symlink_to(tiny_backbone)
    monkeypatch.chdir(tmp_path)
    opened = source(backbone="models/beto")
    opened = replace(opened, settings=opened.settings.override({"backbone_weights": True}))
    monkeypatch.chdir("/")
    before = {key: value for key, value in opened.summary.items() if key != "backbone_repository"}
    for record in (opened, replace(opened, summary=before)):  # an earlier version did not note it
        assert ModelCard(card(record)).data.base_model is None
    text = card(opened)
    assert "| backbone | beto |" in text
    assert "models/beto" not in text
    fetched = replace(opened, summary=opened.summary | {"backbone_repository": "owner/beto"})
    assert ModelCard(card(fetched)).data.base_model == ["owner/beto"]
    assert "| backbone | owner/beto |" in card(fetched)


def test_a_run_with_changed_settings_is_described_as_such(source: Make) -> None:
    opened = source()
    assert "| settings |" not in card(opened)
    lineage = [{"donor": 3, "pairs": 2000}, {"donor": 1, "pairs": 4000}]
    changed = replace(opened, summary=opened.summary | {"lineage": lineage})
    assert (
        "| settings | the last settings of a run that changed them: it continued as trial 3 from 2,000 "
        "pairs, as trial 1 from 4,000 pairs |\n"
    ) in card(changed)


def test_the_card_names_the_miniature(source: Make) -> None:
    text = card(source(said=load().override({"target": "embedding"})))
    assert ModelCard(text).data.license == "mit"
    assert "not for photographs" in text


def test_where_a_card_finds_its_folder(source: Make) -> None:
    opened = source()
    assert 'place = "."  # the folder of this file\nsentences = ["un perro' in card(opened)
    pushed = card(opened, repository="owner/clip-es")
    assert 'place = snapshot_download("owner/clip-es")' in pushed
    assert "# clip-es\n" in pushed
    assert "- held otherwise\n" in pushed


def test_sets_of_captions_are_in_table_and_metadata(source: Make) -> None:
    import torch

    ranks = {"text_to_image": torch.tensor([0, 0, 3, 7]), "image_to_text": torch.tensor([0, 12])}
    row = SetRow("es", ranks, torch.tensor([True, False, True, False]))
    tested = Scores(
        {"retrieval": {"student": ranks["text_to_image"]}},
        sets={"xm3600": SetScores("Crossmodal-3600", 2, {"student": row})},
    )
    text = card(source(tested.to_dict()))
    table = text.partition("## Evaluation")[2]
    assert "| **Text to image retrieval, Crossmodal-3600**, 4 captions | | | |\n" in table
    assert "| this model, Spanish, mean recall 0.750 | 0.500 (0.150 to 0.850) |" in table
    assert "| **Image to text retrieval, Crossmodal-3600**, 2 images | | | |\n" in table
    found = {
        (result.task_type, result.metric_type): result.metric_value
        for result in ModelCard(text).data.eval_results
        if result.dataset_name == "Crossmodal-3600, es"
    }
    assert found["text-to-image-retrieval", "mean_recall"] == 0.75
    assert found["image-to-text-retrieval", "recall_at_10"] == 0.5
