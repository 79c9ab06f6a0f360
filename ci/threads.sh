#!/usr/bin/env bash
# What a second thread gives: best of ROUNDS interleaved runs with 1 and 2 threads, and what two cores give a plain loop beside them.
#   ci/threads.sh SIZE [ROUNDS] [WORKLOAD…]      size small or full; workloads W1 W2 W3
# Needs what ci/bench.sh has made (data in BENCH_DATA, default /tmp/bench-data) and target/release/gristmill (BINARY names another).
# Prints per workload: seconds on 1 and 2 threads, their ratio, the loop's ratio at the same time, and their quotient; and the serial
# share of the best 2-thread run by its profile. Exit 1 if a ratio is below 1.8 times what the loop had of its 2.
set -euo pipefail
cd "$(dirname "$0")/.."
size=${1:?usage: ci/threads.sh small|full [ROUNDS] [WORKLOAD…]} rounds=${2:-5}
shift; [ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- W1 W2 W3
export BENCH_DATA=${BENCH_DATA:-/tmp/bench-data}
bench=$(cd "${GRISTMILL_SHARED:-../shared}/bench" && pwd)
binary=$(realpath "${BINARY:-target/release/gristmill}")
python=$(command -v "${PYTHON:-$PWD/.venv/bin/python}" || command -v python3)
here=$PWD work=$(mktemp -d "${BENCH_OUT:-/tmp}/gristmill-threads.XXXXXX")
trap 'rm -rf "$work"' EXIT

seconds() { # COMMAND…: its wall time
    local begun ended
    begun=$(date +%s.%N)
    "$@" >/dev/null
    ended=$(date +%s.%N)
    echo "$ended - $begun" | bc
}

# A second of counting in one process, then in two: 2.00 if two cores are free.
spin() { "$python" -c 'for _ in range(12_000_000): pass'; }
two_spins() { spin & local other=$!; spin; wait "$other"; }

lower() { if [ -z "$1" ] || [ "$(echo "$2 < $1" | bc)" = 1 ]; then echo "$2"; else echo "$1"; fi; }

failed=0
for workload in "$@"; do
    memory=384MiB; [ "$workload" = W2 ] && memory=640MiB
    # Writes the recipe; "true" stands in for the binary.
    (cd "$bench" && PYTHONDONTWRITEBYTECODE=1 "$python" "$here/ci/bench_recipe.py" "$(type -P true)" "$workload" "$size" "$work/$workload")
    bake() { # THREADS
        rm -rf "$work/out" "$work/out.gristmill"
        "$binary" run "$work/$workload.recipe/recipe.yaml" --target "$work/out" --memory "$memory" --threads "$1" --quiet --profile "$work/trace-$1.json"
    }
    one="" two="" spin_one="" spin_two=""
    for _ in $(seq "$rounds"); do
        one=$(lower "$one" "$(seconds bake 1)")
        spin_one=$(lower "$spin_one" "$(seconds spin)")
        two=$(lower "$two" "$(seconds bake 2)")
        spin_two=$(lower "$spin_two" "$(seconds two_spins)")
    done
    ratio=$(echo "scale=3; $one / $two" | bc) cores=$(echo "scale=3; 2 * $spin_one / $spin_two" | bc)
    printf '%s %s: 1 thread %.2f s, 2 threads %.2f s: %.2f ×; a plain loop %.2f ×; of what there was %.0f %%\n' \
        "$workload" "$size" "$one" "$two" "$ratio" "$cores" "$(echo "100 * $ratio / $cores" | bc -l)"
    "$python" ci/timeline.py "$work/trace-2.json" | sed 's/^/    /'
    [ "$(echo "$ratio >= 0.9 * $cores" | bc)" = 1 ] || failed=1
done
exit $failed
