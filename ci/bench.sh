#!/usr/bin/env bash
# The physical limit, xarray + dask threads and gristmill, side by side on a workload of the shared benchmark.
#   ci/bench.sh W1 small [ROUNDS] [PEER…]        workloads W1…W5, size small or full, peers: limit xr-threads new
# BENCH_DATA, BENCH_OUT (default /tmp/bench-data, /tmp/bench-out) move the data; GRISTMILL_BENCH_MEMORY is --memory (default 1GiB).
set -euo pipefail
cd "$(dirname "$0")/.."
workload=${1:?usage: ci/bench.sh WORKLOAD SIZE [ROUNDS] [PEER…]} size=${2:?small or full} rounds=${3:-1}
shift 2; [ $# -eq 0 ] || shift
bench=$(cd "${GRISTMILL_SHARED:-../shared}/bench" && pwd)
export BENCH_DATA=${BENCH_DATA:-/tmp/bench-data} BENCH_OUT=${BENCH_OUT:-/tmp/bench-out} GRISTMILL_BENCH_MEMORY=${GRISTMILL_BENCH_MEMORY:-1GiB}

ci/packages.sh /usr/include/libdeflate.h:libdeflate-dev /usr/include/blosc.h:libblosc-dev cc:gcc
ci/oracle.sh
cargo build --release --locked
python=$PWD/.venv/bin/python

# run_peers.sh looks for its Python under $PEERS/main.
export PEERS=$BENCH_OUT/peers
mkdir -p "$PEERS"
ln -sfn "$PWD/.venv" "$PEERS/main"

case $workload in W1 | W2) source=oisst all=365 part=100 ;; W3) source=era5 all=24 part=6 ;; W4) source=nc3 all=60 part=15 ;; W5) source=many all=5000 part=1000 ;;
*) echo "ci/bench.sh: no workload $workload (W1…W5)" >&2; exit 2 ;; esac
[ "$size" = full ] && part=$all
if [ "$(find "$BENCH_DATA/$source" -name '*.nc' 2>/dev/null | wc -l)" -lt "$part" ]; then
  echo "generating $part files of $source in $BENCH_DATA" >&2
  (cd "$bench" && PYTHONDONTWRITEBYTECODE=1 "$python" make_data.py --only "$source" --scale "$(awk "BEGIN { print $part / $all }")" --out "$BENCH_DATA" >&2)
fi

[ $# -gt 0 ] || set -- limit xr-threads new
results=$BENCH_OUT/results.jsonl
touch "$results"
before=$(wc -l <"$results")
PYTHONDONTWRITEBYTECODE=1 NEW_TOOL="$python $PWD/ci/bench_recipe.py $PWD/target/release/gristmill" bash "$bench/run_peers.sh" "$workload" "$size" "$rounds" "$@"
tail -n "+$((before + 1))" "$results" >"$BENCH_OUT/latest.jsonl"
PYTHONDONTWRITEBYTECODE=1 "$python" "$bench/summary.py" "$BENCH_OUT/latest.jsonl"
