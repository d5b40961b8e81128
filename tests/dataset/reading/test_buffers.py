"""Arrays that are used again must not be anybody else's."""

import numpy as np
import pytest
import tensorflow as tf

from convoy.dataset.reading.buffers import Buffers


@pytest.mark.parametrize(
    ("shape", "dtype"), [((3, 5), "uint8"), ((0, 4), "float32"), ((2, 3, 1), "float64"), ((), "int64")]
)
def test_arrays_have_the_shape_and_type_and_are_aligned(shape, dtype):
    array = Buffers().empty(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.size == 0 or array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_an_array_is_used_again_when_nothing_refers_to_it_or_to_a_part_of_it():
    buffers = Buffers()
    array = buffers.empty((8, 8), "uint8")
    place, part = array.ctypes.data, array[2:4]
    del array
    other = buffers.empty((8, 8), "uint8")
    assert not np.shares_memory(part, other)
    del part
    assert buffers.empty((4, 8), "uint8").ctypes.data == place
    larger = buffers.empty((100, 100), "uint8")
    larger[:] = 1
    assert not np.shares_memory(larger, other)


def test_arrays_that_are_all_held_are_all_different():
    buffers = Buffers()
    held = [buffers.empty((10,), "int32") for _ in range(100)]
    for value, array in enumerate(held):
        array[:] = value
    assert all((array == value).all() for value, array in enumerate(held))


def test_tensors_keep_their_values():
    buffers = Buffers()

    def elements():
        for value in range(50):
            array = buffers.empty((64, 64), "uint8")
            array[:] = value
            yield array

    dataset = tf.data.Dataset.from_generator(elements, output_signature=tf.TensorSpec((64, 64), tf.uint8)).prefetch(4)
    tensors = list(dataset)  # held all at once: none may have been overwritten
    assert [np.unique(tensor.numpy()).tolist() for tensor in tensors] == [[value] for value in range(50)]
