"""What a run is called, which settings are listed, where its metrics are drawn."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.config import Config, DatasetConfig, ModelConfig, OptimizerConfig, TrainingConfig
from convoy.tracking.presentation import LAYERS, flatten, layer_metric, metric_name, parameters, run_name

PARTS = st.from_regex(r"[a-z][a-z0-9_.]{0,12}", fullmatch=True)


def test_fields_are_named_as_on_the_command_line():
    assert flatten({"a": {"b": {"c": 1}, "d": None}, "e": {}}) == {"a.b.c": 1, "a.d": None, "e": {}}


@pytest.mark.parametrize(("rate", "shown"), [(0.05, "0.05"), (1e-5, "1e-05"), (None, "0.001")])
def test_a_run_is_named_after_what_usually_differs_also_where_the_rate_is_the_usual_one(rate, shown):
    training = TrainingConfig(optimizer=OptimizerConfig(name="adam", learning_rate=rate))
    config = Config(model=ModelConfig(name="lenet5"), dataset=DatasetConfig(name="digits"), training=training)
    assert run_name(config) == f"lenet5-digits-adam-{shown}"


def test_what_shapes_the_training_is_a_parameter_and_nothing_that_is_null_or_another_jobs():
    default = Config()
    config = replace(default, training=replace(default.training, label_smoothing=0.1))
    shown = parameters(config)
    assert shown["training.label_smoothing"] == "0.1"
    assert shown["dataset.image.height"] == str(default.dataset.image.height)
    assert {name.partition(".")[0] for name in shown} == {"model", "training", "dataset"}
    assert "None" not in shown.values()
    every = flatten(asdict(config))
    assert shown.pop("training.optimizer.learning_rate") == "0.001"  # that of Adam, where it is null
    assert all(str(every[name]) == value for name, value in shown.items())
    ours = {name for name, value in every.items() if name.startswith(("model.", "training.")) and value is not None}
    assert ours - shown.keys() == {"training.checkpoint.folder"}
    assert {name.partition(".")[0] for name in parameters(config, "tune")} == {"model", "training", "dataset", "tune"}


@given(st.lists(PARTS, min_size=1, max_size=4).map("/".join))
def test_only_system_metrics_have_a_section_of_their_own(name):
    shown = metric_name(name)
    assert shown == name if "/" not in name else shown.startswith("system/") and shown.count("/") == 1
    assert metric_name(shown) == shown


@given(st.sampled_from(LAYERS), PARTS)
def test_metrics_of_layers_are_found_again(kind, layer):
    assert layer_metric(metric_name(f"{kind}/{layer}")) == f"{kind}/{layer}"
    assert layer_metric(metric_name(f"rank_0/{layer}")) is None
    assert layer_metric(layer) is None
