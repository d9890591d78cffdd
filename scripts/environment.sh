# Sourced by scripts/demo and scripts/test: makes the project's virtual environment, once, and puts it first in PATH.
# Every package must have a SHA-256 of locked/, PyTorch for the CPU too, which comes from PyTorch's own index; its other CUDA builds have none there.
#
#   DTB_VENV    where it stands (default: .venv in the project)
#   DTB_TORCH   which PyTorch build: cpu (default), cu130, which is PyPI's own on Linux, or another that PyTorch's index has
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

# Without compiling: most files are never imported, and Python compiles those that are, when they are first. Where it is told to keep nothing of
# that, each process of a cluster compiles thousands of files again, which takes a rank 5 of its 11 seconds until its first step.
unset PYTHONDONTWRITEBYTECODE
install_packages() {
    local locked=$project/locked version
    "$DTB_VENV/bin/pip" install -qq --no-compile --require-hashes --only-binary :all: -r "$locked/build.txt" || return 1
    local files=(-r "$locked/run.txt" -r "$locked/extras.txt" -r "$locked/dev.txt")
    version=$(sed -n 's/^torch==//p' "$project/constraints.txt")
    if [ "$(uname)" = Darwin ] || [ "$DTB_TORCH" = cu130 ]; then
        files+=(-r "$locked/torch.txt")
    else  # alone, so that this index is asked for nothing else; a CUDA build needs libraries of that index, in its versions
        local one=(install -qq --no-compile --constraint "$project/constraints.txt" "torch==$version+$DTB_TORCH")
        if [ "$DTB_TORCH" = cpu ]; then one=(install -qq --no-compile --no-deps --require-hashes -r "$locked/torch-cpu.txt"); fi
        "$DTB_VENV/bin/pip" "${one[@]}" 2>/dev/null ||
            "$DTB_VENV/bin/pip" "${one[@]}" --index-url "$torch_index/$DTB_TORCH" || return 1
    fi
    "$DTB_VENV/bin/pip" install -qq --no-compile --require-hashes --no-build-isolation "${files[@]}" &&
        "$DTB_VENV/bin/pip" install -qq --no-compile --no-deps --no-build-isolation --editable "$project"
}

make_environment() {
    local python wanted stamp=$DTB_VENV/.dtb-installed
    wanted=$(cat "$project/constraints.txt" "$project"/locked/*.txt "$project/pyproject.toml" "$project/setup.cfg" <(echo "$DTB_TORCH $project") | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        echo "Using the environment in $DTB_VENV (made earlier from the same requirements)."
        return
    fi
    python=$(find_python) || return 1
    echo "Making the environment in $DTB_VENV: about 2 minutes and 2 GB, once ..."
    "$python" -m venv "$DTB_VENV" && install_packages || {
        echo "The installation failed; the lines above say why. Nothing outside $DTB_VENV was changed." >&2
        return 1
    }
    echo "$wanted" >"$stamp"
}

make_environment || exit 1
export PATH=$DTB_VENV/bin:$PATH
