#!/usr/bin/env bash
# What Gristmill finds out about real S3 servers, and does there: the probe, a bake, an append, and two runs at once, on moto, moto behind
# a proxy that drops conditions, s3s-fs, and OpenStack Swift. By hand, and in CI where its minute is worth it:
#
#   ci/stores.sh BINARY [NAME...]     NAME: moto, stripped, s3s-fs, swift; without one, all that can be started
#
# Swift comes from Debian (swift-proxy, swift-account, swift-container, swift-object, memcached: 83 s to install) and is installed only if
# INSTALL_SWIFT=1; it is left out, said aloud, where it or s3s-fs (S3S_FS names the program) is absent. Its servers want root.
# The page docs/design/009-lease-and-store-abilities.md keeps what this printed.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 1 ] || { sed -n '2,11p' "$0" >&2; exit 2; }
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
    for pid in "$place"/swift/*.pid; do [ ! -f "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true; done
    rm -rf "$place"
}

start_swift() { # all in one, as servers.md of the reference says
    if [ "${INSTALL_SWIFT:-0}" = 1 ]; then
        "$repository/ci/packages.sh" swift-proxy-server:swift-proxy swift-account-server:swift-account swift-container-server:swift-container \
            swift-object-server:swift-object memcached:memcached
    fi
    local program
    for program in swift-proxy-server swift-account-server swift-container-server swift-object-server swift-ring-builder memcached; do
        command -v "$program" >/dev/null || { echo "SKIP swift: $program is not installed (INSTALL_SWIFT=1 installs it)"; return 1; }
    done
    [ "$(id -u)" = 0 ] || { echo "SKIP swift: its servers want root"; return 1; }
    local home=$place/swift kind port
    mkdir -p "$home/srv/d1" "$home/run" /var/cache/swift
    # This file has one place only; the package's own is as good as ours.
    mkdir -p /etc/swift
    grep -qs '^swift_hash_path_suffix' /etc/swift/swift.conf || cat > /etc/swift/swift.conf <<CONF
[swift-hash]
swift_hash_path_suffix = gristmill
swift_hash_path_prefix = tests
[storage-policy:0]
name = Policy-0
default = yes
CONF
    for kind in account:16202 container:16201 object:16200; do
        port=${kind#*:} kind=${kind%:*}
        (cd "$home" && swift-ring-builder "$kind.builder" create 4 1 0 && swift-ring-builder "$kind.builder" add "r1z1-127.0.0.1:$port/d1" 1 &&
            swift-ring-builder "$kind.builder" rebalance) > "$home/$kind.ring.log"
        cat > "$home/$kind-server.conf" <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
user = root
swift_dir = $home
devices = $home/srv
mount_check = false
workers = 0
log_level = WARNING
[pipeline:main]
pipeline = $kind-server
[app:$kind-server]
use = egg:swift#$kind
CONF
        nohup "swift-$kind-server" "$home/$kind-server.conf" > "$home/$kind.log" 2>&1 &
        echo $! > "$home/$kind.pid"
    done
    cat > "$home/proxy-server.conf" <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = 18080
user = root
swift_dir = $home
workers = 0
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth copy dlo slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:11299
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:dlo]
use = egg:swift#dlo
[filter:slo]
use = egg:swift#slo
CONF
    nohup memcached -u nobody -l 127.0.0.1 -p 11299 > "$home/memcached.log" 2>&1 &
    echo $! > "$home/memcached.pid"
    nohup swift-proxy-server "$home/proxy-server.conf" > "$home/proxy.log" 2>&1 &
    echo $! > "$home/proxy.pid"
    for _ in $(seq 150); do
        if python3 -c 'import urllib.request as r; r.urlopen("http://127.0.0.1:18080/healthcheck", timeout=1)' 2>/dev/null; then return 0; fi
        sleep 0.2
    done
    echo "SKIP swift: it does not answer"
    tail -n 20 "$home"/*.log >&2
    return 1
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
if is_wanted swift && start_swift; then try swift http://127.0.0.1:18080 test:tester testing; fi
[ ${#failed[@]} -eq 0 ] || { echo "not as expected: ${failed[*]}" >&2; exit 1; }
