#!/usr/bin/env bash
# Makes `.venv`: xarray, zarr-python, netCDF4 and moto at pinned versions. Does nothing when it is there and current.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=$(sha256sum ci/oracle-requirements.txt | cut -d' ' -f1)
stamp=.venv/requirements.sha256
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

python=
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
  [ -n "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$candidate && break
done
if [ -z "$python" ]; then
  echo "ci/oracle.sh: no Python 3.11 or newer with venv; install one (Debian: apt-get install python3-venv) or set PYTHON" >&2
  exit 1
fi
echo "oracle: $($python --version) → .venv"
"$python" -m venv --clear .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement ci/oracle-requirements.txt
echo "$wanted" >"$stamp"
