#!/usr/bin/env bash
# What people see of the bot, in a browser: the status page, a page of each kind of job and the comment of a pull request, each light and
# dark, at a desktop's and a phone's width. The pages come from a server that is at work (tests/bot_forge/shown.rs).
#   ci/pages.sh [DIR]        pictures go to DIR (target/pages without it), to be looked at; fails if a page is wider than its window
# Needs node, npm and Chromium (CHROMIUM=/usr/bin/chromium).
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-target/pages}")
chromium=${CHROMIUM:-/usr/bin/chromium}
tools=$PWD/target/pages-tools
if [ ! -d "$tools/node_modules/marked" ]; then
  mkdir -p "$tools" && echo '{"private": true}' >"$tools/package.json"
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$tools" marked@16.4.0 github-markdown-css@5.8.1
fi
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
GRISTMILL_PAGES=$work cargo test -q --test bot_forge -- --exact shown::jobs_that_wait_run_and_have_ended
cp "$tools/node_modules/github-markdown-css/github-markdown.css" "$work/"
{
  echo '<!doctype html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
  echo '<link rel="stylesheet" href="/github-markdown.css"><style>body { margin: 0 } .markdown-body { padding: 16px; max-width: 980px; margin: auto }</style></head><body class="markdown-body">'
  node "$tools/node_modules/marked/bin/marked.js" --gfm -i "$work/comment.md" | sed 's#https://bot.example.org##g; s#<details>#<details open>#g'
  echo '</body></html>'
} >"$work/comment.html"
# A frame has the width that a phone has; a window of Chromium has at least 500 pixels.
cat >"$work/frame.html" <<'HTML'
<!doctype html><meta name="color-scheme" content="light dark"><style>body { margin: 0 } iframe { border: 0; display: block }</style><iframe></iframe><p id="told" hidden></p>
<script>
  const [page, width] = location.hash.slice(1).split(',');
  const frame = document.querySelector('iframe');
  frame.width = width; frame.height = 100; frame.src = page;
  frame.onload = () => {
    const shown = frame.contentDocument.documentElement;
    frame.height = shown.scrollHeight;
    document.querySelector('#told').textContent = `wide ${shown.scrollWidth} high ${shown.scrollHeight} end`;
  };
</script>
HTML
python3 -u -m http.server --bind 127.0.0.1 --directory "$work" 0 >"$work/server.log" 2>&1 &
server=$!
for _ in $(seq 100); do port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$work/server.log"); [ -n "$port" ] && break; sleep 0.1; done
browser() { "$chromium" --no-sandbox --headless --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" --virtual-time-budget=5000 "$@" 2>/dev/null; }
mkdir -p "$out" && rm -f "$out"/*.png
wrong=0
pages="index comment"
for stage in running done failed; do
  page=$(grep -l "class=\"stage $stage\"" "$work"/jobs/*.html | head -n 1)
  cp "$page" "$work/job-$stage.html" && pages="$pages job-$stage"
done
for page in $pages; do
  for width in 1280 390; do
    place="http://127.0.0.1:$port/frame.html#/$page.html,$width"
    told=$(browser --dump-dom "$place" | sed -n 's/.*>wide \([0-9]*\) high \([0-9]*\) end<.*/\1 \2/p')
    read -r wide high <<<"$told" || { echo "ci/pages.sh: $page cannot be shown" >&2; exit 1; }
    [ "$wide" -le "$width" ] || { echo "ci/pages.sh: $page is $wide pixels wide in a window of $width" >&2; wrong=1; }
    for scheme in light dark; do
      setting=$([ $scheme = dark ] && echo 0 || echo 1)
      window=$((width > 500 ? width : 500)),$((high < 3000 ? high : 3000))
      browser --blink-settings=preferredColorScheme=$setting --window-size=$window --screenshot="$out/$page-$width-$scheme.png" "$place"
    done
  done
done
ls -l "$out"
exit $wrong
