#!/usr/bin/env bash
# Fuzzes targets of tests/fuzz one after the other, and tells of each how often it ran, how far it came and what it found.
#   ci/fuzz.sh SECONDS [TARGET…]      all of them by default
#   ci/fuzz.sh --keep [TARGET…]       adds what was found interesting to tests/fuzz/corpus, as little of it as reaches the same
# Needs Rust (any release) and a C++ compiler. With cargo-fuzz and a nightly compiler `cargo +nightly fuzz run --fuzz-dir tests/fuzz TARGET` looks for
# misuse of memory as well, and takes many times as long to build.
# What is found interesting gathers in target/fuzz/TARGET; a finding is left in tests/fuzz/artifacts/TARGET, and ends the target (exit 1).
set -euo pipefail
cd "$(dirname "$0")/.."
usage="usage: ci/fuzz.sh SECONDS|--keep [TARGET…]"
seconds=${1:?$usage}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(hdf5 recipe netcdf3 filters state zarr placement template)
build=$PWD/target
# The program itself, whose plans and receipts some seeds are, then the targets, whose branches are counted.
[ -x "${GRISTMILL:-$build/debug/gristmill}" ] || ${CARGO:-cargo} build --quiet
tests/fuzz/seeds.sh
RUSTC_WRAPPER=$PWD/ci/fuzz_rustc.sh CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$build ${CARGO:-cargo} build --quiet --manifest-path tests/fuzz/Cargo.toml --bins
rm -rf target/fuzz/programs && mkdir -p target/fuzz/programs
for target in "${targets[@]}"; do cp "$build/debug/$target" target/fuzz/programs/; done

# libFuzzer on a target: its flags, then folders.
fuzz() {
  local target=$1 words=(-timeout=25 -report_slow_units=25 -rss_limit_mb=2048 -max_len=65536 -artifact_prefix="tests/fuzz/artifacts/$1/")
  shift
  [ -f "tests/fuzz/$target.dict" ] && words+=(-dict="tests/fuzz/$target.dict")
  nice -n "${NICE:-19}" "target/fuzz/programs/$target" "${words[@]}" "$@"
}

# How many there are of a target: slow ones are no findings before their time is over.
findings() {
  find "tests/fuzz/artifacts/$1" -type f ! -name 'slow-unit-*' | wc -l
}

failed=()
for target in "${targets[@]}"; do
  gathered=target/fuzz/$target
  corpus=tests/fuzz/corpus/$target
  mkdir -p "$gathered" "$corpus" "tests/fuzz/seeds/$target" "tests/fuzz/artifacts/$target" "tests/fuzz/found/$target"
  if [ "$seconds" = --keep ]; then
    before=$(find "$corpus" -type f | wc -l)
    # Short ones only: they are kept for ever, and replayed by every `cargo test`.
    rm -rf target/fuzz/short && mkdir target/fuzz/short
    find "$gathered" -type f -size -5k -exec cp {} target/fuzz/short/ \;
    fuzz "$target" -merge=1 "$corpus" target/fuzz/short >"target/fuzz/$target.log" 2>&1
    echo "$target: $before files before, $(find "$corpus" -type f | wc -l) now"
    continue
  fi
  before=$(findings "$target")
  fuzz "$target" -max_total_time="$seconds" -print_final_stats=1 "$gathered" "$corpus" "tests/fuzz/found/$target" "tests/fuzz/seeds/$target" \
    >"target/fuzz/$target.log" 2>&1 || failed+=("$target")
  found=$(($(findings "$target") - before))
  awk -v target="$target" -v seconds="$seconds" -v found="$found" '
    /cov: / { for (word = 1; word < NF; word++) { if ($word == "cov:") reached = $(word + 1); if ($word == "INITED") first = reached } }
    /INITED/ { first = reached }
    /stat::number_of_executed_units/ { count = $2 }
    /stat::new_units_added/ { added = $2 }
    /stat::peak_rss_mb/ { memory = $2 }
    /stat::slowest_unit_time_sec/ { slowest = $2 }
    END { printf "%s: %s s, %d executions, %d branches reached (%d by what was kept before), %d new inputs kept, %d MB at most, slowest %d s, %d findings\n",
          target, seconds, count, reached, first, added, memory, slowest, found }' "target/fuzz/$target.log"
done
rmdir tests/fuzz/found/* 2>/dev/null || true
[ ${#failed[@]} -eq 0 ] || { echo "findings (target/fuzz/TARGET.log says more): ${failed[*]}" >&2; exit 1; }
