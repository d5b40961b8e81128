#!/usr/bin/env bash
# Resolves the newest versions that fit the ranges of setup.py and of constraints/*.in, and writes them, with the SHA-256
# of each file, into constraints.txt and constraints/*.txt. The versions of Databricks runtimes are given by their .in files.
#
#   tools/lock.sh            write all of them
#   tools/lock.sh NAME ...   write only these: default, dev, docs, release, ui, stock, dbr-17.3-ml, ...
set -euo pipefail
unset CDPATH
cd "${BASH_SOURCE[0]%/*}/.."

PYTHONS="3.13 3.12 3.11" # of the default environment; the newest first

# lock OUTPUT PYTHONS ARGUMENTS ...: a comment names the Pythons, since tools/setup.sh has to know them.
lock() {
    local output=$1 pythons=$2 draft
    shift 2
    draft=$(mktemp)
    echo "resolving $output ..."
    .venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
        --no-annotate --python-version "${pythons##* }" --output-file "$draft" "$@"
    {
        echo "# Written by \`make lock\`: do not edit."
        echo "# python: $pythons"
        # What holds everywhere is not repeated in each line.
        sed -e "s/python_full_version < '3.14' and //; s/ and python_full_version < '3.14'//" \
            -e "s/ and sys_platform == 'linux'//; s/ ; sys_platform == 'linux'//" "$draft"
    } >"$output"
    rm "$draft"
}

[ $# != 0 ] || set -- default dev docs release ui stock $(cd constraints && ls dbr-*.in | sed 's/\.in$//')
for name; do
    case $name in
    default)
        lock constraints.txt "$PYTHONS" --universal setup.py constraints/build.in --extra cpu --extra java
        ;;
    dev | docs | release | ui)
        lock "constraints/$name.txt" "$PYTHONS" --universal "constraints/$name.in" --constraints constraints.txt
        ;;
    *)
        python=$(sed -n 's/^# python: //p' "constraints/$name.in")
        lock "constraints/$name.txt" "${python:?"constraints/$name.in names no Python"}" "constraints/$name.in"
        ;;
    esac
done
