#!/bin/sh
# Lists the Pythons on this machine, one a line, tab-separated, each interpreter once:
#   ok    VERSION  PATH          it can make an environment for failsafe
#   skip  VERSION  PATH  REASON  it cannot, and why (VERSION is "-" when it does not run)
# With PYTHON set, only that one is looked at. Tested versions come first, then any other.
set -u

oldest=3.11

# What a candidate says of itself: version, old|new, whole|bare, and where it is installed.
questions="
import sys
try:
    import ensurepip, venv
    whole = 'whole'
except ImportError:
    whole = 'bare'
age = 'new' if sys.version_info >= tuple(map(int, '$oldest'.split('.'))) else 'old'
print('%d.%d.%d %s %s %s' % (sys.version_info[:3] + (age, whole, getattr(sys, 'base_prefix', sys.prefix))))
"

candidates() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" || echo "$PYTHON"
        return
    fi
    for name in python3.13 python3.12 python3.11 python3 python3.14 python3.15 python3.16 python; do
        (
            IFS=:
            for folder in $PATH; do
                [ -x "$folder/$name" ] && echo "$folder/$name"
            done
        )
    done
    for installed in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/*/bin/python; do
        [ -x "$installed" ] && echo "$installed"
    done
}

seen="|"
candidates | while IFS= read -r path; do
    if ! answer=$("$path" -c "$questions" 2>&1 </dev/null); then
        printf 'skip\t-\t%s\tdoes not run: %s\n' "$path" "$(printf '%s\n' "$answer" | head -n 1)"
        continue
    fi
    read -r version age whole prefix <<END
$answer
END
    case "$seen" in *"|$version $prefix|"*) continue ;; esac
    seen="$seen$version $prefix|"
    if [ "$age" = old ]; then
        printf 'skip\t%s\t%s\tolder than %s\n' "$version" "$path" "$oldest"
    elif [ "$whole" = bare ]; then
        printf 'skip\t%s\t%s\thas no venv and ensurepip; on Debian and Ubuntu: apt-get install python%s-venv\n' \
            "$version" "$path" "${version%.*}"
    else
        printf 'ok\t%s\t%s\n' "$version" "$path"
    fi
done
