#!/usr/bin/env bash
# OPeNDAP against real servers: pydap and xpublish serve real files; what is baked through them must equal
# what is baked from the files themselves:
#
#   ci/opendap.sh BINARY          installs pydap and xpublish (PyPI) into .venv-opendap of the repository, starts them on loopback, compares, stops
#   ci/opendap.sh BINARY quick    the two small sets only, well under a minute: COADS, and IMOS, whose attributes hold quotes
#
# Where ci/oracle.sh has made .venv, only what is not in there is installed.
# VENV names another place of the virtual environment; PYDAP_PORT and XPUBLISH_PORT choose ports (8051, 8052).
# The shared data are expected at ../shared (GRISTMILL_SHARED overrides).
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
[ $# -eq 1 ] || [ "${2:-}" = quick ] || { sed -n '2,12p' "$0" >&2; exit 2; }
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

servers=('pydap[server]==3.5.9' xpublish==0.5.2 xpublish-opendap==0.2.0 setuptools)
oracle=$repository/.venv/bin/python
packages() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
install() {
    if "$oracle" -c 'import netCDF4, xarray, zarr' 2>/dev/null; then
        # A layer on the other one: what that has counts as installed here.
        "$oracle" -m venv --clear --without-pip "$venv"
        packages "$oracle" > "$(packages "$venv/bin/python")/oracle.pth"
        "$oracle" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check \
            --constraint "$repository/ci/oracle-requirements.txt" "${servers[@]}"
    else
        python3 -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${servers[@]}" netCDF4 xarray 'zarr>=3'
    fi
}
"$venv/bin/python" -c 'import pydap, xpublish, xpublish_opendap, netCDF4, xarray, zarr' 2>/dev/null || install

mkdir "$place/served"
cp "$shared/data/coads-climatology/coads_climatology.cdf" "$place/served/coads.nc"
if [ "${2:-}" != quick ]; then
    for file in "$shared"/data/cmip5-hadgem2-mrsos-day/*.nc; do
        cp "$file" "$place/served/$(basename "$file")"
    done
fi
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
