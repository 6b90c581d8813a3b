#!/usr/bin/env bash
# transformers 5.23.0: BertTokenizer reads tokenizer.json without its normalizer, and overwrites the file without it.
#
# Expected: a tokenizer gives the same ids after it is saved and loaded. tokenizer.json contains the whole pipeline, and
#   other classes (PreTrainedTokenizerFast) load it unchanged.
# Behaviour: BertTokenizer reads only the vocabulary from tokenizer.json. It makes a new BertNormalizer from
#   `do_lower_case` and `strip_accents` of tokenizer_config.json; if these are missing, it uses its defaults: it
#   lower-cases and strips accents. A normalizer set by hand (here NFC before BERT's own) is lost without a message.
#   The settings of a tokenizer.json without tokenizer_config.json are lost, too.
# Output seen:
#   saved: [2, 5, 3]; loaded: [2, 1, 3]; loaded as PreTrainedTokenizerFast: [2, 5, 3]
#   cased tokenizer.json without tokenizer_config.json: ['El', 'año'] is read as ['el', 'ano']
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import json
import sys
import unicodedata
from pathlib import Path

from tokenizers import normalizers
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "año", "El", "el", "ano"]
vocabulary = {piece: i for i, piece in enumerate(PIECES)}

# a normalizer set by hand
tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=False, strip_accents=False)
backend = tokenizer.backend_tokenizer
backend.normalizer = normalizers.Sequence([normalizers.NFC(), backend.normalizer])
tokenizer.save_pretrained("saved")
text = unicodedata.normalize("NFD", "año")
saved, loaded, plain = (
    each(text)["input_ids"]
    for each in (
        tokenizer,
        BertTokenizer.from_pretrained("saved"),
        PreTrainedTokenizerFast.from_pretrained("saved"),
    )
)
print(f"saved: {saved}; loaded: {loaded}; loaded as PreTrainedTokenizerFast: {plain}")

# BERT's own normalizer, without tokenizer_config.json
Path("cased").mkdir()
Path("cased/config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": len(PIECES)}))
whole = BertTokenizer(vocab=vocabulary, do_lower_case=False, strip_accents=False)
whole.backend_tokenizer.save("cased/tokenizer.json")
pieces = AutoTokenizer.from_pretrained("cased").tokenize("El año")
print(f"cased tokenizer.json without tokenizer_config.json: {whole.tokenize('El año')} is read as {pieces}")

sys.exit(not (saved == plain == [2, 5, 3] and loaded == [2, 1, 3] and pieces == ["el", "ano"]))
PY
