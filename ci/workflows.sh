#!/usr/bin/env bash
# What `gristmill feedstock init` writes, for every code host: zizmor finds nothing, the schemas of workflows hold.
#   ci/workflows.sh [GRISTMILL]        the binary; target/debug/gristmill without it
# One finding is exempted in the file itself: zizmor calls every `workflow_run` dangerous (docs/design/019-bot-plane-1.md).
set -euo pipefail
cd "$(dirname "$0")/.."
gristmill=$(realpath "${1:-target/debug/gristmill}")
tools=target/workflow-tools
if [ ! -x "$tools/bin/zizmor" ] || [ ! -x "$tools/bin/check-jsonschema" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet "zizmor==1.32.0" "check-jsonschema==0.39.0"
fi
tools=$(realpath "$tools")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for forge in github forgejo gitlab; do
  for kind in "" --staging; do
    folder=$work/$forge$kind
    # shellcheck disable=SC2086
    "$gristmill" --quiet feedstock init "$folder" --forge "$forge" $kind --id sea-ice --maintainer ada
    "$gristmill" --quiet feedstock lint "$folder" 2>/dev/null
  done
done
# With Gristmill's own action in place of written-out steps, and that action itself.
"$gristmill" --quiet feedstock init "$work/action" --id sea-ice --maintainer ada --action "gristmill/gristmill/ci@$(printf 'a%.0s' $(seq 40))"
mkdir -p "$work/as-action" && cp ci/action.yml "$work/as-action/action.yml"
(cd "$work/action" && "$tools/bin/zizmor" --offline --no-progress --persona pedantic .)
(cd "$work/as-action" && "$tools/bin/zizmor" --offline --no-progress --persona pedantic action.yml)
"$tools/bin/check-jsonschema" --builtin-schema vendor.github-actions ci/action.yml
"$tools/bin/check-jsonschema" --builtin-schema vendor.github-workflows "$work"/action/.github/workflows/*.yml
github=$work/github
[ "$(ls "$github/.github/workflows" | wc -l)" = 4 ] || { echo "ci/workflows.sh: not four workflows" >&2; exit 1; }
(cd "$github" && "$tools/bin/zizmor" --offline --no-progress --persona pedantic .)
# zizmor looks below .github only; the same rules hold for Forgejo's.
mkdir -p "$work/as-github/.github" && cp -r "$work/forgejo/.forgejo/workflows" "$work/as-github/.github/"
(cd "$work/as-github" && "$tools/bin/zizmor" --offline --no-progress .)
"$tools/bin/check-jsonschema" --builtin-schema vendor.github-workflows "$github"/.github/workflows/*.yml "$work"/forgejo/.forgejo/workflows/*.yml
"$tools/bin/check-jsonschema" --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci "$work/gitlab/.gitlab-ci.yml"
# A check that cannot fail proves nothing: the classic mistakes must be found.
mkdir -p "$work/bad/.github/workflows"
printf 'name: x\non: pull_request_target\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - uses: actions/checkout@v4\n      - run: echo "${{ github.event.pull_request.title }}"\n' > "$work/bad/.github/workflows/x.yml"
if (cd "$work/bad" && "$tools/bin/zizmor" --offline --no-progress . >/dev/null 2>&1); then
  echo "ci/workflows.sh: zizmor found nothing in a workflow full of mistakes" >&2
  exit 1
fi
echo "ci/workflows.sh: the workflows of all code hosts hold"
