#!/usr/bin/env bash
# OPeNDAP against real servers: pydap and xpublish serve real files; what is baked through them must equal
# what is baked from the files themselves. By hand, and in CI where its minutes are worth it:
#
#   ci/opendap.sh BINARY       installs pydap and xpublish (PyPI) into .venv-opendap of the repository, starts them on loopback, compares, stops
#
# VENV names another place of the virtual environment; PYDAP_PORT and XPUBLISH_PORT choose ports (8051, 8052).
# The shared data are expected at ../shared (GRISTMILL_SHARED overrides).
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
[ $# -eq 1 ] || { sed -n '2,9p' "$0" >&2; exit 2; }
binary=$(realpath "$1")
venv=${VENV:-$repository/.venv-opendap}
shared=${GRISTMILL_SHARED:-$repository/../shared}
pydap_port=${PYDAP_PORT:-8051}
xpublish_port=${XPUBLISH_PORT:-8052}
place=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$place"
}
trap stop EXIT

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import pydap, xpublish, xpublish_opendap, netCDF4, xarray, zarr' 2>/dev/null ||
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pydap[server]==3.5.9' xpublish==0.5.2 xpublish-opendap==0.2.0 netCDF4 xarray 'zarr>=3' setuptools

mkdir "$place/served"
cp "$shared/data/coads-climatology/coads_climatology.cdf" "$place/served/coads.nc"
for file in "$shared"/data/cmip5-hadgem2-mrsos-day/*.nc; do
    cp "$file" "$place/served/$(basename "$file")"
done
cp "$shared"/data/imos-hfradar-turq-hourly/*.nc "$place/served/"

"$venv/bin/python" "$repository/ci/opendap.py" pydap "$place/served" "$pydap_port" > "$place/pydap.log" 2>&1 &
pids+=($!)
"$venv/bin/python" "$repository/ci/opendap.py" serve "$place/served" "$xpublish_port" > "$place/xpublish.log" 2>&1 &
pids+=($!)
for port in "$pydap_port" "$xpublish_port"; do
    for _ in $(seq 300); do
        if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue 2; fi
        sleep 0.2
    done
    echo "ci/opendap.sh: nothing listens at $port" >&2
    tail -n 20 "$place"/*.log >&2
    exit 1
done
"$venv/bin/python" "$repository/ci/opendap.py" compare "$binary" "$place" "$pydap_port" "$xpublish_port"
