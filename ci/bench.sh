#!/usr/bin/env bash
# The physical limit, the best peers and gristmill, side by side on a workload of the shared benchmark: medians of interleaved rounds.
#   ci/bench.sh W1 small [ROUNDS] [PEER…]        workloads W1…W5, size small or full; the peers are listed in ci/bench.py
# BENCH_DATA, BENCH_OUT (default /tmp/bench-data, /tmp/bench-out) move the data. Needs an idle machine to mean anything.
set -euo pipefail
cd "$(dirname "$0")/.."
workload=${1:?usage: ci/bench.sh WORKLOAD SIZE [ROUNDS] [PEER…]} size=${2:?small or full} rounds=${3:-3}
shift 2; [ $# -eq 0 ] || shift
bench=$(cd "${GRISTMILL_SHARED:-../shared}/bench" && pwd)
export BENCH_DATA=${BENCH_DATA:-/tmp/bench-data} BENCH_OUT=${BENCH_OUT:-/tmp/bench-out}

ci/packages.sh /usr/include/libdeflate.h:libdeflate-dev /usr/include/blosc.h:libblosc-dev cc:gcc ncrcat:nco gdalmdimtranslate:gdal-bin
ci/oracle.sh
cargo build --release --locked
python=$PWD/.venv/bin/python

case $workload in W1 | W2) source=oisst all=365 part=100 ;; W3) source=era5 all=24 part=6 ;; W4) source=nc3 all=60 part=15 ;; W5) source=many all=5000 part=1000 ;;
*) echo "ci/bench.sh: no workload $workload (W1…W5)" >&2; exit 2 ;; esac
[ "$size" = full ] && part=$all
if [ "$(find "$BENCH_DATA/$source" -name '*.nc' 2>/dev/null | wc -l)" -lt "$part" ]; then
  echo "generating $part files of $source in $BENCH_DATA" >&2
  (cd "$bench" && PYTHONDONTWRITEBYTECODE=1 "$python" make_data.py --only "$source" --scale "$(awk "BEGIN { print $part / $all }")" --out "$BENCH_DATA" >&2)
fi

mkdir -p "$BENCH_OUT/bin" /tmp/bench-out # (one of the shared peers writes a list there)
[ "$BENCH_OUT/bin/limit" -nt "$bench/limit.c" ] || cc -O3 -march=native -o "$BENCH_OUT/bin/limit" "$bench/limit.c" -ldeflate -lblosc -lpthread
binary=$PWD/target/release/gristmill program=$PWD/ci/bench.py
cd "$bench" # where the shared scripts expect to be started
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$program" "$binary" "$workload" "$size" "$rounds" "$@"
