#!/usr/bin/env bash
# Installs what the tests need and runs them all: the one command of the README. Under 30 minutes on two cores.
#   ci/test.sh          everything
#   ci/test.sh quick    no oracle, no kills
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:-all}
started=$SECONDS
say() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - started)); }

say "what the tests need"
ci/packages.sh cc:gcc
python3 -c 'import venv, ensurepip' 2>/dev/null || ci/packages.sh /no/such/python-venv:python3-venv
ci/oracle.sh
export PYTHONDONTWRITEBYTECODE=1

# Servers are fetched while the compiler works: Azurite alone is 190 MB.
installed=$(mktemp)
PYTHON=$PWD/.venv/bin/python ci/servers.sh install > "$installed" 2>&1 &
installing=$!

say "build (release)"
cargo build --release --locked
binary=$PWD/target/release/gristmill

say "servers"
wait "$installing" || { cat "$installed" >&2; exit 1; }
rm -f "$installed"
servers=$(mktemp -d) && chmod 755 "$servers" # nginx reads it as another user
trap 'ci/servers.sh stop "$servers"; rm -rf "$servers"' EXIT
PYTHON=$PWD/.venv/bin/python ci/servers.sh start "$servers"
set -a
. "$servers/env"
set +a

say "cargo test (release)"
export GRISTMILL_PYTHON=$PWD/.venv/bin/python
cargo test --release --locked --no-fail-fast

say "the oracle, the archives and the test data, tested without Gristmill"
.venv/bin/python tests/oracle/selftest.py
.venv/bin/python tests/archives/check.py
if [ -d "${GRISTMILL_SHARED:-../shared}/data" ]; then .venv/bin/python tests/data/make.py --check; fi

say "moved chunks"
.venv/bin/python tests/oracle/moved.py "$binary"
say "requests and bytes asked of a web server"
.venv/bin/python tests/oracle/network.py "$binary" requests
[ "$part" = quick ] && exit 0

if [ -d "${GRISTMILL_SHARED:-../shared}/data" ]; then
  say "oracle: ten real sets × chunking × format × place"
  .venv/bin/python tests/oracle/run.py "$binary"
else
  say "oracle: SKIPPED: no shared data at ${GRISTMILL_SHARED:-../shared}/data (set GRISTMILL_SHARED)"
fi

say "Icechunk repositories, opened with PyPI's icechunk"
.venv/bin/python tests/oracle/icechunk_check.py "$binary"

say "20 kills"
.venv/bin/python tests/oracle/kill.py "$binary"

say "all passed"
