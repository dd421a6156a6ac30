"""What flags may be where a policy learns in an environment."""

from __future__ import annotations

from typing import Any

from gtn_tf.data import dataset_flags
from gtn_tf.errors import UserError
from gtn_tf.networks.families import FAMILIES

OBJECTIVE = "actor_critic"
_NEEDED = f"--objective={OBJECTIVE}"


def check(config: Any) -> None:
    """Refuses what contradicts an environment, and a policy without one.

    Args:
      config: flags of bin/train.

    Raises:
      UserError: naming both flags.
    """
    source = config.dataset.partition(":")[0]
    if source != dataset_flags.ENVIRONMENT:
        if config.objective == OBJECTIVE:
            raise UserError(
                f"{_NEEDED} contradicts --dataset={config.dataset}: policies act in an "
                "environment; give --dataset=gym:NAME, as in gym:CartPole-v1"
            )
        return
    told = f"--dataset={config.dataset}"
    if not dataset_flags.environment(config.dataset):
        raise UserError(
            f"{told} names no environment: give one that gymnasium has, as in "
            "gym:CartPole-v1"
        )
    _refuse_contradictions(config, told)
    frames, episode = config.outer_batch_size, config.episode_frames
    if frames < episode or frames % episode:
        raise UserError(
            f"--outer_batch_size={frames} is no number of whole episodes of "
            f"--episode_frames={episode}: give a multiple, as in {episode} or "
            f"{4 * episode}"
        )


def _refuse_contradictions(config: Any, told: str) -> None:
    contradictions = {
        f"--objective={config.objective}": (
            config.objective == "classification",
            f"an environment has no labels; give {_NEEDED}",
        ),
        "--teacher=real": (
            config.teacher == "real",
            "an environment has no training data; give gtn or distillation",
        ),
        f"--warm_start_steps={config.warm_start_steps}": (
            config.warm_start_steps > 0,
            "an environment has no real images to begin as; give 0",
        ),
        f"--image_size={config.image_size}": (
            bool(config.image_size),
            "states have no size to change; drop it",
        ),
        f"--adversarial_weight={config.adversarial_weight:g}": (
            config.adversarial_weight > 0,
            "an environment has no real images to look like; give 0",
        ),
        f"--estimator={config.estimator}": (
            config.estimator in ("es", "pes", "combined"),
            "the value network is learned by backpropagation; give backpropagation",
        ),
        "--augment=always": (
            config.augment == "always",
            "states are not cropped or flipped; drop it",
        ),
    }
    of_images = [f for f in config.left_out if not FAMILIES[f].takes_vectors]
    contradictions[f"--leave_out={config.leave_out}"] = (
        bool(of_images),
        "networks of images do not take states; give --leave_out=, or fully_connected",
    )
    for flag, (contradicts, why) in contradictions.items():
        if contradicts:
            raise UserError(
                f"{flag} contradicts {told}: {why} (cartpole.flags is an example)"
            )
