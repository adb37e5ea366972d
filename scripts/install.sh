#!/bin/sh
# aios for Linux and WSL: finds a Python, then scripts/install.py does the rest. Running it again is harmless.
#
#     sh scripts/install.sh [FOLDER] [--yes]
#
# FOLDER: where the environment is made, in full; --yes: ask nothing.
set -u
unset PYTHONHOME PYTHONPATH
CDPATH='' cd -- "$(dirname -- "$0")/.." || exit 1

suits() {
    command -v "$1" >/dev/null 2>&1 && "$1" scripts/suitable_python.py 2>/dev/null
}

find_python() {
    for python in python3.12 python3.13 python3.11 python3.10 python3.14 python3; do
        if suits "$python"; then return 0; fi
    done
    return 1
}

agreed() {
    for argument in "$@"; do
        if [ "$argument" = --yes ]; then return 0; fi
    done
    printf 'Do it now? [y/N] '
    answer=
    read -r answer
    case $answer in [yY] | [yY][eE][sS]) return 0 ;; esac
    return 1
}

get_python() {
    echo 'No Python that aios could live on was found: 64-bit, 3.10 to 3.14, with venv.'
    if command -v uv >/dev/null 2>&1; then
        echo 'uv, which is installed, can bring one for your user: uv python install 3.12'
        agreed "$@" && uv python install 3.12 && python=$(uv python find --system 3.12) && suits "$python" && return 0
    fi
    echo 'Install one, then run this again:'
    if command -v apt-get >/dev/null 2>&1; then
        echo '    sudo apt-get install python3 python3-venv'
    elif command -v dnf >/dev/null 2>&1; then
        echo '    sudo dnf install python3.12'
    else
        echo '    https://www.python.org/downloads/'
    fi
    return 1
}

find_python || get_python "$@" || exit 1
exec "$python" scripts/install.py "$@"
