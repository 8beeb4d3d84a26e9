#!/bin/sh
# Makes the virtual environment FOLDER, if it is not there, and installs failsafe with EXTRA into it.
#   tools/environment.sh FOLDER cli|test|bench|dev
# PYTHON names the interpreter to use; without it the first one that will do is taken.
# Leaves FOLDER/.has-EXTRA behind (and the marks of the extras inside it), so that make knows.
set -eu

folder=$1
extra=$2
here=$(dirname "$0")

say() { printf '%s\n' "$*"; }
stop() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

find_python() {
    found=$("$here/pythons.sh")
    python=$(printf '%s\n' "$found" | awk -F '\t' '$1 == "ok" { print $3; exit }')
    [ -n "$python" ] && return
    printf '%s\n' "$found" | awk -F '\t' '$1 == "skip" { print "  " $3 ": " $4 }' >&2
    stop "no usable Python 3.11 or newer was found. On Debian and Ubuntu: apt-get install python3 python3-venv." \
        "One in another place is named by PYTHON=/path/to/python3.12."
}

if ! "$folder/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    find_python
    say "making the environment $folder with $("$python" --version 2>&1) ($python)"
    "$python" -m venv --clear "$folder" || stop "$python could not make an environment in $folder; see above."
fi

say "installing failsafe-llm[$extra] into $folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extra]" || stop \
    "pip could not install failsafe-llm[$extra]; see above. Without a way to the package registry, set PIP_INDEX_URL" \
    "to a mirror that this machine reaches, or PIP_FIND_LINKS to a folder of wheels."

case $extra in
    dev | bench) included="$extra test cli" ;;
    test) included="test cli" ;;
    *) included=$extra ;;
esac
for name in $included; do
    touch "$folder/.has-$name"
done
