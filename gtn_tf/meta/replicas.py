"""The learners of an outer step, shared out among devices and processes.

    replica r of R trains the learners r, r + R, r + 2 R, ... of the K of an outer step

and the sums of all replicas' meta-gradients are added up by TensorFlow's all-reduce.
Which learner has which seed and batches depends on its number among the K alone, so
that the sum is that of one replica but for rounding, whatever R is.

`Replicas` is one process on one device, `DeviceReplicas` one process on several devices
(tf.distribute.MirroredStrategy), and `WorkerReplicas` several processes
(tf.distribute.MultiWorkerMirroredStrategy). The strategies carry sums and nothing else:
no variable is made under them. Devices of one process share its variables; processes
begin with the chief's, and all take the same steps. Every process has to make the same
calls in the same order, so that what a process decides for itself, as when to stop, is
decided by what all of them say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from gtn_tf.errors import WorkerLost

# A learner's part in an outer step: -> scalars that tell of it, meta-gradients.
Part = Callable[[], tuple[Sequence[tf.Tensor], list[tf.Tensor]]]


class Replicas:
    """One process on one device.

    Attributes:
      num_processes: that make the same calls.
      is_chief: whether this process is the first, which writes the run's folder.
    """

    num_processes = 1
    is_chief = True

    def add_up(self, parts: list[Callable[[], Part]]):
        """The parts of all K learners, each made and run by one replica.

        Args:
          parts: for each learner what gives its part, compiled.

        Returns:
          The scalars of each learner, in their order; the sum of the meta-gradients.
        """
        return _in_turns(part() for part in parts)

    def gather(self, values: Sequence[float]) -> np.ndarray:
        """What each process says, [processes, values]; the chief's is the first."""
        return np.array([values], np.float64)

    def any(self, own: bool) -> bool:
        """Whether it is so in one process at least."""
        return bool(self.gather([own]).any())

    def from_chief(self, content: bytes) -> bytes:
        """The chief's content; that of others counts for nothing."""
        return content


ONE_REPLICA = Replicas()


class DeviceReplicas(Replicas):
    """One process on the devices of a strategy, each with a thread of its own.

    Kinds of learners are different programs, so that they are not run as one by
    `strategy.run`.
    """

    def __init__(self, strategy: tf.distribute.Strategy, first: int = 0):
        """
        Args:
          strategy: whose devices are this process's.
          first: the number among all replicas of the first of them.
        """
        self._strategy = strategy
        self._devices = strategy.extended.worker_devices
        self._first = first
        self._threads = ThreadPoolExecutor(len(self._devices))

    def add_up(self, parts):
        """As of `Replicas`."""
        count = self._strategy.num_replicas_in_sync
        own = [
            [part() for part in parts[replica::count]]  # compiled in one thread
            for replica in range(self._first, self._first + len(self._devices))
        ]
        found = list(self._threads.map(_on_device, self._devices, own))
        shapes = [gradient.shape for gradient in found[0][1]]
        num_scalars = len(found[0][0][0])
        vectors = []
        for replica, (told, sums) in enumerate(found, start=self._first):
            # Zero where another replica tells.
            table = np.zeros([len(parts), num_scalars], np.float32)
            table[replica::count] = told
            flat = [tf.reshape(value, [-1]) for value in [tf.constant(table), *sums]]
            vectors.append(tf.concat(flat, 0))
        total = self._sum(vectors)
        sizes = [len(parts) * num_scalars, *(shape.num_elements() for shape in shapes)]
        table, *sums = tf.split(total, sizes)
        rows = tf.unstack(tf.reshape(table, [len(parts), num_scalars]))
        told = [tf.unstack(row) for row in rows]
        return told, [
            tf.reshape(s, shape) for s, shape in zip(sums, shapes, strict=True)
        ]

    def _sum(self, vectors: list[tf.Tensor]) -> tf.Tensor:
        """The sum over all replicas; `vectors` are those of this process's."""
        given = iter(vectors)
        values = self._strategy.experimental_distribute_values_from_function(
            lambda _: next(given)
        )
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)


class WorkerReplicas(DeviceReplicas):
    """Several processes, each on one device; each of them makes the same calls.

    Raises:
      WorkerLost: by every method, where another process has ended.
    """

    def __init__(self, strategy: tf.distribute.MultiWorkerMirroredStrategy):
        resolver = strategy.cluster_resolver
        super().__init__(strategy, resolver.task_id)
        self.num_processes = strategy.num_replicas_in_sync
        self.is_chief = resolver.task_id == 0

    def gather(self, values):
        """As of `Replicas`."""
        table = np.zeros([self.num_processes, len(values)])
        table[self._first] = values
        return self._sum([tf.constant(table, tf.float64)]).numpy()

    def from_chief(self, content):
        """As of `Replicas`."""
        size = int(self.gather([len(content)])[0, 0])
        words = np.zeros(-(-size // 8), np.int64)
        if self.is_chief:
            padded = content.ljust(8 * len(words), b"\0")
            words = np.frombuffer(padded, np.int64)
        return self._sum([tf.constant(words)]).numpy().tobytes()[:size]

    def _sum(self, vectors):
        try:
            return super()._sum(vectors)
        except tf.errors.OpError as error:
            raise WorkerLost(
                f"another worker does not answer any more ({type(error).__name__}): "
                "start all workers again with their commands, and they go on from the "
                "last checkpoint"
            ) from None


def _on_device(device: str, parts: list[Part]):
    with tf.device(device):
        return _in_turns(parts)


def _in_turns(parts: Iterable[Part]):
    """One after the other, in the memory of one."""
    told, sums = [], None
    for part in parts:
        scalars, gradients = part()
        told.append(scalars)
        sums = gradients if sums is None else _added(sums, gradients)
    return told, sums


@tf.function(autograph=False)
def _added(sums, gradients):
    return [total + gradient for total, gradient in zip(sums, gradients, strict=True)]
