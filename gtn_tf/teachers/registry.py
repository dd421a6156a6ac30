"""Teachers and curricula by name."""

from __future__ import annotations

from gtn_tf.registry import Registry

# Name -> subclass of `base.Teacher`.
TEACHERS = Registry(
    {
        "gtn": "gtn_tf.teachers.gtn:GTN",
        "closed_loop": "gtn_tf.teachers.closed_loop:ClosedLoop",
        "distillation": "gtn_tf.teachers.distillation:Distillation",
        "state_actions": "gtn_tf.teachers.state_actions:StateActions",
        "real": "gtn_tf.teachers.real_data:Real",
    }
)

# Name -> `curricula.Curriculum`.
CURRICULA = Registry(
    {
        "none": "gtn_tf.teachers.curricula:NONE",
        "all_shuffled": "gtn_tf.teachers.curricula:ALL_SHUFFLED",
        "shuffled_batch": "gtn_tf.teachers.curricula:SHUFFLED_BATCH",
        "full": "gtn_tf.teachers.curricula:FULL",
    }
)

# The targets of what is shown: one class each; learned distributions that are stored
# beside the curriculum; distributions that the generator makes with its images
# (Appendix F).
LABELS = ("hard", "learned", "generated")
