#!/usr/bin/env bash
# Makes the Python environment in .venv: torch first, then this project and its development tools. Run it as often as you
# like: when nothing changed it ends within a second, and an install that was cut off is done again.
#
#   bash setup_environment.sh
#
# Settings (.env.local or environment): PYTHON, TORCH_SPEC, TORCH_INDEX_URL, SITE_MODULES; see .env.local.example.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
case ${1:-} in -h | --help) sed -n '2,/^\[/s/^# \{0,1\}//p' setup_environment.sh; exit 0 ;; esac
. slurm/env.sh

venv=.venv
torch_spec=${TORCH_SPEC:-torch==2.13.0}
wanted=$(printf '%s\n' "$torch_spec" "${TORCH_INDEX_URL:-}" "$PWD" | cat - pyproject.toml)
if [ -f $venv/.installed ] && [ "$(cat $venv/.installed)" = "$wanted" ] && [ -x $venv/bin/python ]; then
  exit 0
fi

fit() { "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 10))' >/dev/null 2>&1; }
python=""
for candidate in ${PYTHON:-} python3.12 python3.11 python3.13 python3.10 python3.14 python3 python; do
  if command -v "$candidate" >/dev/null && fit "$candidate"; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "no Python of 3.10 or newer was found; install one, or set PYTHON=/path/to/python3 (on a cluster also SITE_MODULES) in .env.local" >&2
  exit 2
fi

clear=""
if [ -e $venv/.installing ] || { [ -e $venv ] && ! fit $venv/bin/python; }; then
  clear=--clear # cut off half-way, or its Python is gone
fi
echo "making the Python environment in $PWD/$venv with $("$python" --version); this takes some minutes once" >&2
if ! "$python" -m venv $clear $venv 2>$venv.log && ! "$python" -m virtualenv $clear $venv 2>>$venv.log; then
  cat $venv.log >&2
  echo "$python cannot make a virtual environment; install its venv module (Debian, Ubuntu: apt-get install python3-venv) or: $python -m pip install virtualenv" >&2
  rm -f $venv.log
  exit 2
fi
rm -f $venv.log $venv/.installed
touch $venv/.installing

# Offline, each retry would be a warning of several lines.
pip() { $venv/bin/python -m pip --disable-pip-version-check --quiet --quiet "$@" 2>&1 | sed '/^ *WARNING: Retrying/d' >&2; }
give_up() {
  echo "$1 could not be installed; is this machine online (on a cluster: the login node)? TORCH_SPEC and TORCH_INDEX_URL choose the torch build" >&2
  exit 1
}
echo "installing $torch_spec" >&2
pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$torch_spec" || give_up "$torch_spec"
echo "installing the other packages" >&2
pip install --editable '.[dev]' || give_up "this project"
$venv/bin/python -c 'import datasets, numpy, pyarrow, rustbpe, safetensors, tiktoken, torch, yaml; print("ready: torch", torch.__version__, "with CUDA" if torch.cuda.is_available() else "without a GPU")' >&2
printf '%s\n' "$wanted" >$venv/.installed
rm -f $venv/.installing
