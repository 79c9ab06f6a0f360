#!/usr/bin/env bash
# Builds the feature `netcdf-c` against Debian's netCDF-C and HDF5 and runs its tests.
set -euo pipefail
cd "$(dirname "$0")/.."
ci/packages.sh /usr/include/netcdf.h:libnetcdf-dev h5cc:libhdf5-dev
exec cargo test --locked --features netcdf-c --test netcdf_c "$@"
