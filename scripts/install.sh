#!/bin/sh
# Install aios on Linux or WSL: find a Python, then run scripts/install.py. Running it again is safe.
#
#     sh scripts/install.sh [FOLDER] [--yes] [--uninstall]
#
# FOLDER: absolute path of the environment; --yes: do not ask for confirmation; --uninstall: delete what aios has installed.
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
    echo 'No suitable Python was found. aios needs 64-bit Python 3.10 to 3.14 with venv.'
    if command -v uv >/dev/null 2>&1; then
        echo 'uv can install one for your user: uv python install 3.12'
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
