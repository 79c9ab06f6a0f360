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
ci/packages.sh cc:gcc nginx:nginx-light
python3 -c 'import venv, ensurepip' 2>/dev/null || ci/packages.sh /no/such/python-venv:python3-venv
ci/oracle.sh
export PATH="$PWD/.venv/bin:$PATH"

say "build (release)"
cargo build --release --locked
binary=$PWD/target/release/gristmill

say "servers"
if servers=$(ci/servers.sh start); then
  trap 'ci/servers.sh stop' EXIT
  eval "$servers"
else
  echo "ci/test.sh: ci/servers.sh could not start the test servers" >&2
  exit 1
fi

say "cargo test (release)"
export GRISTMILL_PYTHON=$PWD/.venv/bin/python
cargo test --release --locked

say "the oracle tests itself"
.venv/bin/python tests/oracle/selftest.py
[ "$part" = quick ] && exit 0

if [ -d "${GRISTMILL_SHARED:-../shared}/data" ]; then
  say "oracle: ten real sets × chunking × format × place"
  .venv/bin/python tests/oracle/run.py "$binary"
else
  say "oracle: SKIPPED: no shared data at ${GRISTMILL_SHARED:-../shared}/data (set GRISTMILL_SHARED)"
fi

say "20 kills"
.venv/bin/python tests/oracle/kill.py "$binary"

say "all passed"
