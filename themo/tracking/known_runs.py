"""State of the runs on a server, found by a tag."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY_TAG = "themo.run"
STEP_TAG = "themo.step"
FILES_TAG = "themo.files"
"""JSON object with a digest of each artefact's content, by name."""

_RUNS_A_PAGE = 250


@dataclass
class KnownRun:
    """State of a run on the server. A rejected part counts as present, so that it is sent once."""

    run_id: str
    status: str
    step: int = -1
    params: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Any) -> KnownRun:
        """Read the state from MLflow's run."""
        tags, data = run.data.tags, run.data
        files = json.loads(tags.get(FILES_TAG, "{}"))
        # the server takes the metrics of a report before the tag; a failure in between leaves them without it
        step = max([int(tags.get(STEP_TAG, -1)), *(metric.step for metric in data.to_proto().metrics)])
        return cls(run.info.run_id, run.info.status, step, set(data.params), tags, data.metrics, files)


def search_runs(client: MlflowClient, experiment_id: str, condition: str) -> Iterator[KnownRun]:
    """The runs of an experiment that meet a condition, read a page at a time."""
    token: str | None = None
    while token != "":
        page = client.search_runs([experiment_id], condition, max_results=_RUNS_A_PAGE, page_token=token)
        yield from map(KnownRun.of, page)
        token = page.token or ""


def by_tag(name: str, value: str) -> str:
    """Return MLflow's filter of runs by a tag's value, which contains no quote."""
    return f"tags.`{name}` = '{value.replace(chr(39), '')}'"
