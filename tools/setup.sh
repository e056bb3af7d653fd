#!/bin/sh
# Prepares this checkout: system packages, .venv with the cffi extensions, a guest kernel. Run by `make setup` and before every
# other target; with nothing to do it takes a fraction of a second. Everything it writes is in .venv and .cache.
set -eu
cd "$(dirname "$0")/.."
cache=.cache
mkdir -p "$cache"

say() { printf 'setup: %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}
can_be_root() {
    [ "$(id -u)" -eq 0 ] || { have sudo && sudo -n true 2>/dev/null; }
}

# --- Python 3.11 or newer, with headers (the extensions) and venv ---------------------------------------------------
find_python() {
    # The distribution's own first: it is built with profile-guided optimisation, which a private build seldom is.
    for candidate in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        if have "$candidate" && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}
python_has_headers() {
    "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}

# --- system packages: what is missing, judged by the files they bring ------------------------------------------------
missing=
need() { missing="$missing $1"; }
find_missing() {
    missing=
    have qemu-system-x86_64 || need qemu-system-x86
    # a dynamic executable names its loader in its first page
    { have busybox && ! head -c 4096 "$(command -v busybox)" | grep -aq ld-linux; } || need busybox-static
    have fio || need fio
    have gcc || need gcc
    [ -n "$(gcc -print-file-name=libc.a 2>/dev/null | grep /)" ] || need libc6-dev
    echo "#include <sqlite3ext.h>" | gcc -E -x c - >/dev/null 2>&1 || need libsqlite3-dev
    have make || need make
    have dpkg-deb || need dpkg
    have zstd || need zstd
    have xz || need xz-utils
    python=$(find_python)
    if [ -z "$python" ]; then
        need python3; need python3-venv; need python3-dev
    elif [ ! -x .venv/bin/python ]; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null || need "$(basename "$python")-venv"
        python_has_headers "$python" || need "$(basename "$python")-dev"
    fi
}

find_missing
if [ -n "$missing" ]; then
    if have apt-get && can_be_root; then
        say "installing$missing"
        as_root apt-get update -qq || say "apt-get update reported errors; trying with the lists at hand"
        # shellcheck disable=SC2086  # a list of package names
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >"$cache/apt.log" 2>&1 \
            || fail "apt-get install$missing failed; see $cache/apt.log"
        find_missing
    fi
    if [ -n "$missing" ]; then
        echo "setup: missing on this machine (names of Debian's packages):" >&2
        for package in $missing; do echo "  $package" >&2; done
        fail "install them, or run as root on a machine with apt; needed: Python >= 3.11, QEMU, static busybox, fio, a C compiler"
    fi
fi

# --- virtual environment, package and extensions ----------------------------------------------------------------------
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    say "creating .venv with $($python --version)"
    "$python" -m venv .venv
fi
if [ -f pyproject.toml ]; then
    # The editable install holds compiled code and entry points, so it stands for exactly these files' contents. The specs are
    # in it because builders generate C tables from them.
    built_from=$({
        .venv/bin/python --version
        find pyproject.toml setup.py device fuse journal specs tools tests/play -type f \
            \( -name '*.c' -o -name '*.h' -o -name '*_build.py' -o -path 'specs/*.py' -o -name pyproject.toml \
               -o -name 'setup.py' \) -print0 2>/dev/null | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum | cut -d' ' -f1)
    if [ "$(cat "$cache/built-from" 2>/dev/null)" != "$built_from" ]; then
        say "installing steadfs with its extensions into .venv"
        .venv/bin/python -m pip install -q --disable-pip-version-check -e '.[dev]' >"$cache/pip.log" 2>&1 \
            || { tail -n 30 "$cache/pip.log" >&2; fail "pip install failed; see $cache/pip.log"; }
        .venv/bin/python tests/play/driver_build.py >"$cache/driver.log" 2>&1 \
            || { tail -n 30 "$cache/driver.log" >&2; fail "the guest driver of the tests did not build; see $cache/driver.log"; }
        echo "$built_from" >"$cache/built-from"
    fi
fi

# --- guest kernel, and the Rust peer for benchmarks (optional) --------------------------------------------------------
if [ ! -f "$cache/kernel/kernel.json" ]; then
    say "fetching a guest kernel"
    "$python" -m tools.fetch_kernel "$cache/kernel" || fail "without a guest kernel the guest tests and the demo can't run"
fi
if [ ! -f "$cache/peers/rust/outcome" ]; then
    say "fetching the Rust virtiofsd for comparison (optional)"
    "$python" -m tools.fetch_peer_rust "$cache/peers/rust" || say "no Rust virtiofsd; benchmarks go without it"
fi
if [ ! -f "$cache/peers/rust-newer/outcome" ]; then
    say "fetching a newer Rust virtiofsd for the attacks (optional)"
    "$python" -m tools.fetch_peer_rust "$cache/peers/rust-newer" forky || say "no newer Rust virtiofsd; the attacks go without it"
fi
