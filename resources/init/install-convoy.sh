#!/usr/bin/env bash
# Init script of a Databricks cluster whose runtime has neither Horovod nor Petastorm: installs Convoy and what the runtime
# lacks of it from a wheelhouse in a Volume, without a network. `make wheelhouse` makes that folder, with this script in it.
#
#   CONVOY_WHEELHOUSE  its folder, e.g. /Volumes/main/convoy/convoy/wheelhouse (the cluster's spark_env_vars set it)
#   CONVOY_PYTHON      the Python to install into; the cluster's, unless set
#
# The exit status is 2 when something has to be mended, and the cluster does not start.
set -euo pipefail

PYTHON=${CONVOY_PYTHON:-/databricks/python/bin/python}
WHEELHOUSE=${CONVOY_WHEELHOUSE:-}

fail() {
    echo "error: $1" >&2
    exit 2
}

[ -n "$WHEELHOUSE" ] || fail "CONVOY_WHEELHOUSE is not set; set it to the wheelhouse's folder in the cluster's spark_env_vars"
[ -x "$PYTHON" ] || fail "there is no Python at $PYTHON; set CONVOY_PYTHON to the cluster's"
for file in built.txt requirements.txt; do
    [ -f "$WHEELHOUSE/$file" ] || fail "$WHEELHOUSE is no wheelhouse, $file is missing; type make wheelhouse, and copy dist/wheelhouse there"
done

# Horovod is compiled: it works with the Python and the TensorFlow that it was built with.
has=$("$PYTHON" - <<'PYTHON'
import importlib.metadata, platform, sys

found = {str(each.metadata["Name"]).replace("_", "-"): each.version for each in importlib.metadata.distributions()}
tensorflow = next((found[name] for name in ("tensorflow", "tensorflow-cpu") if name in found), "none")
print(f"python={sys.version_info[0]}.{sys.version_info[1]}", f"tensorflow={tensorflow}", f"machine={platform.machine()}", sep="\n")
PYTHON
)
[ "$has" = "$(cat "$WHEELHOUSE/built.txt")" ] ||
    fail "the wheelhouse is for $(paste -sd' ' "$WHEELHOUSE/built.txt"), and this cluster has $(paste -sd' ' <<<"$has"); make one for it (see docs/databricks.md)"

# Without dependencies: requirements.txt has all of them, and Spark is not pip's to replace.
"$PYTHON" -m pip install --quiet --disable-pip-version-check --no-input --no-index --no-deps \
    --find-links "$WHEELHOUSE" --requirement "$WHEELHOUSE/requirements.txt"
# The runtime's own packages may ask for others than these: worth knowing when one of them fails.
"$PYTHON" -m pip check --disable-pip-version-check >&2 || echo "warning: these packages do not fit each other" >&2
"$PYTHON" -c 'import convoy, horovod, petastorm; print(f"Convoy {convoy.__version__}, Horovod {horovod.__version__}, Petastorm {petastorm.__version__}")'
