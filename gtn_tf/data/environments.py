"""Environments of gymnasium: where a policy acts, in place of a data set.

`Environment` says of states and actions what `Dataset` says of images and classes, so
that teachers and learners need not tell them apart: a state is an "image" of shape (S,)
and an action a class.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import threading
from typing import Any, NamedTuple

import numpy as np

from gtn_tf.data import dataset_flags
from gtn_tf.errors import UserError

NUM_EPISODES = {"validation": 20, "test": 50}
_FIRST_TEST = 1_000  # seed; those of validation begin at 0
# Streams of random numbers: no episode is of both.
TRAINING, MEASURING = 0, 1
_UNBOUNDED = 1e6  # gymnasium has bounds of 3.4e38 that mean none


class Episodes(NamedTuple):
    """Full episodes that policies are measured on, by their seeds (int32 [E])."""

    seeds: np.ndarray


class Transition(NamedTuple):
    """What one frame of N environments gives.

    Attributes:
      state: float32 [N, S], where the next action is taken: after an episode's end,
        the first of another.
      successor: float32 [N, S], what the action led to.
      reward: float32 [N].
      terminated: bool [N], the episode is over.
      truncated: bool [N], the episode was cut, though it could have gone on.
    """

    state: np.ndarray
    successor: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Environment:
    """An environment with a vector as state and a choice of actions.

    Attributes:
      name: as gymnasium registers it.
      episode_frames: after which an episode is cut.
      class_names: a name for each action.
      first_action: the number that the environment knows the first by.
      mean, std: float32 [S], what states are normalized by: components that the
        environment bounds go to -1 to 1, others stay as they are.
    """

    name: str
    episode_frames: int
    image_shape: tuple[int]
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    first_action: int = 0
    _running: dict = dataclasses.field(default_factory=dict)
    _idle: dict = dataclasses.field(default_factory=dict)
    _lock: Any = dataclasses.field(default_factory=threading.Lock)

    @property
    def num_classes(self) -> int:
        """Number of actions."""
        return len(self.class_names)

    @property
    def num_examples(self) -> dict[str, int]:
        """Split -> episodes; as many as are asked for in training."""
        return {"train": 0} | NUM_EPISODES

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for the environment as gymnasium has it."""
        import gymnasium

        told = (self.name, self.episode_frames, self.image_shape, self.class_names)
        text = repr((told, gymnasium.__version__.rpartition(".")[0]))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @functools.cached_property
    def validation(self) -> Episodes:
        """Episodes for what is chosen in training."""
        return Episodes(np.arange(NUM_EPISODES["validation"], dtype=np.int32))

    @functools.cached_property
    def test(self) -> Episodes:
        """Episodes for results."""
        return Episodes(_FIRST_TEST + np.arange(NUM_EPISODES["test"], dtype=np.int32))

    def reset(self, stream: int, seeds: np.ndarray) -> tuple[int, np.ndarray]:
        """One fresh environment for each seed: what they are known by, states [N, S].

        What follows depends on stream, seeds and actions alone.

        Args:
          stream: TRAINING or MEASURING.
        """
        seeds = [
            int(np.random.SeedSequence([stream, int(s)]).generate_state(1)[0])
            for s in seeds
        ]
        with self._lock:
            idle = self._idle.setdefault(len(seeds), [])
            environments = idle.pop() if idle else self._make(len(seeds))
            handle = 1 + max(self._running, default=0)
            self._running[handle] = environments
        states, _ = environments.reset(seed=seeds)
        return handle, states.astype(np.float32)

    def step(self, handle: int, actions: np.ndarray) -> Transition:
        """One frame of each of the environments.

        Args:
          actions: integers [N], from 0.
        """
        environments = self._running[int(handle)]
        state, reward, terminated, truncated, infos = environments.step(
            actions + self.first_action
        )
        successor = state
        if "final_obs" in infos:
            successor = state.copy()
            for index in np.flatnonzero(infos["_final_obs"]):
                successor[index] = infos["final_obs"][index]
        return Transition(
            state.astype(np.float32),
            successor.astype(np.float32),
            reward.astype(np.float32),
            terminated,
            truncated & ~terminated,
        )

    def release(self, handle: int) -> np.int32:
        """Gives environments back, to be reset for others; returns the handle."""
        with self._lock:
            environments = self._running.pop(int(handle))
            self._idle[environments.num_envs].append(environments)
        return np.int32(handle)

    def _make(self, number: int):
        from gymnasium.vector import AutoresetMode, SyncVectorEnv

        return SyncVectorEnv(
            number * [self.make_one], autoreset_mode=AutoresetMode.SAME_STEP
        )

    def make_one(self, **options):
        """One environment of gymnasium, with options of `gymnasium.make`."""
        return _make(self.name, self.episode_frames, **options)


def _make(name: str, episode_frames: int, **options):
    import gymnasium

    return gymnasium.make(
        name,
        max_episode_steps=episode_frames,
        disable_env_checker=True,
        **options,
    )


def load(dataset: str, episode_frames: int) -> Environment:
    """The environment that --dataset=gym:NAME stands for.

    Raises:
      UserError: one that is unknown, cannot be made here, has no vector as state, or
        no choice among actions.
    """
    import gymnasium

    name = dataset_flags.environment(dataset)
    try:
        made = _make(name, episode_frames)
    except Exception as error:  # what an environment's own packages raise
        first_line = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(
            f"--dataset={dataset} cannot be made ({first_line}): give an environment "
            "that gymnasium has here, as in gym:CartPole-v1, or install what it needs"
        ) from None
    states, actions = made.observation_space, made.action_space
    made.close()
    if not isinstance(actions, gymnasium.spaces.Discrete):
        raise UserError(
            f"--dataset={dataset} has actions {actions}: policies choose one of "
            "several; give an environment with discrete actions, as gym:CartPole-v1"
        )
    if not isinstance(states, gymnasium.spaces.Box) or len(states.shape) != 1:
        raise UserError(
            f"--dataset={dataset} has states {states}: policies see a vector of "
            "numbers; give an environment with such states, as gym:CartPole-v1"
        )
    low, high = (np.asarray(end, np.float64) for end in (states.low, states.high))
    bounded = (low > -_UNBOUNDED) & (high < _UNBOUNDED) & (low < high)
    low, high = np.where(bounded, low, -1), np.where(bounded, high, 1)
    return Environment(
        name=name,
        episode_frames=episode_frames,
        image_shape=states.shape,
        class_names=tuple(f"action {index}" for index in range(actions.n)),
        mean=((low + high) / 2).astype(np.float32),
        std=((high - low) / 2).astype(np.float32),
        first_action=int(actions.start),
    )
