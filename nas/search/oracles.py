"""Oracles: which architecture next, on keras-tuner.

The journal is all that is kept: an oracle begins with the journal's entries as its
completed trials, and proposes what an undisturbed search would have proposed next.
keras-tuner's own files are not read again, they can be cut short by a kill.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial
from sklearn.exceptions import ConvergenceWarning

from nas.evaluations.base import Result
from nas.search.journal import Entry, Journal
from nas.spaces.base import Architecture

RESULT = (
    "result"  # travels with the values: keras-tuner's metrics are 32-bit on the way
)
_SILENT_SECONDS = 60  # after which a worker that does not call counts as dead
_NUM_SUGGESTIONS = 10  # of a model for one trial; each takes a tenth of a second
_NUM_ATTEMPTS = 1000  # at a new architecture before the space counts as exhausted


class _JournaledOracle(keras_tuner.Oracle):
    """What all oracles share: the journal, no repetition, dead workers' trials.

    Args:
      journal: what has been done, in which space; gets every result.
      max_trials: entries of the journal at the end.
      seed: of the proposals.
      evaluation_seed: of the networks' weights and data order.
      time_limit_seconds: no trial begins after so many; 0: no limit.
      on_entry: called with each new entry.
    """

    def __init__(
        self,
        journal: Journal,
        max_trials: int,
        seed: int,
        evaluation_seed: int = 0,
        time_limit_seconds: float = 0,
        on_entry: Callable[[Entry], None] = lambda entry: None,
        **options,
    ):
        super().__init__(
            objective=keras_tuner.Objective("score", "max"),
            max_trials=max_trials,
            hyperparameters=journal.space.hyperparameters(),
            allow_new_entries=False,
            tune_new_entries=False,
            seed=seed + 1,  # keras-tuner takes 0 for no seed
            **options,
        )
        self.verbose = 0
        self.space = journal.space
        self.search_seed = seed
        self._journal = journal
        self._evaluation_seed = evaluation_seed
        self._on_entry = on_entry
        self._ends = time.monotonic() + (time_limit_seconds or float("inf"))
        self._heard_at: dict[str, float] = {}
        self._proposed: set[str] = set()
        for entry in journal.entries:
            if entry.seed == evaluation_seed:
                self._replay(entry)

    def _replay(self, entry: Entry) -> None:
        values = self._with_values(self.space.decode(entry.architecture))
        trial = Trial(values, self._next_id(), "COMPLETED")
        trial.score = entry.score
        self.trials[trial.trial_id] = trial
        self.end_order.append(trial.trial_id)
        self._proposed.add(entry.key)

    def _next_id(self) -> str:
        return f"{len(self.trials):0{len(str(self.max_trials))}d}"  # as keras-tuner's

    def _with_values(self, architecture: Architecture) -> keras_tuner.HyperParameters:
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = self.space.to_values(architecture)
        return hyperparameters

    def propose(self, index: int, attempt: int) -> Architecture | None:
        """The architecture of trial `index`, or another at each attempt; None: no
        more."""
        raise NotImplementedError

    def populate_space(self, trial_id: str) -> dict:
        """keras-tuner's question for the next trial."""
        del trial_id
        if time.monotonic() < self._ends:
            for attempt in range(_NUM_ATTEMPTS + len(self._proposed)):
                architecture = self.propose(len(self.trials), attempt)
                if architecture is None:
                    break
                key = self.space.key(architecture)
                if key not in self._proposed:
                    self._proposed.add(key)
                    values = self.space.to_values(architecture)
                    return {"status": "RUNNING", "values": values}
        return {"status": "STOPPED"}

    @property
    def tuner_ids(self) -> set[str]:
        """Workers that are alive; the chief ends when there are none."""
        now = time.monotonic()
        for tuner_id in list(self._tuner_ids):
            if now - self._heard_at.get(tuner_id, now) > _SILENT_SECONDS:
                self._tuner_ids.discard(tuner_id)
        return self._tuner_ids

    @tuner_ids.setter
    def tuner_ids(self, tuner_ids: set[str]) -> None:
        self._tuner_ids = tuner_ids

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """A new trial, or that of a worker that is silent; waits for the last ones."""
        now = time.monotonic()
        self._heard_at[tuner_id] = now
        if tuner_id not in self.ongoing_trials:
            for other, trial in self.ongoing_trials.items():
                if now - self._heard_at[other] > _SILENT_SECONDS:
                    self.ongoing_trials[tuner_id] = self.ongoing_trials.pop(other)
                    self.tuner_ids.add(tuner_id)
                    return trial
            if self.ongoing_trials and len(self.trials) >= self.max_trials:
                return Trial(self.hyperparameters.copy(), self._next_id(), "IDLE")
        return super().create_trial(tuner_id)

    @keras_tuner.synchronized
    def get_trial(self, trial_id: str) -> Trial:
        """Also how a worker says that it is alive."""
        for tuner_id, trial in self.ongoing_trials.items():
            if trial.trial_id == trial_id:
                self._heard_at[tuner_id] = time.monotonic()
        return self.trials[trial_id]

    @keras_tuner.synchronized
    def update_trial(self, trial_id: str, metrics: dict, step: int = 0) -> Trial:
        """Nothing: results come with the trial's end."""
        return self.trials[trial_id]

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Writes the result into the journal.

        One that is not waited for is dropped: its worker counted as dead and another
        one was faster, or it comes from before the chief began.
        """
        result = json.loads(trial.hyperparameters.values.pop(RESULT))
        waited_for = [
            ongoing
            for ongoing in self.ongoing_trials.values()
            if ongoing.trial_id == trial.trial_id
            and ongoing.hyperparameters.values == trial.hyperparameters.values
        ]
        if not waited_for:
            return
        architecture = self.space.from_values(trial.hyperparameters.values)
        entry = Entry.of(
            self.space, architecture, Result(**result), self._evaluation_seed
        )
        waited_for[0].score = entry.score
        self._journal.append(entry)
        self._on_entry(entry)
        super().end_trial(trial)

    def score_trial(self, trial: Trial) -> None:
        """The score stands since the trial's end."""


class RandomOracle(_JournaledOracle):
    """Whole architectures, drawn uniformly: the paper's random search (section
    3.4)."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._num_draws = 0

    def propose(self, index: int, attempt: int) -> Architecture:
        """The next draw; every draw is looked at once, whoever evaluates it."""
        self._num_draws += 1
        return self.space.sample(self.search_seed, self._num_draws - 1)


class ListOracle(_JournaledOracle):
    """Given architectures, in their order."""

    def __init__(self, *args, architectures: list[Architecture], **kwargs):
        self._architectures = architectures
        super().__init__(*args, **kwargs)

    def propose(self, index: int, attempt: int) -> Architecture | None:
        """The first that has not been proposed."""
        for architecture in self._architectures:
            if self.space.key(architecture) not in self._proposed:
                return architecture
        return None


class EvolutionOracle(_JournaledOracle):
    """Regularized evolution (Real et al., 2019): the oldest of the population goes.

    The best of a random few becomes the parent of a mutation in one place.
    """

    population_size = 20
    tournament_size = 5

    def propose(self, index: int, attempt: int) -> Architecture:
        """A draw for the first population, then a mutation."""
        completed = [self.trials[trial_id] for trial_id in self.end_order]
        if len(completed) < self.population_size:
            return self.space.sample(self.search_seed, attempt)
        generator = np.random.default_rng([self.search_seed, index, attempt, 0xE701])
        population = completed[-self.population_size :]
        tournament = generator.choice(
            len(population), self.tournament_size, replace=False
        )
        parent = max((population[i] for i in tournament), key=lambda trial: trial.score)
        architecture = self.space.from_values(parent.hyperparameters.values)
        return self.space.mutate(architecture, int(generator.integers(2**31)))


class BayesianOracle(_JournaledOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """A Gaussian process over the numbers of the encoding (keras-tuner's)."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, num_initial_points=20, **kwargs)

    def propose(self, index: int, attempt: int) -> Architecture | None:
        """keras-tuner's suggestion, with randomness that depends on nothing else.

        Where it suggests what is known again and again, as at the best of a small
        space, a random draw takes its place.
        """
        if attempt >= _NUM_SUGGESTIONS:
            return self.space.sample(self.search_seed, attempt)
        draws = np.random.SeedSequence([self.search_seed, index, attempt])
        self._seed_state = int(draws.generate_state(1)[0])
        self._random_state = np.random.RandomState(self._seed_state)
        oracle = keras_tuner.oracles.BayesianOptimizationOracle
        with warnings.catch_warnings():
            # Length scales at the end of their range are no news to the user.
            warnings.simplefilter("ignore", ConvergenceWarning)
            suggested = oracle.populate_space(self, self._next_id())
        if suggested["status"] != "RUNNING":
            return None
        return self.space.from_values(suggested["values"])
