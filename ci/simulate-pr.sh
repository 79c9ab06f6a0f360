#!/usr/bin/env bash
# A pull request from a stranger, from opening to the baked store: the commands that the workflows of `gristmill feedstock init` hold,
# job by job, with the environment that their expressions give (ci/run_job.py), against a bare repository and a folder as the code host.
#   ci/simulate-pr.sh [GRISTMILL]      the binary; target/debug/gristmill without it. KEEP=DIR keeps comments, pictures and issues there.
# The recipes that are tested come through the written-out steps at first, then through ci/action.yml. Needs jq, unzip and the shared data (GRISTMILL_SHARED, else ../shared). Not simulated: the download of the binary, OIDC.
set -euo pipefail
cd "$(dirname "$0")/.."
ci=$PWD/ci
gristmill=$(realpath "${1:-target/debug/gristmill}")
shared=$(realpath "${GRISTMILL_SHARED:-../shared}")
data=$shared/data/cordex-eur11-psl-day
tools=$PWD/target/workflow-tools
[ -x "$tools/bin/check-jsonschema" ] || ci/workflows.sh "$gristmill" >/dev/null
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
die() { echo "ci/simulate-pr.sh: $*" >&2; exit 1; }
holds() { jq -e "$2" "$1" >/dev/null || { cat "$1" >&2; die "$1: does not hold: $2"; }; }
says() { grep -qF -- "$2" "$1" || { cat "$1" >&2; die "$1 does not say: $2"; }; }

# The archive; the operator's word that its private address is fine is given where no recipe can reach it.
served=$work/served
mkdir "$served" && ln -s "$data"/*.nc "$served/"
python3 -u -m http.server --bind 127.0.0.1 --directory "$served" 0 >"$work/server.log" 2>&1 &
server=$!
for _ in $(seq 100); do port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$work/server.log"); [ -n "$port" ] && break; sleep 0.1; done
[ -n "$port" ] || die "the server did not begin"
printf '[policy]\nallow_private = true\n' >"$work/operator.toml"
mkdir -p "$work/bin" "$work/forge"
printf '#!/bin/sh\nexec "%s" --config "%s" "$@"\n' "$gristmill" "$work/operator.toml" >"$work/bin/gristmill"
cp ci/fake_gh.py "$work/bin/gh"
chmod +x "$work/bin/"*
export FORGE=$work/forge PATH=$work/bin:$PATH HOME=$work
git config --global user.name Ada && git config --global user.email ada@example.org && git config --global init.defaultBranch main

sum=$(sha256sum "$work/bin/gristmill" | cut -d' ' -f1)
"$gristmill" --quiet feedstock init "$work/seed" --staging --id arco --maintainer ada --binary https://example.org/gristmill --binary-sha256 "$sum"
"$gristmill" --quiet feedstock init "$work/with-action" --staging --id arco --maintainer ada --binary https://example.org/gristmill \
  --binary-sha256 "$sum" --action "gristmill/gristmill/ci@$(printf 'a%.0s' $(seq 40))"
git init --quiet "$work/seed" && git -C "$work/seed" add -A && git -C "$work/seed" commit --quiet -m "Begin"
git clone --quiet --bare "$work/seed" "$work/base.git"
git clone --quiet "$work/base.git" "$work/contributor"
base=$(git -C "$work/base.git" rev-parse main)
workflows=$work/seed/.github/workflows

# job WORKFLOW JOB HEAD [BEFORE]: in a fresh runner
job() {
  local temp=$work/runner-$1-$RANDOM
  mkdir "$temp" && cp "$work/bin/gristmill" "$temp/gristmill"
  jq -n --arg temp "$temp" --arg repository "$work/base.git" --arg artifacts "$work/forge" --arg head "$3" --arg base "$base" --arg before "${4:-}" --arg target "$work/published" '{
    temp: $temp, repository: $repository, artifacts: $artifacts, vars: {GRISTMILL_TARGET: $target},
    github: {repository: "o/r", token: "t", sha: $head, run_id: "5", server_url: "https://h.test", event: {
      before: $before, pull_request: {number: 1, head: {sha: $head}, base: {sha: $base}},
      workflow_run: {id: "5", event: "pull_request", conclusion: "success", head_sha: $head, head_branch: "psl", head_repository: {id: "2", owner: {login: "stranger"}}}}}}' >"$temp.json"
  "$tools/bin/python" "$ci/run_job.py" "$workflows/$1.yml" "$2" "$temp.json" >"$temp.log" 2>&1 && result=0 || result=$?
  log=$temp.log
}
# The pull request at its head now.
propose() {
  git -C "$work/contributor" add -A && git -C "$work/contributor" commit --quiet -m "$1"
  git -C "$work/contributor" push --quiet origin "HEAD:refs/pull/1/head" --force
  head=$(git -C "$work/contributor" rev-parse HEAD)
  jq -n --arg sha "$head" '[{number: 1, state: "open", label: "stranger:psl", head: {sha: $sha}}]' >"$FORGE/pulls.json"
  rm -f "$FORGE/result.zip" "$FORGE/pictures.zip" "$FORGE/checks.json"
}
recipe=$work/contributor/recipes/cordex-psl/recipe.yaml
mkdir -p "$(dirname "$recipe")"
periods=$(cd "$data" && ls -- *.nc | sed 's/.*_day_\(.*\)\.nc/"\1"/' | paste -sd,)
first=$(cd "$data" && ls -- *.nc | head -n 1)
cat >"$recipe" <<YAML
schema: 1
id: cordex-psl
title: Sea level pressure, EURO-CORDEX
license: CC-BY-4.0
maintainers: [stranger]
inputs:
  url: "http://127.0.0.1:$port/${first%%_day_*}_day_{period}.nc"
  keys:
    period: {list: [$periods]}
combine: {concat: [{dim: time, keys: [period]}]}
titel: a slip of the pen
YAML

echo "1: a pull request with a mistake"
git -C "$work/contributor" checkout --quiet -b psl
propose "Add sea level pressure"
job test test "$head"
[ "$result" != 0 ] || { cat "$log"; die "a recipe with a mistake passed"; }
job report report "$head"
[ "$result" = 0 ] || { cat "$log"; die "the report failed"; }
jq -r '.[0].body' "$FORGE/comments.json" >"$work/comment-1.md"
says "$work/comment-1.md" "0 of 1 recipes pass"
says "$work/comment-1.md" "line 11"
says "$work/comment-1.md" "unknown-key"
holds "$FORGE/checks.json" 'length == 1 and .[0].conclusion == "failure" and .[0].output.annotations[0].start_line == 11'

echo "2: the mistake is mended"
sed -i '/^titel/d' "$recipe"
propose "Mend it"
job test test "$head"
[ "$result" = 0 ] || { cat "$log"; die "the test failed"; }
job report report "$head"
[ "$result" = 0 ] || { cat "$log"; die "the report failed"; }
jq -r '.[0].body' "$FORGE/comments.json" >"$work/comment-2.md"
holds "$FORGE/comments.json" 'length == 1 and .[0].edits == 1'
holds "$FORGE/checks.json" 'length == 1 and .[0].conclusion == "success" and .[0].name == "gristmill: cordex-psl"'
says "$work/comment-2.md" "1 of 1 recipes pass"
says "$work/comment-2.md" "opened again"
says "$work/comment-2.md" "$head"
says "$work/comment-2.md" "<summary>Map</summary>"
says "$work/comment-2.md" "from \`2006-01-01T12:00:00\` to"
says "$work/comment-2.md" "Cost class"
! grep -q gaps "$work/comment-2.md" || die "what lies between the files of a sample is called a gap"
says "$work/comment-2.md" "https://h.test/o/r/actions/runs/5"
mkdir -p "$work/pictures" && unzip -q -o "$FORGE/pictures.zip" -d "$work/pictures"
[ "$(head -c 8 "$work/pictures/cordex-psl.png" | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ] || die "no picture was kept"
unzip -p "$FORGE/result.zip" result.json >"$work/written-out.json"
workflows=$work/with-action/.github/workflows job test test "$head"
[ "$result" = 0 ] || { cat "$log"; die "the test by the action failed"; }
same() { jq 'del(.recipes[].tested.milliseconds, .recipes[].full.milliseconds, .recipes[].log)' "$1"; }
[ "$(unzip -p "$FORGE/result.zip" result.json | same /dev/stdin)" = "$(same "$work/written-out.json")" ] || die "the action tells something else"
[ ! -e "$work/published" ] || die "a pull request reached what is published"

echo "3: a result that somebody made up"
python3 - "$FORGE/result.zip" "$head" <<'PY'
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("../../evil", "x")
    archive.writestr("result.json", json.dumps({"version": 1, "head": sys.argv[2], "comment": "@everyone", "pull_request": 7}))
PY
job report report "$head"
[ "$result" = 0 ] || { cat "$log"; die "the report failed"; }
jq -r '.[0].body' "$FORGE/comments.json" >"$work/comment-3.md"
says "$work/comment-3.md" "no result"
! grep -q everyone "$work/comment-3.md" || die "a made-up result was repeated"
holds "$FORGE/comments.json" 'length == 1'
! find "$work" -name evil | grep -q . || die "a path of the archive was used"

echo "4: merged"
git -C "$work/contributor" push --quiet origin HEAD:main
job bake bake "$head" "$base"
[ "$result" = 0 ] || { cat "$log"; die "the bake failed"; }
"$gristmill" --quiet verify "$work/published/cordex-psl" --receipts --read-data || die "the published store is not what it should be"
holds "$work/published/cordex-psl.gristmill/provenance.json" ".recipe.origin.commit == \"$head\""
files=$(ls "$data"/*.nc | wc -l)
found=$("$gristmill" --json inspect "$work/published/cordex-psl/current" | jq '.dimensions[] | select(.name == "time") | .length')
[ "${found:-0}" -gt "$files" ] || die "the published store has $found times of $files files"

echo "5: told again, and the day after: nothing to do"
before=$(cd "$work/published" && find . -type f -path '*/c/*' -exec sha256sum {} + | sort | sha256sum)
job bake bake "$head" "$base"
[ "$result" = 0 ] || { cat "$log"; die "running it again failed"; }
says "$log" "nothing to do"
job update bake "$head"
[ "$result" = 0 ] || { cat "$log"; die "running it again failed"; }
says "$log" "nothing to do"
[ "$before" = "$(cd "$work/published" && find . -type f -path '*/c/*' -exec sha256sum {} + | sort | sha256sum)" ] || die "objects changed"

echo "6: one issue per dataset: a server gives a page instead of a file, and is mended"
[ ! -e "$FORGE/issues.json" ] || die "there is an issue although all is well"
job update tell "$head"
[ "$result" = 0 ] || { cat "$log"; die "telling failed"; }
holds <(cat "$FORGE/issues.json" 2>/dev/null || echo '[]') 'length == 0'
one=$(ls "$served"/*.nc | head -n 1)
rm "$one" && echo "<html>moved</html>" >"$one"
for _ in 1 2; do
  job update bake "$head"
  [ "$result" != 0 ] || { cat "$log"; die "a page was taken for data"; }
  job update tell "$head"
  [ "$result" = 0 ] || { cat "$log"; die "telling failed"; }
done
holds "$FORGE/issues.json" 'length == 1 and .[0].state == "open" and .[0].edits == 1 and .[0].title == "gristmill: cordex-psl needs attention"'
holds "$FORGE/issues.json" '.[0].body | contains("The last run failed") and contains("1 of its files changed after they were read")'
cp "$FORGE/issues.json" "$work/issue.json"
"$gristmill" --quiet verify "$work/published/cordex-psl" --receipts --read-data || die "what was published before is not there any more"
rm "$one" && cp --preserve=timestamps -L "$data/$(basename "$one")" "$one"
job update bake "$head"
job update tell "$head"
holds "$FORGE/issues.json" 'length == 1 and .[0].state == "closed"'
[ -z "${KEEP:-}" ] || cp "$work"/comment-*.md "$FORGE/checks.json" "$work/issue.json" "$work"/pictures/* "$KEEP/"
echo "ci/simulate-pr.sh: opened, mended, reported, drawn, merged, baked ($found time steps), told again, looked after: all holds"
