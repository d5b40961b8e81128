"""What is wrong with arguments and files, in one line that names it."""

import pytest

from convoy.config.loading import parse
from convoy.errors import ConfigError


def refused(*arguments):
    with pytest.raises(ConfigError) as error:
        parse("job", "A job.", list(arguments))
    return str(error.value)


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("training.epoch", "training.epochs"),  # a prefix of the field is no abbreviation of it
        ("training.epohcs", "training.epochs"),
        ("dataset.image.heigth", "dataset.image.height"),
        ("training.optimizer.learning_rat", "training.optimizer.learning_rate"),
        ("trainning.epochs", "training.epochs"),
        ("sorce.path", "source.path"),
        ("evaluation.topk", "evaluation.top_k"),
    ],
)
def test_unknown_field_names_the_nearest_on_the_command_line_and_in_yaml(yaml, given, nearest):
    text = "3"
    for name in reversed(given.split(".")):
        text = f"{{{name}: {text}}}"
    for arguments in ((f"--{given}", "3"), (f"--{given}=3",), yaml(text)):
        message = refused(*arguments)
        assert given in message
        assert f"did you mean {nearest!r}?" in message


def test_unknown_field_unlike_any_other_points_to_help(yaml):
    for arguments in (("--zzz", "1"), yaml("zzz: 1\n")):
        message = refused(*arguments)
        assert "zzz" in message
        assert "--help" in message


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("training.epochs", "many", "a whole number"),
        ("training.epochs", "2.5", "a whole number"),
        ("training.num_workers", "null", "a whole number"),
        ("training.optimizer.learning_rate", "fast", "a number, or null"),
        ("training.optimizer.name", "adamm", "sgd, momentum, nesterov, adam, "),
        ("training.horovod.reduction", "adasum", "average"),
        ("source.kind", "folders", "folder"),
        ("dataset.image.resize", "squash", "stretch"),
        ("evaluation.split", "tests", "train, validation or test"),
        ("tracking.report", "perhaps", "true or false"),
        ("scoring.columns", "path", "a list, or null"),
        ("spark.conf", "fast", "names with values"),
    ],
)
def test_wrong_type_is_named_with_the_field_the_value_and_what_is_expected(yaml, field, value, expected):
    section, _, name = field.rpartition(".")
    nested = f"{name}: {value}"
    for part in reversed(section.split(".")):
        nested = f"{part}: {{{nested}}}"
    for arguments in ((f"--{field}", value), yaml(nested)):
        message = refused(*arguments)
        assert message.startswith(f"{field} is ")
        assert value.replace("null", "None") in message
        assert expected in message.partition("expected ")[2]
        assert "\n" not in message


def test_value_out_of_range_in_a_file_is_named(yaml):
    assert "training.epochs is 0; expected at least 1" in refused(*yaml("training: {epochs: 0}\n"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("training: {epochs: 3, seed: 1, epochs: 4}\n", "epochs"),
        ("training:\n  epochs: 3\nmodel:\n  name: lenet5\ntraining: {}\n", "training"),
        ("model:\n  layers:\n    - Dense: {units: 3, units: 4}\n", "units"),
    ],
)
def test_a_name_that_stands_twice_in_a_section_is_refused(yaml, text, name):
    assert f"{name!r} twice in one section" in refused(*yaml(text))


@pytest.mark.parametrize("text", ["training: 5\n", "training: [1]\n", "training: {optimizer: adam}\n"])
def test_section_that_holds_no_fields_is_refused(yaml, text):
    assert "training" in refused(*yaml(text))


@pytest.mark.parametrize("arguments", [("epochs",), ("--training.epochs",), ("--config",), ("-x",)])
def test_stray_arguments_are_refused(arguments):
    assert arguments[0].lstrip("-") in refused(*arguments)


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_missing_file_is_named(tmp_path, name):
    assert str(tmp_path / name) in refused("--config", str(tmp_path / name))


@pytest.mark.parametrize("content", [b"- a\n- b\n", b"a: [b\n", b"just text\n", b"\xff\xfe\0", b"a: \x01\n"])
def test_file_that_is_no_configuration_is_named(tmp_path, content):
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    assert str(file) in refused("--config", str(file))
