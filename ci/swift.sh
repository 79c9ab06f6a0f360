#!/usr/bin/env bash
# OpenStack Swift on loopback, all in one: an S3 server that refuses conditional puts.
#
#   ci/swift.sh start DIR      starts it in DIR/swift; if that cannot be, says why in a line and ends with 1
#   ci/swift.sh stop DIR       stops what that start started
#   ci/swift.sh install        from Debian: 83 s
#
# It has a bucket `gristmill` for the key `test:tester` with the secret `testing`. SWIFT_PORT (8053) chooses its port; the four after it are
# its parts'. Its servers want root.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
port=${SWIFT_PORT:-8053}
memcached=$((port + 4))

install() {
    "$repository/ci/packages.sh" swift-proxy-server:swift-proxy swift-account-server:swift-account swift-container-server:swift-container \
        swift-object-server:swift-object memcached:memcached
}

is_missing() { # says what
    local program
    for program in swift-proxy-server swift-account-server swift-container-server swift-object-server swift-ring-builder memcached; do
        command -v "$program" > /dev/null || { echo "$program is not installed"; return; }
    done
    [ "$(id -u)" = 0 ] || { echo "its servers want root"; return; }
    return 1
}

configure_and_start() { # DIR
    local home=$1/swift kind number=0 inner
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
    for kind in account container object; do
        number=$((number + 1)) inner=$((port + number))
        (cd "$home" && swift-ring-builder "$kind.builder" create 4 1 0 && swift-ring-builder "$kind.builder" add "r1z1-127.0.0.1:$inner/d1" 1 &&
            swift-ring-builder "$kind.builder" rebalance) > "$home/$kind.ring.log"
        cat > "$home/$kind-server.conf" <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $inner
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
bind_port = $port
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
memcache_servers = 127.0.0.1:$memcached
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
    nohup memcached -u nobody -l 127.0.0.1 -p "$memcached" > "$home/memcached.log" 2>&1 &
    echo $! > "$home/memcached.pid"
    nohup swift-proxy-server "$home/proxy-server.conf" > "$home/proxy.log" 2>&1 &
    echo $! > "$home/proxy.pid"
}

make_bucket() {
    python3 - "$port" <<'PYTHON'
import sys, time, urllib.request as request
for attempt in range(150):
    try:
        login = {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
        answer = request.urlopen(request.Request(f"http://127.0.0.1:{sys.argv[1]}/auth/v1.0", headers=login), timeout=5)
        token = {"X-Auth-Token": answer.headers["X-Auth-Token"]}
        request.urlopen(request.Request(answer.headers["X-Storage-Url"] + "/gristmill", headers=token, method="PUT"), timeout=5)
        break
    except OSError as error:
        last = error
        time.sleep(0.2)
else:
    sys.exit(f"it does not answer: {last}")
PYTHON
}

start() { # DIR
    is_missing && return 1
    configure_and_start "$1"
    make_bucket 2> "$1/swift/bucket.log" || { tail -n 1 "$1/swift/bucket.log"; stop "$1"; return 1; }
}

stop() { # DIR
    for pid in "$1"/swift/*.pid; do
        [ ! -f "$pid" ] || kill "$(cat "$pid")" 2> /dev/null || true
        rm -f "$pid"
    done
}

case "${1:-} ${2:+directory}" in
    "start directory") start "$2" ;;
    "stop directory") stop "$2" ;;
    "install ") install ;;
    *)
        echo "usage: ci/swift.sh start DIR | stop DIR | install" >&2
        exit 2
        ;;
esac
