"""The grammar of weighted losses, ``cosine+0.1*infonce``; free of torch, so that settings load fast."""

from __future__ import annotations

import math

TERMS = ("mse", "cosine", "infonce")
"""Names of the losses; `themo.training.losses` computes them."""


def parse_mixture(text: str) -> dict[str, float]:
    """Return the weights of a mix by name of loss, in the order written.

    The grammar is ``term ("+" term)*`` with ``term = [weight "*"] name``; spaces are ignored, weights are
    positive and finite, and each name occurs once.

    Raises:
        ValueError: The text is not of this form; the message states the rule.
    """
    weights: dict[str, float] = {}
    for term in _split_terms(text):
        factor, star, name = term.rpartition("*")
        name = name.strip()
        if name not in TERMS:
            raise ValueError(f"must be a mix of {', '.join(TERMS)}, such as 'cosine+0.1*infonce'")
        if name in weights:
            raise ValueError(f"must name each loss once, {name!r} occurs twice")
        weights[name] = _weight(factor) if star else 1.0
    return weights


def _split_terms(text: str) -> list[str]:
    # a plus inside "1e+2*mse" belongs to the number
    parts: list[str] = []
    for part in text.split("+"):
        if parts and parts[-1][-1:] in "eE" and parts[-1][:-1].strip().replace(".", "", 1).isdigit():
            parts[-1] += "+" + part
        else:
            parts.append(part)
    return parts


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        raise ValueError(f"must have a number before '*', not {text.strip()!r}") from None
    if not (math.isfinite(weight) and weight > 0):
        raise ValueError(f"must have positive finite weights, not {text.strip()}")
    return weight
