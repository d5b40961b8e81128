"""Sessions that keep nothing and let nothing be set, as serverless compute: its error is that of Spark's client."""

import pytest
from pyspark.errors import PySparkException

from convoy.cluster.session_facts import application_id, cached, is_connect, release, setting, settings


class Conf:
    """Configuration of a session, of which only some properties are available."""

    def __init__(self, **available):
        self.available = available

    def get(self, name, default=None):
        if name not in self.available:
            raise PySparkException(f"[CONFIG_NOT_AVAILABLE] Configuration {name} is not available.")
        return self.available[name]

    def set(self, name, value):
        self.get(name)
        self.available[name] = value

    def unset(self, name):
        self.set(name, "")


def connect_class(name):
    """Return a class that is told from a classic one as Spark Connect's are: by its module."""
    return type(name, (), {"__module__": f"pyspark.sql.connect.{name.lower()}"})


@pytest.fixture
def serverless():
    session = connect_class("Session")()
    session.conf, session.session_id = Conf(**{"spark.sql.shuffle.partitions": "8"}), "1234"
    return session


def test_rows_that_are_not_kept_are_computed_again(capsys):
    rows = connect_class("DataFrame")()

    def refuse():
        raise PySparkException("[NOT_SUPPORTED_WITH_SERVERLESS] PERSIST TABLE is not supported on serverless compute.")

    rows.cache = rows.unpersist = refuse
    assert cached(rows) is rows
    assert "keeps no intermediate results" in capsys.readouterr().err
    release(rows)


def test_properties_that_are_not_available_keep_their_values(serverless):
    wanted = {"spark.sql.shuffle.partitions": "2", "spark.sql.execution.arrow.maxRecordsPerBatch": "16"}
    with settings(serverless, wanted):
        assert setting(serverless, "spark.sql.shuffle.partitions") == "2"
        assert setting(serverless, "spark.sql.execution.arrow.maxRecordsPerBatch", "10000") == "10000"
    assert serverless.conf.available == {"spark.sql.shuffle.partitions": "8"}
    assert application_id(serverless) == "1234"


def test_a_classic_session_reports_what_it_refuses():
    class Session:
        conf = Conf()

    assert not is_connect(Session())
    with pytest.raises(PySparkException), settings(Session(), {"spark.x": "1"}):
        pass
