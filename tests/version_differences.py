"""Tests that some supported versions of a library cannot pass, with the reason.

Each entry gives the versions as a requirement, such as ``keras<3.9``. With other versions the tests run.
"""

import inspect
from collections.abc import Iterable
from importlib import metadata

import pytest
from packaging.requirements import Requirement

_EMPTY_OUTPUT = "builds layers with an empty output: Convoy refuses such networks, but names another layer, or no sizes"

DIFFERENCES: dict[tuple[str, str], tuple[str, ...]] = {
    ("keras<3.15", _EMPTY_OUTPUT): (
        "jobs/test_bad_input.py::test_geometry_that_the_network_cannot_take",
        "jobs/test_describe_command.py::test_what_the_user_can_mend_is_one_line_and_status_2[arguments4",
        *(
            f"models/architectures/test_architecture_limits.py::test_what_an_architecture_cannot_do_is_refused_in_one_line[options{n}"
            for n in (10, 11, 12)
        ),
        "models/architectures/test_architecture_limits.py::test_the_shortest_sides_that_are_stated_are_the_shortest_that_fit",
        "models/summary/test_shape_checks.py::test_architectures_say_it_too",
        "models/summary/test_shape_checks.py::test_sizes_are_those_of_keras",
        *(
            f"models/summary/test_shape_checks.py::test_what_keras_refuses_names_the_layer_the_numbers_and_what_fits[<lambda>-{said}"
            for said in (
                r"layer 'c' \\(Conv2D\\): 4x4 with a 5x5 filter at stride 1",
                r"layer 'c' \\(Conv2D\\): 2x2 with a 3x3 filter",
                r"layer 'c' \\(MaxPooling2D\\): 1x1 with a 2x2 window",
                "dilation 3: 7 wide",
                r"layer 'c' \\(Dense\\): .*units=0",
            )
        ),
        *(
            f"models/test_builder.py::test_image_that_does_not_fit_names_the_layer_and_what_reaches_it[{case}"
            for case in ("lenet5-4-", "lenet5-5-", "lenet5-12-", "mnist_cnn-")
        ),
    ),
    ("mlflow>=3,<3.1", "looks for the files in a run's folder model in its logged model only"): (
        "jobs/test_end_to_end.py::test_the_run_tells_what_the_network_is_and_its_model_is_found_beside_that",
    ),
    ("keras<3.4", "does not read nested networks and losses of Keras 2"): (
        *(
            f"field/test_foreign_models.py::test_files_of_keras_2_give_what_keras_2_computed[{name}]"
            for name in ("softmax.h5", "softmax", "logit.h5")
        ),
        "field/test_foreign_models.py::test_models_that_mlflow_logged_with_keras_2_are_read_without_their_pickles",
        "field/test_foreign_models.py::test_an_imported_model_is_scored_and_served_with_all_that_was_stated",
    ),
    ("keras<3.9", "does not concatenate inputs of size 1 along the channels"): (
        "models/architectures/test_architectures.py::test_any_size_and_number_of_channels[inception_v3-small-shape19]",
    ),
    ("keras<3.5", "converts inputs of these types to float32"): (
        "models/test_builder.py::test_samples_of_every_type_are_normalised[float16]",
        "models/test_builder.py::test_samples_of_every_type_are_normalised[float64]",
    ),
    ("keras==3.2.1", "cannot load a Lambda layer with an output_shape, even without safe mode"): (
        "tracking/test_package_code.py::test_a_lambda_is_refused_and_does_not_run",
    ),
    ("keras<3.9", "does not have the layers that the result is compared with"): (
        "training/input/test_augmentation_options.py::test_cutout_agrees_with_keras",
        "training/input/test_augmentation_options.py::test_flips_and_crops_agree_with_keras",
        "training/input/test_augmentation_options.py::test_mixup_agrees_with_keras",
        "training/input/test_augmentation_options.py::test_rotation_interpolates_leaves_black_corners_and_agrees_with_keras",
    ),
    ("keras<3.5", "cannot write a Bidirectional layer to a legacy HDF5 file"): (
        "models/pretrained/test_transfer.py::test_a_last_layer_of_another_name_starts_anew",
        "models/pretrained/test_transfer.py::test_links_out_of_the_file_are_not_followed",
        *(
            f"models/pretrained/test_transfer.py::{test}[{kind}, older]"
            for test in (
                "test_the_same_network_gets_the_same_weights",
                "test_weights_of_another_shape_are_refused_with_both",
                "test_where_the_classes_differ_the_last_layer_alone_starts_anew",
            )
            for kind in ("weights", "whole")
        ),
    ),
    ("keras<3.9", "writes weight files without layer names, so the message differs"): (
        "models/pretrained/test_transfer.py::test_a_layer_that_is_missing_is_named",
    ),
    ("mlflow<3", "has no pages of logged models"): (
        "tracking/test_descriptions.py::test_model_run_and_version_know_of_each_other_and_of_the_evaluation",
    ),
    ("pillow<12.1", "ignores transparency in images of 1 bit"): (
        "images/test_formats.py::test_few_bits_of_grey_span_the_whole_range[1]",
    ),
}
"""(versions, what they do) -> the beginnings of test ids, relative to ``tests``."""


def applies(versions: str) -> bool:
    """Return whether the installed version of a library is among ``versions``, a requirement such as ``keras<3.9``."""
    requirement = Requirement(versions)
    return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)


def skip_by_version(items: Iterable[pytest.Item]) -> None:
    """Mark the tests to be skipped that the installed versions cannot pass."""
    for (versions, why), tests in DIFFERENCES.items():
        if applies(versions):
            skip = pytest.mark.skip(reason=f"{versions} {why}")
            for item in items:
                if item.nodeid.removeprefix("tests/").startswith(tests):
                    item.add_marker(skip)


def clear_session() -> None:
    """Call ``keras.backend.clear_session``, without garbage collection where Keras has the option."""
    import keras

    options = (
        {"free_memory": False} if "free_memory" in inspect.signature(keras.backend.clear_session).parameters else {}
    )
    keras.backend.clear_session(**options)
