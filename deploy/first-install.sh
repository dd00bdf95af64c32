#!/bin/sh
# A first install through Wheelgate on a machine that has Python and curl and nothing else: no pip, no internet.
# Needs WHEELGATE_URL. pip itself comes through Wheelgate too, so this proves name, page, file and storage at once.
set -eu
url=${WHEELGATE_URL%/}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

say() { echo "first-install: $*" >&2; }

code=$(curl -sS -o ready -w '%{http_code}' "$url/readyz") || {
    say "$url cannot be reached: is this machine in the network, and do both private DNS zones belong to it?"
    exit 1
}
[ "$code" = 200 ] || { say "it is there, but not ready ($code): $(cat ready)"; exit 1; }

curl -sSf "$url/simple/pip/" >page || { say "no page for pip: see what wheelgate explain pip says"; exit 1; }
wheel=$(grep -o 'files/pip/pip-[0-9.]*-py3-none-any\.whl' page | sort -V | tail -n 1)
[ -n "$wheel" ] || { say "the page of pip lists no wheel"; exit 1; }
curl -sSfL -o "${wheel##*/}" "$url/$wheel" || {
    say "the page came, and the file did not: if it is redirected to storage, this machine must reach storage too, or delivery be \"stream\""
    exit 1
}
python3 "${wheel##*/}/pip" install --quiet --disable-pip-version-check --no-cache-dir --index-url "$url/simple/" --target site "${1:-requests}"
say "installed ${1:-requests} through $url"
