#!/usr/bin/env bash
# The code host's side of the bot against what GitHub publishes: every webhook example of Octokit is read and decided on, and every
# request that the tests of the bot make is valid by GitHub's own OpenAPI description, which Prism serves on loopback.
#   ci/forge.sh              needs node and npm; fetches ~100 MB into target/forge-tools the first time
# Ends with the kinds of requests that were shown to Prism.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=target/forge-tools
examples=$tools/node_modules/@octokit/webhooks-examples/api.github.com/index.json
description=$tools/node_modules/@octokit/openapi/generated/api.github.com.json
if [ ! -x "$tools/node_modules/.bin/prism" ]; then
  mkdir -p "$tools" && echo '{"private": true}' > "$tools/package.json"
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$tools" \
    @octokit/webhooks-examples@7.6.1 @octokit/openapi@23.0.2 @stoplight/prism-cli@5.16.0
  # Of the descriptions one is used; the others are 370 MB.
  find "$tools/node_modules/@octokit/openapi/generated" -name '*.json' ! -name api.github.com.json -delete
  rm -rf "$tools"/node_modules/@octokit/webhooks-examples/ghes-*
fi
work=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$tools/node_modules/.bin/prism" mock --errors --host 127.0.0.1 --port "$port" --verboseLevel error "$description" > "$work/prism.log" 2>&1 &
prism=$!
trap 'kill "$prism" 2>/dev/null || true; rm -rf "$work"' EXIT
api=http://127.0.0.1:$port
for _ in $(seq 600); do
  curl --silent --fail --output /dev/null "$api/zen" && break
  kill -0 "$prism" 2>/dev/null || { cat "$work/prism.log" >&2; exit 1; }
  sleep 1
done
# A judge that refuses nothing proves nothing.
refused() {
  status=$(curl --silent --output /dev/null --write-out '%{http_code}' "$@")
  [ "$status" -ge 400 ] || { echo "ci/forge.sh: Prism takes what is not valid: $*" >&2; exit 1; }
}
refused --json '{"name": "without a commit"}' "$api/repos/sea/ice/check-runs"
refused --json '{"content": "applause"}' "$api/repos/sea/ice/issues/comments/3/reactions"
refused "$api/repos/sea/ice/no-such-thing"

export GRISTMILL_WEBHOOK_EXAMPLES=$PWD/$examples GRISTMILL_PRISM=127.0.0.1:$port GRISTMILL_PRISM_LOG=$work/requests
# One server per step of a story would show Prism the same requests hundreds of times.
cargo test -q --test bot_forge -- --include-ignored --skip killed_at_every_step --nocapture 2>&1 | grep -v '^running\|^$'
sed -E 's#/sea/[a-z]+#/{owner}/{repo}#; s#/[0-9a-f]{40}/#/{sha}/#; s#/[0-9]+(/| )#/{number}\1#g; s#collaborators/[^/]+#collaborators/{login}#; s# [0-9]+$##' \
  "$work/requests" | sort | uniq -c | sort -rn
echo "ci/forge.sh: $(wc -l < "$work/requests") requests are valid by GitHub's description of its interface"
