#!/usr/bin/env bash
# Fuzzes every target of tests/fuzz, one after the other, and keeps what is new and small.
#   ci/fuzz.sh SECONDS [TARGET…]     needs `cargo install cargo-fuzz` and a nightly toolchain
# Beginnings come from tests/fuzz/seeds.sh; a finding is left in tests/fuzz/artifacts/TARGET/ and ends the target.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?usage: ci/fuzz.sh SECONDS [TARGET…]}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(hdf5 recipe netcdf3 filters state zarr placement template)
tests/fuzz/seeds.sh
failed=()
for target in "${targets[@]}"; do
  corpus=tests/fuzz/target/corpus/$target
  mkdir -p "$corpus" "tests/fuzz/corpus/$target"
  dictionary=tests/fuzz/$target.dict
  words=(-max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -malloc_limit_mb=300 -max_len=65536 -print_final_stats=1)
  [ -f "$dictionary" ] && words+=(-dict="$dictionary")
  nice -n 19 cargo +nightly fuzz run --fuzz-dir tests/fuzz "$target" "$corpus" "tests/fuzz/corpus/$target" "tests/fuzz/seeds/$target" -- "${words[@]}" || failed+=("$target")
done
[ ${#failed[@]} -eq 0 ] || { echo "findings in: ${failed[*]}" >&2; exit 1; }
