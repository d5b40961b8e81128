#!/usr/bin/env bash
# Init script for Databricks runtimes without Horovod and Petastorm (16.4 LTS ML and later): installs Convoy, and the packages
# that the runtime lacks, from a wheelhouse in a Volume, without network access. `make wheelhouse RUNTIME=17.3` makes that
# folder for a runtime, with this script in it.
#
#   CONVOY_WHEELHOUSE  its folder, e.g. /Volumes/main/convoy/convoy/wheelhouse (the cluster's spark_env_vars set it)
#   CONVOY_PYTHON      the Python to install into (default: the cluster's)
#
# On wrong input the exit status is 2, one line says how to fix it, and the cluster does not start.
set -euo pipefail

PYTHON=${CONVOY_PYTHON:-/databricks/python/bin/python}
WHEELHOUSE=${CONVOY_WHEELHOUSE:-}

fail() {
    echo "error: $1" >&2
    exit 2
}

[ -n "$WHEELHOUSE" ] || fail "CONVOY_WHEELHOUSE is not set; set it to the folder of the wheelhouse, in the cluster's spark_env_vars"
[ -x "$PYTHON" ] || fail "there is no Python at $PYTHON; set CONVOY_PYTHON to the cluster's"
for file in built.txt requirements.txt; do
    [ -f "$WHEELHOUSE/$file" ] || fail "$WHEELHOUSE is not a wheelhouse: $file is missing; type make wheelhouse, and copy dist/wheelhouse there"
done

# Horovod's wheel works only with the Python and the TensorFlow that it was built for.
has=$("$PYTHON" - <<'PYTHON'
import importlib.metadata, platform, sys

found = {str(each.metadata["Name"]).replace("_", "-"): each.version for each in importlib.metadata.distributions()}
tensorflow = next((found[name] for name in ("tensorflow", "tensorflow-cpu") if name in found), "none")
print(f"python={sys.version_info[0]}.{sys.version_info[1]}", f"tensorflow={tensorflow}", f"machine={platform.machine()}", sep="\n")
PYTHON
)
[ "$has" = "$(cat "$WHEELHOUSE/built.txt")" ] ||
    fail "the wheelhouse is for $(paste -sd' ' "$WHEELHOUSE/built.txt"), and this cluster has $(paste -sd' ' <<<"$has"); type make wheelhouse RUNTIME=<the cluster's>, and copy dist/wheelhouse there (see docs/databricks.md)"

# Without dependencies: requirements.txt lists all of them, and pip must not replace Spark.
"$PYTHON" -m pip install --quiet --disable-pip-version-check --no-input --no-index --no-deps \
    --find-links "$WHEELHOUSE" --requirement "$WHEELHOUSE/requirements.txt"
# Other packages of the runtime may require versions that were replaced: the log of the init script says which.
"$PYTHON" -m pip check --disable-pip-version-check >&2 || echo "warning: the packages above have requirements that are not met" >&2
# Petastorm is not imported here: with a current PyArrow it works only through Convoy.
"$PYTHON" -c 'import convoy, horovod.tensorflow
from importlib.metadata import version
print(", ".join(f"{title} {version(name)}" for title, name in [("Convoy", "convoy-ml"), ("Horovod", "horovod"), ("Petastorm", "petastorm")]))'
