#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# usage: scripts/need.sh PURPOSE...
#
# Make sure that what scripts/packages.list names for the given purposes is on
# the machine.  What is missing is installed with apt-get on Debian, as root or
# through sudo, after the command has been printed.  Where that is impossible,
# or NO_INSTALL=1 is in the environment (./configure --no-install), the missing
# things are named and the exit status is 1.
#
# Runs before python is known to be there: POSIX shell only.

set -eu

scripts=$(cd "$(dirname "$0")" && pwd -P)
PATH=$PATH:/usr/sbin:/sbin

# ---------------------------------------------------------------- probes

firmware_dirs="/usr/share/qemu /usr/share/seabios /usr/lib/ipxe/qemu \
/usr/share/qemu-firmware /usr/local/share/qemu"

python=
find_python()
{
    [ -n "$python" ] || python=$("$scripts/python.sh" --which) || return 1
}

meson_is_new()
{
    find_python && "$python" - 2>/dev/null <<'EOF'
import importlib.metadata, sys
version = importlib.metadata.version("meson").split(".")[:2]
sys.exit(tuple(int(part) for part in version) < (1, 5))
EOF
}

# True when $1 (kind:argument) is there.
probe()
{
    argument=${1#*:}
    case $1 in
    cmd:*)
        command -v "$argument" >/dev/null 2>&1 ;;
    header:*)
        printf '#include <%s>\n' "$argument" |
            ${CC:-cc} -E - >/dev/null 2>&1 ;;
    pc:*)
        command -v pkg-config >/dev/null 2>&1 &&
            pkg-config --exists "$argument" 2>/dev/null ;;
    python)
        find_python ;;
    pymod:*)
        find_python && "$python" -c "import $argument" 2>/dev/null ;;
    meson)
        meson_is_new ;;
    file:*)
        old_ifs=$IFS; IFS='|'
        for file in $argument; do
            if [ -e "$file" ]; then IFS=$old_ifs; return 0; fi
        done
        IFS=$old_ifs
        return 1 ;;
    firmware:*)
        for dir in $firmware_dirs; do
            if [ -e "$dir/$argument" ]; then return 0; fi
        done
        return 1 ;;
    static:*)
        program=$(command -v "$argument") || return 1
        # ldd fails on a program that needs no dynamic linker
        ! ldd "$program" >/dev/null 2>&1 ;;
    *)
        echo "error: scripts/packages.list: unknown probe '$1'" >&2
        exit 1 ;;
    esac
}

have_apt()
{
    command -v apt-get >/dev/null 2>&1 && command -v dpkg >/dev/null 2>&1
}

candidate_of()
{
    LC_ALL=C apt-cache policy "$1" 2>/dev/null |
        sed -n 's/^ *Candidate: *//p' | grep -v '^(none)$'
}

# Fill $packages (to install) and $names (what is missing, for people).
packages=
names=
look()
{
    packages=
    names=
    while read -r purpose package what; do
        case " $purposes " in *" $purpose "*) ;; *) continue ;; esac
        if probe "$what"; then continue; fi
        if [ "$what" = meson ]; then
            # Never an error here: prepare.py has other ways to get one.
            have_apt || continue
            version=$(candidate_of meson) || continue
            dpkg --compare-versions "$version" ge 1.5 || continue
        fi
        case " $packages " in
        *" $package "*) ;;
        *) packages="$packages $package" ;;
        esac
        names="$names
    $what (Debian package $package)"
    done <<EOF
$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$scripts/packages.list")
EOF
}

# ---------------------------------------------------------------- main

purposes=$*
if [ -z "$purposes" ]; then
    echo "usage: scripts/need.sh PURPOSE..." >&2
    exit 1
fi

look
if [ -z "$names" ]; then
    exit 0
fi

if ! have_apt; then
    echo "error: missing on this machine:$names" >&2
    echo "This is no Debian system: install them by its own means, then try again." >&2
    exit 1
fi

install="apt-get install -y --no-install-recommends$packages"
if [ "${NO_INSTALL:-0}" != 0 ]; then
    echo "error: missing on this machine:$names" >&2
    echo "No packages are installed (--no-install, NO_INSTALL). As root, run" >&2
    echo "    $install" >&2
    exit 1
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1; then
        # Ask for a password only when there is somebody to ask.
        if [ -t 0 ]; then as_root=sudo; else as_root="sudo -n"; fi
    else
        as_root=impossible
    fi
fi

if [ "$as_root" = impossible ]; then
    echo "error: packages are missing, and this user can install none. As root, run" >&2
    echo "    $install" >&2
    exit 1
fi

# apt's output is long: it goes to a log that is shown when something fails.
log=
if [ "${V:-0}" = 0 ]; then
    log=$(mktemp "${TMPDIR:-/tmp}/vhost-dp-apt.XXXXXX")
fi

run_apt()
{
    # shellcheck disable=SC2086  # as_root is a command with its option
    set -- $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q \
        -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"
    if [ -n "$log" ]; then
        "$@" </dev/null >>"$log" 2>&1
    else
        "$@" </dev/null
    fi
}

# An installation that fails on outdated lists is tried again with new ones.
install_packages()
{
    # shellcheck disable=SC2086  # a list of words
    run_apt install -y --no-install-recommends $packages
}

lists_know()
{
    for package in $packages; do
        candidate_of "$package" >/dev/null || return 1
    done
}

echo "==> Installing what is missing:$packages"
echo "    ${as_root:+$as_root }$install"
status=0
{
    { lists_know || run_apt update; } &&
        { install_packages || { run_apt update && install_packages; }; }
} || status=$?
if [ $status != 0 ]; then
    if [ -n "$log" ]; then
        tail -n 25 "$log" >&2
        echo "(the whole output is in $log)" >&2
    fi
    echo "error: the packages could not be installed. As root, run" >&2
    echo "    apt-get update" >&2
    echo "    $install" >&2
    exit 1
fi

if [ -n "$log" ]; then
    rm -f "$log"
fi

# New lists may know a newer meson, or a package may lack what was promised.
python=
look
if [ -n "$names" ]; then
    echo "error: still missing after the installation:$names" >&2
    exit 1
fi
