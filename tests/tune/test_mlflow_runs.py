"""A search in MLflow, the connection replaced; with a server it is tested in `test_session`."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

from tune.mlflow_runs import MlflowRuns
from tune.study import Study


def test_the_best_of_a_search_is_none_that_failed() -> None:
    study = Study(None, "max")
    runs = MlflowRuns(MagicMock(), study, "mine", "uid", {}, "o")
    for value in (0.9, 0.4):
        study.report(study.add({}).number, {"pairs_seen": 1, "o": value}, "o")
    for number, done in ((0, {"trials": 1}), (1, {"trials": 2})):
        study.finish(number, "FAIL" if number == 0 else "COMPLETE")
        runs.on_trial_complete(trial=SimpleNamespace(config={"number": number}))
        runs.parent.report.assert_called_with({"best/o": 0.4} | done, step=number + 1)
