"""An episode of a trained policy as pictures that move."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from gtn_tf.data.environments import Environment
from gtn_tf.errors import UserError

_WIDTH = 300  # pixels
_EVERY = 2  # frames: half of them are enough to see it
_MILLISECONDS = 40  # of each picture


def record(environment: Environment, choose: Callable, seed: int) -> list[np.ndarray]:
    """Every second frame of one whole episode, uint8 [H, W, 3] each.

    Args:
      choose: raw states [1, S] -> action.

    Raises:
      UserError: an environment that cannot be drawn here.
    """
    try:
        with _without_window():
            return _pictures(environment, choose, seed)
    except Exception as error:  # what an environment's own packages raise
        first_line = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{environment.name} cannot be drawn here ({first_line}): install what "
            "gymnasium needs for it, as in gymnasium[classic-control]"
        ) from error


def _pictures(environment: Environment, choose: Callable, seed: int) -> list:
    made = environment.make_one(render_mode="rgb_array")
    state, _ = made.reset(seed=seed)
    pictures = [made.render()]
    over, frame = False, 0
    while not over:
        action = int(choose(state[None].astype(np.float32)))
        state, _, terminated, truncated, _ = made.step(
            environment.first_action + action
        )
        over, frame = terminated or truncated, frame + 1
        if over or frame % _EVERY == 0:
            pictures.append(made.render())
    made.close()
    return pictures


@contextlib.contextmanager
def _without_window():
    """Within, what draws looks for no screen and no loudspeaker."""
    names = ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "dummy"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def write_gif(path: Path, pictures: list[np.ndarray]) -> None:
    """Writes the pictures, made smaller, as a GIF file that begins anew at its end."""
    small = []
    for picture in pictures:
        image = Image.fromarray(picture)
        height = round(image.height * _WIDTH / image.width)
        image = image.resize((_WIDTH, height), Image.Resampling.BILINEAR)
        small.append(image.quantize(32))
    small[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=small[1:],
        duration=_MILLISECONDS,
        loop=0,
    )
