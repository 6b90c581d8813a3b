#!/usr/bin/env bash
# model2vec 0.10.0: `StaticModel.encode` drops words of texts that have fewer tokens than `max_length`.
#
# Expected: `max_length` is the "maximum sequence length (in tokens)", 512 by default, so a text of 200 tokens is
#   encoded whole.
# Behaviour: before tokenization `encode` cuts each text to max_length times the median length of the vocabulary's
#   entries, in characters. Texts with longer tokens, or with much white space such as indented source code, lose their
#   end without a message. `max_length=None` avoids it.
# Output seen (two words, 100 times each; the vector counts them):
#   200 tokens, 3899 characters; median length of the vocabulary: 4 characters
#   max_length 512: shares of the two words 1.00, 0.00
#   max_length None: shares of the two words 0.50, 0.50
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet model2vec==0.10.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import sys
from statistics import median

import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

WORDS = ["internacionalización", "responsabilidades", "[UNK]", "el", "la", "una", "pero", "gato", "mesa"]
tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = Whitespace()
model = StaticModel(np.eye(len(WORDS), dtype=np.float32), tokenizer)  # a vector counts the words of its text

text = " ".join([WORDS[0]] * 100 + [WORDS[1]] * 100)
n_tokens = len(tokenizer.encode(text))
middle = median(map(len, WORDS))
print(f"{n_tokens} tokens, {len(text)} characters; median length of the vocabulary: {middle} characters")
shares = {}
for max_length in (512, None):
    vector = model.encode(text, max_length=max_length)
    shares[max_length] = vector[:2] / vector.sum()
    print(f"max_length {max_length}: shares of the two words {shares[max_length][0]:.2f}, {shares[max_length][1]:.2f}")
if not (n_tokens < 512 and shares[512][1] < 0.25 and np.allclose(shares[None], 0.5)):
    sys.exit("changed: a text of fewer tokens than max_length is encoded whole")
PY
