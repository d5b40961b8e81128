"""Horovod's settings."""

from convoy.config import HorovodConfig
from convoy.training.distributed.horovod_env import driver_environment, horovod_environment


def test_horovod_pauses_between_rounds_and_has_its_own_defaults_otherwise():
    assert horovod_environment(HorovodConfig()) == {"HOROVOD_CYCLE_TIME": "1.0"}
    assert horovod_environment(HorovodConfig(cycle_time_ms=None)) == {}


def test_settings_have_horovods_names_and_units():
    config = HorovodConfig(fusion_threshold_mb=0.5, cycle_time_ms=2.5, timeline="/tmp/timeline.json")
    assert horovod_environment(config) == {
        "HOROVOD_FUSION_THRESHOLD": "524288",
        "HOROVOD_CYCLE_TIME": "2.5",
        "HOROVOD_TIMELINE": "/tmp/timeline.json",
    }


DRIVER = {
    "PATH": "/driver/bin",
    "PYTHONPATH": "/driver/src",
    "HOME": "/home/driver",
    "SPARK_HOME": "/driver/spark",
    "PYSPARK_PYTHON": "./env/bin/python",
    "AWS_SECRET_ACCESS_KEY": "canary",
    "NCCL_DEBUG": "INFO",
    "MY_PATH": "/shared",
}


def test_ranks_elsewhere_get_settings_and_credentials_but_no_paths_of_the_drivers_machine():
    assert driver_environment(DRIVER, local=True) == DRIVER
    kept = {"AWS_SECRET_ACCESS_KEY": "canary", "NCCL_DEBUG": "INFO", "MY_PATH": "/shared"}
    assert driver_environment(DRIVER, local=False) == kept


def test_ranks_elsewhere_find_files_that_were_shipped_in_their_working_folder():
    shipped = driver_environment(DRIVER, local=False, shipped=["networks.zip", "/tmp/more.zip"])
    assert shipped["PYTHONPATH"] == "./networks.zip:./more.zip"
