import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from themo.errors import InputError
from themo.models.phrases import UNKNOWN, build_tokenizer
from themo.models.static_table import StaticTable, load_table, save_table

TOKENS = [UNKNOWN, "▁", "a", "b", "▁a▁", "▁b▁", "▁a▁▁b▁"]
VECTORS = torch.tensor([[0.0, 0], [0, 0], [0, 0], [0, 0], [3, 0], [0, 4], [-1, 0]])


def test_a_text_is_the_mean_of_its_tokens_at_length_one() -> None:
    table = StaticTable(build_tokenizer(TOKENS), VECTORS)
    got = table.encode(["a", "b a", "a b", "", "zzz"])
    torch.testing.assert_close(got, torch.tensor([[1, 0], [0.6, 0.8], [-1, 0], [0, 0], [0, 0]]))
    assert table.encode([]).shape == (0, 2)
    assert table.count_tokens(["b a", "a b", ""]) == [2, 1, 0]
    assert table.knows(["b a", "a ab", "", "A, b"]) == [True, False, True, True]


def test_a_saved_table_keeps_its_cosines(tmp_path: Path) -> None:
    save_table(tmp_path, build_tokenizer(TOKENS), VECTORS)
    whole = StaticTable(build_tokenizer(TOKENS), VECTORS).encode(["b a", "a b"])
    cosines = torch.cosine_similarity(load_table(tmp_path).encode(["b a", "a b"]), whole)
    assert cosines.min() > 0.999


def test_files_give_the_vectors_by_the_rule_of_model2vec(tmp_path: Path) -> None:
    """Ids without special tokens, the unknown one left out, their mean, scaled to length 1."""
    from safetensors.numpy import load_file

    save_table(tmp_path, build_tokenizer(TOKENS), VECTORS)
    embeddings = load_file(tmp_path / "model.safetensors")["embeddings"]
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["normalize"] is True
    assert (str(embeddings.dtype), len(embeddings)) == (config["embedding_dtype"], len(TOKENS))
    texts = ["b a", "a b b", "B, a"]
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    means = torch.stack([torch.from_numpy(embeddings[[i for i in row if i]]).float().mean(0) for row in ids])
    torch.testing.assert_close(
        load_table(tmp_path).encode(texts), torch.nn.functional.normalize(means, dim=1)
    )


def test_other_folders_and_damaged_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "model2vec"}', encoding="utf-8")
    with pytest.raises(InputError, match="must be a static table that `export --format static` wrote"):
        load_table(tmp_path)
    save_table(tmp_path, build_tokenizer(TOKENS), VECTORS[:4])
    with pytest.raises(InputError, match=r"is not a complete static table: \(4, 2\) vectors for 7 tokens"):
        load_table(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="is not a complete static table"):
        load_table(tmp_path)
