#!/bin/bash
# Makes these keys and certificates anew, good for a hundred years: an authority of our own, a server for this machine, a server for another
# name, a server whose time is over, a client, and a client of somebody else's authority. Keys to nothing but the servers of tests/credentials/tls.rs.
set -eu
cd "$(dirname "$0")"
rm -f ./*.pem
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
authority() { # NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj "/CN=$1 for tests" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" -keyout "$work/$1.key" -out "$work/$1.crt" 2>/dev/null
}
signed() { # NAME AUTHORITY USAGE SUBJECT_ALTERNATIVE_NAMES [OPTIONS...]
  local name=$1 by=$2 usage=$3 names=$4
  shift 4
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$work/$name.key" -out "$work/$name.csr" 2>/dev/null
  printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=%s\n' "$usage" "$names" > "$work/$name.ext"
  openssl x509 -req -in "$work/$name.csr" -CA "$work/$by.crt" -CAkey "$work/$by.key" -CAcreateserial -extfile "$work/$name.ext" "$@" -out "$work/$name.crt" 2>/dev/null
  cat "$work/$name.crt" "$work/$name.key" > "$name.pem"
}
authority ours
authority theirs
cp "$work/ours.crt" authority.pem
signed server ours serverAuth "DNS:localhost,IP:127.0.0.1" -days 36500
signed other-name ours serverAuth "DNS:elsewhere.example" -days 36500
signed over ours serverAuth "DNS:localhost,IP:127.0.0.1" -days -1 # over since the day before it was made
signed client ours clientAuth "email:client@example.org" -days 36500
signed stranger theirs clientAuth "email:stranger@example.org" -days 36500
