"""Teachers by name. A new one is a file and an entry here."""

from __future__ import annotations

from gtn_tf.teachers.base import Teacher
from gtn_tf.teachers.distillation import Distillation
from gtn_tf.teachers.gtn import GTN
from gtn_tf.teachers.real_data import Real

TEACHERS: dict[str, type[Teacher]] = {
    "gtn": GTN,
    "distillation": Distillation,
    "real": Real,
}
