#!/usr/bin/env bash
# Installs the Debian packages that provide the named commands, where they are missing and we may.
#   ci/packages.sh nginx:nginx-light cc:gcc
set -euo pipefail
missing=()
for pair in "$@"; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || [ -e "${pair%%:*}" ] || missing+=("${pair#*:}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
  sudo -n true 2>/dev/null && sudo="sudo -n" || { echo "ci/packages.sh: please install ${missing[*]} (no root here)" >&2; exit 1; }
fi
command -v apt-get >/dev/null || { echo "ci/packages.sh: please install what Debian calls ${missing[*]} (no apt-get here)" >&2; exit 1; }
echo "packages: ${missing[*]}"
install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null; }
install 2>/dev/null || { $sudo apt-get update -qq; install; }
