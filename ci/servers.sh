#!/usr/bin/env bash
# Real servers on loopback for tests: nginx for web faults, moto for S3, and S3 that is wrong about conditional puts: moto behind
# a proxy that drops the conditions, and s3s-fs, which is right when alone and races otherwise.
#
#   ci/servers.sh start DIR    installs what is missing, starts all, waits until they answer, writes DIR/env
#   ci/servers.sh stop DIR     stops what that start started
#   . DIR/env                  GRISTMILL_TEST_NGINX, GRISTMILL_TEST_NGINX_ROOT, GRISTMILL_TEST_S3, GRISTMILL_TEST_S3_STRIPPED,
#                              GRISTMILL_TEST_S3S_FS (only where the program is)
#
# PYTHON names a Python with moto; without it .venv of the repository is used, and made if absent. S3S_FS names s3s-fs; without it
# the search path is looked through, and it is left out, said aloud, if absent: it takes minutes to build
# (cargo install s3s-fs --version 0.14.1 --locked --features binary). OpenStack Swift is started by ci/stores.sh.
# NGINX_PORT, S3_PORT, STRIPPED_PORT and S3S_FS_PORT choose ports (8041 to 8044).
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
nginx_port=${NGINX_PORT:-8041}
s3_port=${S3_PORT:-8042}
stripped_port=${STRIPPED_PORT:-8043}
s3s_port=${S3S_FS_PORT:-8044}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

find_nginx() {
    PATH=$PATH:/usr/sbin command -v nginx && return
    as_root apt-get update -qq >&2
    # The package would start a server of its own on port 80: tell it not to.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends nginx-light >&2
    PATH=$PATH:/usr/sbin command -v nginx
}

find_python() {
    local python=${PYTHON:-$repository/.venv/bin/python}
    if ! [ -x "$(command -v "$python")" ]; then
        python3 -m venv "$repository/.venv" >&2
    fi
    "$python" -c 'import moto.server' 2>/dev/null || "$python" -m pip install --quiet --disable-pip-version-check 'moto[server]>=5,<6' >&2
    echo "$python"
}

write_files() { # DIR
    mkdir -p "$1/www" "$1/nginx"
    # The same three megabytes each time, incompressible enough.
    python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(7).randbytes(3_000_000))' > "$1/www/sample.bin"
    cat > "$1/nginx/nginx.conf" <<CONF
daemon on;
worker_processes 1;
pid $1/nginx/pid;
error_log $1/nginx/error.log;
events { worker_connections 256; }
http {
    access_log off;
    default_type application/octet-stream;
    client_body_temp_path $1/nginx/body;
    proxy_temp_path $1/nginx/proxy;
    fastcgi_temp_path $1/nginx/fastcgi;
    uwsgi_temp_path $1/nginx/uwsgi;
    scgi_temp_path $1/nginx/scgi;
    limit_req_zone \$binary_remote_addr zone=few:1m rate=10r/s;
    split_clients \$request_id \$fault { 20% 503; 10% 429; * none; }
    server {
        listen 127.0.0.1:$nginx_port;
        location /plain/ { alias $1/www/; }
        location /listed/ { alias $1/www/; autoindex on; autoindex_exact_size on; }
        location /listed-json/ { alias $1/www/; autoindex on; autoindex_format json; }
        location /slow/ { alias $1/www/; limit_rate 2m; }
        location /whole/ { alias $1/www/; max_ranges 0; }
        location /moved/ { rewrite ^/moved/(.*)\$ /plain/\$1 redirect; }
        location /flaky/ {
            if (\$fault = 503) { return 503; }
            if (\$fault = 429) { return 429; }
            alias $1/www/;
        }
        location /limited/ { alias $1/www/; limit_req zone=few burst=1 nodelay; limit_req_status 429; }
        location /closed/ { return 403; }
        location = /page.nc { default_type text/html; return 200 "<html><title>Log in</title></html>"; }
        location = /dropped.nc { return 444; }
    }
}
CONF
}

wait_for() { # URL NAME
    for _ in $(seq 100); do
        if python3 -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=1)' "$1" 2>/dev/null; then return; fi
        sleep 0.1
    done
    echo "ci/servers.sh: $2 does not answer at $1" >&2
    exit 1
}

start_s3s_fs() { # DIR
    local program
    program=$(command -v "${S3S_FS:-s3s-fs}") || { echo "ci/servers.sh: SKIP s3s-fs: no such program (S3S_FS names it)" >&2; return 0; }
    # The program wants its buckets as folders.
    mkdir -p "$1/s3s-fs/gristmill"
    nohup "$program" --access-key test --secret-key test --host 127.0.0.1 --port "$s3s_port" "$1/s3s-fs" > "$1/s3s-fs.log" 2>&1 &
    echo $! > "$1/s3s-fs.pid"
    wait_for_port "$s3s_port" s3s-fs
    echo "export GRISTMILL_TEST_S3S_FS=http://127.0.0.1:$s3s_port" >> "$1/env"
}

wait_for_port() { # PORT NAME
    for _ in $(seq 100); do
        if (exec 3<> "/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        sleep 0.1
    done
    echo "ci/servers.sh: $2 does not listen at $1" >&2
    exit 1
}

start() { # DIR
    mkdir -p "$1"
    local directory nginx python
    directory=$(cd "$1" && pwd)
    nginx=$(find_nginx)
    python=$(find_python)
    write_files "$directory"
    "$nginx" -c "$directory/nginx/nginx.conf"
    nohup "$python" -m moto.server -H 127.0.0.1 -p "$s3_port" > "$directory/moto.log" 2>&1 &
    echo $! > "$directory/moto.pid"
    nohup python3 "$repository/ci/strip_proxy.py" "$stripped_port" "http://127.0.0.1:$s3_port" > "$directory/stripped.log" 2>&1 &
    echo $! > "$directory/stripped.pid"
    wait_for "http://127.0.0.1:$nginx_port/plain/sample.bin" nginx
    wait_for "http://127.0.0.1:$s3_port/moto-api/" moto
    wait_for "http://127.0.0.1:$stripped_port/moto-api/" "the proxy before moto"
    cat > "$directory/env" <<ENV
export GRISTMILL_TEST_NGINX=http://127.0.0.1:$nginx_port
export GRISTMILL_TEST_NGINX_ROOT=$directory/www
export GRISTMILL_TEST_S3=http://127.0.0.1:$s3_port
export GRISTMILL_TEST_S3_STRIPPED=http://127.0.0.1:$stripped_port
ENV
    start_s3s_fs "$directory"
    cat "$directory/env"
}

stop() { # DIR
    for pid in "$1/nginx/pid" "$1/moto.pid" "$1/stripped.pid" "$1/s3s-fs.pid"; do
        if [ -f "$pid" ]; then
            kill "$(cat "$pid")" 2>/dev/null || true
            rm -f "$pid"
        fi
    done
}

case "${1:-} ${2:+directory}" in
    "start directory") start "$2" ;;
    "stop directory") stop "$2" ;;
    *)
        echo "usage: ci/servers.sh start DIR | stop DIR" >&2
        exit 2
        ;;
esac
