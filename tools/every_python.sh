#!/bin/sh
# Runs the tests on every Python from 3.11 up that is on the machine, each in its own environment
# below .venvs/, and says which interpreters it left out and why.
set -u

here=$(dirname "$0")
results=$(mktemp)
trap 'rm -f "$results"' EXIT
status=0

run_tests() { # version, path
    folder=.venvs/$1
    PYTHON=$2 "$here/environment.sh" "$folder" test </dev/null || return 1
    "$folder/bin/python" -m pytest --quiet </dev/null
}

found=$("$here/pythons.sh")
done_versions="|"
while IFS='	' read -r verdict version path reason; do
    if [ "$verdict" = skip ]; then
        echo "skipped $path: $reason" >>"$results"
        continue
    fi
    case "$done_versions" in
        *"|$version|"*)
            echo "skipped $path: Python $version was tested already" >>"$results"
            continue
            ;;
    esac
    done_versions="$done_versions$version|"
    echo "== Python $version ($path)"
    if run_tests "$version" "$path"; then
        echo "passed  Python $version" >>"$results"
    else
        echo "failed  Python $version ($path)" >>"$results"
        status=1
    fi
done <<END
$found
END

echo "== every Python"
sort "$results"
if [ "$done_versions" = "|" ]; then
    echo "error: no Python from 3.11 up was found; see the reasons above" >&2
    status=1
fi
exit $status
