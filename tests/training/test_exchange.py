"""Horovod's settings."""

import pytest

from convoy.config import HorovodConfig
from convoy.errors import ClusterError
from convoy.training.exchange import check_reduction, horovod_environment


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


def test_adasum_is_refused_where_horovod_has_no_mpi():
    check_reduction(HorovodConfig(), lambda: False)
    check_reduction(HorovodConfig(reduction="adasum"), lambda: True)
    with pytest.raises(ClusterError, match=r"adasum.*MPI.*HOROVOD_WITH_MPI=1.*average") as refused:
        check_reduction(HorovodConfig(reduction="adasum"), lambda: False)
    assert "\n" not in str(refused.value)
