"""Descriptions of settings: the texts under their fields.

Pydantic would read them from the source of each class as it makes the class, in every command. Only options
and their help need them.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


def descriptions(section: type[BaseModel]) -> dict[str, str]:
    """Return the text under each field of a section that has one, by the field's name."""
    (body,) = (
        node.body
        for node in _module(section.__module__).body
        if isinstance(node, ast.ClassDef) and node.name == section.__name__
    )
    texts = {}
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(content))):
                texts[name] = inspect.cleandoc(content)
    return texts


@cache
def _module(name: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[name]))
