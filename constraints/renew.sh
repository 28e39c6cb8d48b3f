#!/bin/sh
# Write the constraint files of this directory anew: with what packages.txt has besides, and else the versions
# that they had; with the newest versions that fit together: sh constraints/renew.sh --upgrade
# Needs uv. A newer patch release of Airflow is a change of its version below.
set -eu
upgrade=${1:-}
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# renew <file> <Airflow's version> <first Python that is out of scope> [what else this Airflow needs, words with spaces between]
renew() {
    bound="python_full_version < '$3'"
    # The bound keeps uv from looking for versions that fit later Pythons. It is the same on every
    # line of the answer and says nothing there, so it goes again.
    {
        echo "apache-airflow==$2"
        printf '%s\n' ${4:-}
        sed '/^#/d' packages.txt
    } | sed "/./s/\$/ ; $bound/" >"$work/wanted"
    if [ -e "$1" ]; then cp "$1" "$work/$1"; fi
    uv pip compile --quiet $upgrade --universal --python-version 3.11 --no-header --no-annotate \
        --output-file "$work/$1" - <"$work/wanted" >/dev/null
    {
        echo "# Versions that fit together with Airflow $2 on Python >=3.11,<$3;" \
            "to renew: sh constraints/renew.sh"
        sed "s/ ; $bound\$//; s/ and $bound//g; s/$bound and //g" "$work/$1"
    } >"$1"
}

renew airflow-3.3.txt 3.3.2 3.14
# What these were made with, and 3.3 says or mends: FastAPI from 0.137 on can't read the models of 3.2, and from 0.132 on
# refuses the requests of 3.0; dag.test() doesn't wait for what svcs 26 starts later; ObjectStoragePath of 3.0 can't be
# made on universal-pathlib 0.3.
renew airflow-3.2.txt 3.2.2 3.14 'fastapi<0.137 svcs<26'
renew airflow-3.1.txt 3.1.8 3.14 'svcs<26'
renew airflow-3.0.txt 3.0.6 3.13 'fastapi<0.132 svcs<26 universal-pathlib<0.3'
renew airflow-2.11.txt 2.11.2 3.13
