#!/usr/bin/env bash
# What must hold before a change is shown to anybody: format, lints, documentation, layers, file lengths, licences.
#   ci/check.sh            release profile: the C code in dependencies is built once for this and for ci/test.sh
#   PROFILE=dev ci/check.sh    where the dev profile is already built
set -uo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-release}
failed=()
step() {
  local name=$1
  shift
  printf '== %s\n' "$name"
  "$@" || failed+=("$name")
}

file_lengths() {
  local long
  long=$(find src -name '*.rs' -exec wc -l {} + | awk '$2 != "total" && $1 > 500 { print "  " $2 " has " $1 " lines; split it by meaning (limit 500)" }')
  [ -z "$long" ] || { echo "$long"; return 1; }
}
documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --quiet --profile "$profile" --locked --no-deps; }
scripts() {
  local script
  for script in ci/*.sh .ci/run; do bash -n "$script" || return 1; done
  python3 -m compileall -q tests ci >/dev/null
}

step "cargo fmt" cargo fmt --all -- --check
step "file lengths" file_lengths
step "scripts parse" scripts
step "clippy" cargo clippy --quiet --profile "$profile" --locked --all-targets -- -D warnings
step "documentation" documentation
step "layers" cargo test --quiet --profile "$profile" --locked --test layers
if command -v cargo-deny >/dev/null; then
  step "cargo deny" cargo deny --all-features check licenses bans sources
else
  echo "== cargo deny: NOT RUN, it is not installed (cargo install --locked cargo-deny)"
fi

[ ${#failed[@]} -eq 0 ] && { echo "all checks hold"; exit 0; }
printf 'failed: %s\n' "${failed[@]}" >&2
exit 1
