#!/bin/bash
# transformers 5.23.0: BertTokenizer reads tokenizer.json without its normalizer, and saves over it.
#
# Expected: a tokenizer that is saved and loaded gives the same ids; tokenizer.json holds the whole pipeline, and
#   other classes (PreTrainedTokenizerFast) load it as it stands.
# Behaviour: BertTokenizer takes the vocabulary alone from tokenizer.json and makes a BertNormalizer of its own, from
#   `do_lower_case` and `strip_accents` of tokenizer_config.json or, where these are not there, from its defaults: it
#   lower-cases, and strips accents where it lower-cases. A normalizer set by hand (here NFC before BERT's own) is
#   lost without a word, and so are the settings in a tokenizer.json that comes without tokenizer_config.json.
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

# a normalizer of one's own
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
