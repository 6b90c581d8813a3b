"""Distillation of a student into a static table (`themo.models.static_table`).

The initial vector of a token is the student's vector of its words alone, as in model2vec. All token vectors
are then fitted: their means to the student's vectors of whole sentences, by cosine and InfoNCE.

Shape suffixes: V tokens, N sentences, B of a batch, E dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from themo.models.phrases import MARK, PhraseReader, build_tokenizer, learn_tokens
from themo.models.student import Student
from themo.models.tokens import Tokenizer as StudentTokenizer
from themo.process.progress import track
from themo.training.losses import build_loss

EPOCHS = 8
BATCH = 512
LEARN_RATE = 0.02
LOSS, TEMPERATURE = "cosine+0.3*infonce", 0.05
SEED = 0


def distil(
    student: Student, tokenizer: StudentTokenizer, sentences: Sequence[str], n_tokens: int
) -> tuple[Tokenizer, Tensor]:
    """Return a table's tokenizer and the vectors of its tokens, (V, E) float32.

    Args:
        student: The student, with vectors of E dimensions.
        tokenizer: The student's.
        sentences: N sentences to learn tokens and vectors from.
        n_tokens: Greatest number of tokens.
    """
    tokens = learn_tokens(sentences, n_tokens)
    table_tokenizer = build_tokenizer(tokens)
    with track("Encoding sentences by the student", len(sentences), "texts") as advance:
        targets_NE = functional.normalize(student.encode(tokenizer, sentences, advance=advance), dim=1)
    vectors_VE = torch.zeros(len(tokens), targets_NE.shape[1])
    is_spoken = [len(token) > 2 and token[0] == MARK for token in tokens]  # no single character
    spoken = [
        token.replace(MARK, " ").strip() for token, is_one in zip(tokens, is_spoken, strict=True) if is_one
    ]
    if spoken:
        vectors_VE[torch.tensor(is_spoken)] = functional.normalize(student.encode(tokenizer, spoken), dim=1)
    return table_tokenizer, _fitted(vectors_VE, PhraseReader(table_tokenizer), sentences, targets_NE)


def _fitted(vectors_VE: Tensor, read: PhraseReader, sentences: Sequence[str], targets_NE: Tensor) -> Tensor:
    """Return token vectors fitted to sentences; vectors of tokens outside the sentences are unchanged."""
    parameter_VE = torch.nn.Parameter(vectors_VE.clone())
    optimizer = torch.optim.Adam([parameter_VE], lr=LEARN_RATE)
    loss_of = build_loss(LOSS, TEMPERATURE)
    random = np.random.default_rng(SEED)
    batch = min(BATCH, len(sentences))
    total = EPOCHS * (len(sentences) // batch)
    with track(f"Fitting the table in {EPOCHS} passes", total * batch, "sentences") as advance:
        for step in range(total):
            if step % (len(sentences) // batch) == 0:
                order = random.permutation(len(sentences))
            start = step % (len(sentences) // batch) * batch
            chosen = order[start : start + batch]
            tokens, starts = read([sentences[i] for i in chosen])
            sums_BE = functional.embedding_bag(
                torch.from_numpy(tokens), parameter_VE, torch.from_numpy(starts), mode="sum"
            )
            loss, _ = loss_of(sums_BE, targets_NE[torch.from_numpy(chosen)])
            optimizer.param_groups[0]["lr"] = LEARN_RATE * (1 - step / total)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            advance(batch)
    return parameter_VE.detach()
