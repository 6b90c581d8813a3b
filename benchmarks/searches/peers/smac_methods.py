"""SMAC3's multi-fidelity facade through ask and tell.

A random forest proposes, Hyperband gives budgets: both at the facade's defaults, with reduction factor 3.
A budget is a number of reports, from 1 to that of a full training. The first five settings are random, as in
the documentation's example of multiple fidelities. The cost is one minus the objective, which the facade puts
on a logarithmic scale. SMAC itself has no checkpoints; here a setting with a higher budget is continued.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from smac import MultiFidelityFacade, Scenario
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.runhistory import StatusType, TrialValue

from benchmarks.searches.peers.budgeted import Budgeted, Proposal
from benchmarks.searches.peers.facts import Facts
from benchmarks.searches.peers.places import config_space, params_of, reports_of
from benchmarks.searches.replay import Method
from tune.space.search_space import Space

_N_TRIALS = 100_000
"""More trials than any replay starts: replays end by their budget."""


class SmacMethod(Budgeted):
    """A multi-fidelity facade.

    Args:
        space: The search space.
        seed: Seed of the scenario.
        facts: Reports of a whole training, and slots.
    """

    def __init__(self, space: Space, seed: int, facts: Facts) -> None:
        super().__init__()
        self._space = space
        with TemporaryDirectory() as folder:  # the facade writes only its scenario there
            scenario = Scenario(
                config_space(space, seed),
                output_directory=Path(folder),
                deterministic=True,
                n_trials=_N_TRIALS,
                min_budget=1,
                max_budget=facts.n_reports,
                seed=seed,
            )
            self._smac = MultiFidelityFacade(
                scenario,
                initial_design=MultiFidelityFacade.get_initial_design(scenario, n_configs=5),
                overwrite=True,
                logging_level=False,
            )

    def propose(self) -> Proposal | None:
        """A new setting, or one that passed a rung; None once all of a finite space are tried."""
        try:
            info = self._smac.ask()
        except (StopIteration, ConfigurationSpaceExhaustedException):
            return None
        assert info.budget is not None, "Hyperband states budgets"
        params = params_of(self._space, info.config)
        return Proposal(info.config, params, reports_of(info.budget), handle=info)

    def tell(self, asked: Proposal, value: float, *, failed: bool) -> None:
        """Report one minus the objective."""
        status = StatusType.CRASHED if failed else StatusType.SUCCESS
        self._smac.tell(asked.handle, TrialValue(cost=1 - value, status=status), save=False)


def multi_fidelity(space: Space, seed: int, facts: Facts) -> Method:
    """The multi-fidelity facade."""
    return SmacMethod(space, seed, facts)
