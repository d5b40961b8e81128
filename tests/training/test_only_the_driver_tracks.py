"""A tracking store that only the driver can reach: what ranks get says nothing of it."""

from dataclasses import replace
from pathlib import Path

from pyspark import cloudpickle

from convoy.config import Config, TrackingConfig, TrainingConfig
from convoy.models.builder import build
from convoy.training.distributed.launch import task_of


def test_a_task_has_neither_the_stores_address_nor_its_credentials():
    tracking = TrackingConfig(uri="http://anna:hunter2@tracking.example:5000", registry_uri="http://registry.example")
    config = replace(Config(), tracking=tracking, training=TrainingConfig(num_workers=0))
    sent = cloudpickle.dumps(task_of(None, config, Path("/data/v"), build, "run"))
    assert b"/data/v" in sent
    for secret in (b"tracking.example", b"hunter2", b"registry.example"):
        assert secret not in sent
