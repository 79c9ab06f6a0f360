#!/usr/bin/env bash
# What Gristmill finds out about real S3 servers, and does there: the probe, a bake, an append, and two runs at once, on moto, moto behind
# a proxy that drops conditions, s3s-fs, and OpenStack Swift. By hand, and in CI where its minute is worth it:
#
#   ci/stores.sh BINARY [NAME...]     NAME: moto, stripped, s3s-fs, swift; without one, all that can be started
#
# The servers are those of ci/servers.sh, which says what it takes for s3s-fs (S3S_FS) and Swift (INSTALL_SWIFT=1) to be among them.
# The page docs/design/009-lease-and-store-abilities.md keeps what this printed.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 1 ] || { sed -n '2,8p' "$0" >&2; exit 2; }
binary=$(realpath "$1")
shift
wanted=("$@")
python=${PYTHON:-$repository/.venv/bin/python}
place=$(mktemp -d)
chmod 755 "$place"
trap 'stop' EXIT

is_wanted() { [ ${#wanted[@]} -eq 0 ] || [[ " ${wanted[*]} " == *" $1 "* ]]; }

stop() {
    "$repository/ci/servers.sh" stop "$place/servers" || true
    rm -rf "$place"
}

try() { # NAME ENDPOINT KEY SECRET
    is_wanted "$1" || return 0
    printf '\n== %s (%s)\n' "$1" "$2"
    AWS_ENDPOINT_URL=$2 AWS_ACCESS_KEY_ID=$3 AWS_SECRET_ACCESS_KEY=$4 "$python" "$repository/ci/stores.py" "$binary" "$1" || failed+=("$1")
}

failed=()
PYTHON=$python "$repository/ci/servers.sh" start "$place/servers" > /dev/null
. "$place/servers/env"
try moto "$GRISTMILL_TEST_S3" test test
try stripped "$GRISTMILL_TEST_S3_STRIPPED" test test
[ -z "${GRISTMILL_TEST_S3S_FS:-}" ] || try s3s-fs "$GRISTMILL_TEST_S3S_FS" test test
[ -z "${GRISTMILL_TEST_SWIFT:-}" ] || try swift "$GRISTMILL_TEST_SWIFT" test:tester testing
[ ${#failed[@]} -eq 0 ] || { echo "not as expected: ${failed[*]}" >&2; exit 1; }
