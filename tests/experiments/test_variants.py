"""Section ``experiment`` -> configurations, or one line that says what is wrong with it."""

from pathlib import Path

import pytest

from convoy.cli.job import run_job
from convoy.config import Config
from convoy.config.loading import parse
from convoy.errors import ConfigError
from convoy.experiments.variants import variants_of

CONF = sorted(Path(__file__).parents[2].glob("conf/experiments/*.yaml"))


@pytest.fixture
def variants(tmp_path):
    def read(text, *arguments):
        (tmp_path / "experiment.yaml").write_text(text)
        return variants_of(parse("experiment", "", ["--config", str(tmp_path / "experiment.yaml"), *arguments]))

    return read


def test_each_variant_is_the_file_with_its_own_fields(variants):
    text = """
        training: {epochs: 3, seed: 5}
        tracking: {registered_model: digits}
        experiment:
          variants:
            as it is: {}
            sgd: {training.optimizer.name: sgd, training.optimizer.learning_rate: 1e-2}
            64: {training.global_batch_size: 64, model.activation: relu}
    """
    plain, sgd, batch = variants(text, "--training.epochs", "7")
    assert [variant.name for variant in (plain, sgd, batch)] == ["as it is", "sgd", "64"]
    (config,) = sgd.configs
    assert (config.training.optimizer.name, config.training.optimizer.learning_rate) == ("sgd", 0.01)
    assert (config.training.epochs, config.training.seed) == (7, 5)
    (config,) = batch.configs
    assert (config.training.global_batch_size, config.model.activation) == (64, "relu")
    assert config.training.optimizer == plain.configs[0].training.optimizer == Config().training.optimizer
    for variant in (plain, sgd, batch):
        assert variant.configs[0].tracking.registered_model is None


def test_repetitions_differ_in_the_seed_alone(variants):
    text = "experiment: {repetitions: 3, variants: {a: {}, b: {training.seed: 40}}}\n"
    a, b = variants(text)
    assert [config.training.seed for config in a.configs] == [0, 1, 2]
    assert [config.training.seed for config in b.configs] == [40, 41, 42]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{}", "experiment.variants is empty"),
        ("{variants: {}}", "experiment.variants is empty"),
        ("{variants: {a: {training.epohcs: 3}}}", "'a': unknown field 'training.epohcs'; did you mean 'training.ep"),
        ("{variants: {a: {trainin.epochs: 3}}}", "'a': unknown field 'trainin.epochs'; did you mean 'training.epochs'"),
        ("{variants: {a: {training.optimizer: sgd}}}", "did you mean 'training.optimizer.name'"),
        ("{variants: {b: {}, a: {training.epochs: 0}}}", "'a': training.epochs is 0; expected at least 1"),
        ("{variants: {a: {training.epochs: many}}}", "training.epochs"),
        (
            "{variants: {a: {training.optimizer.name: adamm}}}",
            "'a': training.optimizer.name is 'adamm'; expected sgd, ",
        ),
        ("{variants: {a: {training.epochs: null}}}", "'a': training.epochs is None; expected a whole number"),
        ("{variants: {a: {}, b: {training.epochs: 5}}}", "'a' and 'b' are the same"),
        ("{variants: {a: {training.epochs: 3}, a: {}}}", "'a' twice in one section, in lines 1 and 1"),
        ("{variants: {a: }}", "experiment.variants"),
        ("{variants: {a: 3}}", "experiment.variants"),
        ("{variants: [a]}", "experiment.variants"),
        ("{variants: {a/b: {}}}", "name of a variant in experiment.variants is 'a/b'"),
        ("{variants: {a: {}}, repetitions: 0}", "experiment.repetitions is 0; expected 1 or more"),
        ("{variants: {a: {dataset.name: mnist}}}", "'a' changes dataset.name, which is the same for all variants"),
        ("{variants: {a: {training.resume: abc}}}", "'a' changes training.resume"),
        ("{variants: {a: {experiment.repetitions: 2}}}", "'a' changes experiment.repetitions"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_variant(tmp_path, capsys, section, said):
    (tmp_path / "experiment.yaml").write_text(f"experiment: {section}\n")

    def job(config):
        return {"variants": len(variants_of(config))}

    assert run_job("experiment", job, "", ["--config", str(tmp_path / "experiment.yaml")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize("field", ["resume: abc", "find_learning_rate: true"])
def test_what_only_one_training_can_do_is_refused(variants, field):
    with pytest.raises(ConfigError, match=r"jobs/train\.py"):
        variants(f"training: {{{field}}}\nexperiment: {{variants: {{a: {{}}}}}}\n")


@pytest.mark.parametrize("file", CONF, ids=lambda file: file.stem)
def test_every_ready_experiment_is_whole(file):
    config = parse("experiment", "", ["--config", str(file)])
    assert len(variants_of(config)) >= 2
    assert config.tracking.experiment == file.stem
    assert f"jobs/experiment.py --config conf/experiments/{file.name}" in file.read_text()


def test_there_are_the_experiments_that_the_documentation_names():
    assert {file.stem for file in CONF} >= {"optimizers-mlp", "optimizers-lenet5", "activations", "imbalance"}
