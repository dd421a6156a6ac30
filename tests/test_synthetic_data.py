"""What a teacher shows, as files that others read."""

import numpy as np
import problems
import tensorflow as tf
import tensorflow_datasets as tfds

from gtn_tf.export import synthetic_data

T, B, K = 3, problems.BATCH_SIZE, problems.NUM_CLASSES
NAMES = ("cat", "dog", "bird")


def collect(seed=0, **options):
    case = problems.build_case(precision="float32", num_steps=T, **options)
    return case, synthetic_data.collect(case.problem.teacher, seed)


def test_it_is_every_batch_in_order():
    case, data = collect(teacher="gtn")
    for step in range(T):
        images, targets = case.problem.teacher.batch(step, tf.constant([0, 0]))
        np.testing.assert_allclose(data.images[step], images, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(data.targets[step], targets)
    np.testing.assert_array_equal(data.labels, np.arange(T * B).reshape(T, B) % K)


def test_the_seed_is_that_of_the_presentation():
    _, one = collect(seed=1, curriculum="shuffled_batch")
    _, same = collect(seed=1, curriculum="shuffled_batch")
    others = [collect(seed=s, curriculum="shuffled_batch")[1] for s in (2, 3, 4)]
    np.testing.assert_array_equal(one.images, same.images)
    assert any(not np.array_equal(one.images, other.images) for other in others)


def test_npz_has_data_and_rates(tmp_path):
    case, data = collect()
    rates = case.problem.hyperparameters.values()
    path = tmp_path / "synthetic.npz"
    synthetic_data.save_npz(path, data, rates)
    loaded = np.load(path, allow_pickle=False)
    assert set(loaded) == {"images", "targets", "labels", "learning_rate", "momentum"}
    np.testing.assert_array_equal(loaded["images"], data.images)
    np.testing.assert_array_equal(loaded["labels"], data.labels)
    np.testing.assert_array_equal(loaded["momentum"], rates["momentum"])
    assert [p.name for p in tmp_path.iterdir()] == ["synthetic.npz"]


def test_tfrecords_open_as_a_data_set(tmp_path):
    _, data = collect()
    folder = tmp_path / "tfds"
    for _ in range(2):  # the second replaces the first
        synthetic_data.save_tfrecords(folder, data, "small_teacher", NAMES)
    assert [p.name for p in tmp_path.iterdir()] == ["tfds"]
    assert [p.name for p in folder.iterdir()] == ["small_teacher"]
    builder = tfds.builder_from_directory(folder / "small_teacher" / "1.0.0")
    assert builder.info.features["label"].names == list(NAMES)
    examples = list(tfds.as_numpy(builder.as_dataset(split="train")))
    assert len(examples) == builder.info.splits["train"].num_examples == T * B
    images = np.stack([example["image"] for example in examples])
    np.testing.assert_array_equal(images, data.images.reshape(images.shape))
    labels = [example["label"] for example in examples]
    np.testing.assert_array_equal(labels, data.labels.reshape(-1))
    steps = [example["inner_step"] for example in examples]
    assert steps == sorted(steps) and set(steps) == set(range(T))
    by_name = tfds.load("small_teacher", data_dir=folder, split="train")
    assert len(by_name) == T * B
