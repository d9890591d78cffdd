# Sourced by scripts/demo and scripts/test: makes the project's virtual environment, once, and puts it first in PATH.
#
#   DTB_VENV    where it stands (default: .venv in the project)
#   DTB_TORCH   which PyTorch build: cpu (default), or a CUDA one such as cu130
#   PYTHON      which Python to make it from (default: the first of python3, python3.13, python3.12, python3.11 that is 3.11 or newer)

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DTB_VENV=${DTB_VENV:-$project/.venv}
DTB_TORCH=${DTB_TORCH:-cpu}
torch_index=https://download.pytorch.org/whl

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer is needed and was not found. Install it, or name it: PYTHON=/path/to/python3.12 bash $0" >&2
    return 1
}

install_torch() {
    local version
    version=$(sed -n 's/^torch==//p' "$project/constraints.txt")
    if [ "$(uname)" = Darwin ]; then
        "$DTB_VENV/bin/pip" install -qq "torch==$version"
    else  # the build is part of the version, so that a plain `torch` cannot bring gigabytes of CUDA along
        "$DTB_VENV/bin/pip" install -qq "torch==$version+$DTB_TORCH" 2>/dev/null ||
            "$DTB_VENV/bin/pip" install -qq "torch==$version+$DTB_TORCH" --extra-index-url "$torch_index/$DTB_TORCH"
    fi
}

make_environment() {
    local python wanted stamp=$DTB_VENV/.dtb-installed
    wanted=$(cat "$project/constraints.txt" "$project/pyproject.toml" "$project/setup.cfg" <(echo "$DTB_TORCH $project") | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        echo "Using the environment in $DTB_VENV (made earlier from the same requirements)."
        return
    fi
    python=$(find_python) || return 1
    echo "Making the environment in $DTB_VENV: about 2 minutes and 2 GB, once ..."
    "$python" -m venv "$DTB_VENV" && install_torch &&
        "$DTB_VENV/bin/pip" install -qq --constraint "$project/constraints.txt" --editable "$project[dev]" || {
        echo "The installation failed; the lines above say why. Nothing outside $DTB_VENV was changed." >&2
        return 1
    }
    echo "$wanted" >"$stamp"
}

make_environment || exit 1
export PATH=$DTB_VENV/bin:$PATH
