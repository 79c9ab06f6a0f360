#!/usr/bin/env bash
# Called by cargo in place of rustc while ci/fuzz.sh builds: counts the branches of our code and of what reads foreign bytes for us, not
# those of everything that is linked. So any compiler will do, and libraries that were built before need not be built again.
name=
previous=
for word in "$@"; do
  [ "$previous" = --crate-name ] && name=$word
  previous=$word
done
case $name in
  gristmill | hdf5_reader | hdf5_core | netcdf_reader | netcdf_core | serde_saphyr | granit_parser | recipe | template | netcdf3 | hdf5 | filters | placement | state | zarr)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
      -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0
    ;;
esac
exec "$@"
