"""The chance that a picture is relevant to a text, by comparison with general reference texts.

CLIP's training makes the softmax of its scaled cosines the distribution over the texts that a picture may
belong to (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
sections 2.3 and 3.1.2, arXiv:2103.00020). So with the teacher's logit scale L, a query's cosine s and the
cosines r of the reference texts,

    chance = exp(L s) / (exp(L s) + sum of exp(L r))

A cosine alone does not distinguish a match from the best of irrelevant pictures: its level differs between
texts and between pictures. Here all texts are compared on the same picture. Reference texts that mean the
same as the query are left out: those nearer to it than any two reference texts are to each other, at most a
quarter of all. Without this limit, a general text near the centre of the references would leave out all of
them, and every picture would have a chance of 1.

Shape suffixes: R reference texts, M pictures, E dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from themo.image_search.pieces import Vectors
from themo.image_search.references import References

FEWEST_PICTURES = 20
"""Least number of different files of a folder; the cutoff was not measured in smaller ones."""
FEWEST_REFERENCES = 40
"""Least number of reference texts that the student can read; the miniature has 80."""
MOST_ALIKE = 0.25
"""Greatest share of reference texts that are left out; assumption: the miniature's queries leave out at most
2 of 40, and a general subject, such as an animal, covers fewer than a quarter of the general texts."""

EQUAL = 1 - 1e-5
"""Least cosine of equal reference texts, whose vectors differ by rounding."""


@dataclass(frozen=True)
class Calibration:
    """Chances of pictures by a student's reference texts.

    Attributes:
        references: The different reference texts.
        same_meaning: Greatest cosine of two of them; -1 for fewer than two.
    """

    references: References
    same_meaning: float

    @classmethod
    def of(cls, references: References) -> Calibration:
        """Return the calibration by reference texts; equal ones count once.

        Two classes may have equal prompts. Their cosine of 1 would be `same_meaning`, so every query would
        compete with the reference texts of its own meaning.
        """
        cosines_RR = references.vectors_RE @ references.vectors_RE.T
        is_first_R = ~np.triu(cosines_RR > EQUAL, k=1).any(axis=0)
        cosines_RR = cosines_RR[is_first_R][:, is_first_R]
        np.fill_diagonal(cosines_RR, -1.0)
        distinct = replace(references, vectors_RE=references.vectors_RE[is_first_R])
        return cls(distinct, float(cosines_RR.max(initial=-1.0)))

    def chances(self, query_E: Vectors, pictures_ME: Vectors) -> Vectors:
        """Return the (M,) chances, 0 to 1, that pictures are relevant to a text.

        Args:
            query_E: float32 vector of the text, of length 1.
            pictures_ME: float32 vectors of length 1.
        """
        others_RE = np.delete(self.references.vectors_RE, self._same_as(query_E), axis=0)
        own_M = pictures_ME @ query_E
        margins_RM = self.references.logit_scale * (others_RE @ pictures_ME.T - own_M)
        chances: Vectors = 1 / (1 + np.exp(margins_RM.clip(max=60)).sum(axis=0))  # float32 ends at exp(88)
        return chances

    def _same_as(self, query_E: Vectors) -> npt.NDArray[np.int64]:
        """Return the rows of the reference texts that mean the same as a text."""
        cosines_R = self.references.vectors_RE @ query_E
        nearest = np.argsort(-cosines_R, kind="stable")[: math.ceil(MOST_ALIKE * len(cosines_R))]
        return nearest[cosines_R[nearest] > self.same_meaning]


def too_few_pictures(n: int) -> str | None:
    """Return the reason why a folder of `n` different files has no chances; None: enough files."""
    if n < FEWEST_PICTURES:
        return f"the folder must contain at least {FEWEST_PICTURES} different pictures, but has {n}"
    return None


def too_few_references(references: References) -> str | None:
    """Return the reason why a student's reference texts give no chances; None: enough texts."""
    n = len(references.vectors_RE)
    if n < FEWEST_REFERENCES:
        return f"the student must know the words of {FEWEST_REFERENCES} reference texts, but knows {n}"
    return None
