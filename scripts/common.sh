# shellcheck shell=bash
# What the scripts beside this file share: how they speak, and how they install a package.
# Sourced, never run. Progress goes to standard error, so standard output stays a command's own.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bold='' red='' plain=''
if [[ -t 2 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    bold=$'\e[1m' red=$'\e[31m' plain=$'\e[0m'
fi

say() { printf '%s==>%s %s\n' "$bold" "$plain" "$*" >&2; }

note() { printf '    %s\n' "$@" >&2; }

# die CODE FIRST-LINE [LINE...]
die() {
    local code=$1
    printf '%serror:%s %s\n' "$red" "$plain" "$2" >&2
    shift 2
    if (($#)); then note "$@"; fi
    exit "$code"
}

have() { command -v "$1" >/dev/null 2>&1; }

# The help text of a script is the comment it opens with.
help() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

# Handles --help; anything else is a mistake, unless the script names it as its own.
parse_options() {
    local argument
    for argument in "$@"; do
        case $argument in
            -h | --help) help && exit 0 ;;
            *) die 2 "$(basename "$0") does not know '$argument'" "See $0 --help" ;;
        esac
    done
}

may_install() { ((EUID == 0)) && have apt-get; }

has_systemd() { [[ -d /run/systemd/system ]]; }

# quietly COMMAND...: its output appears only when it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    if ((status)); then tail -n 40 "$log" >&2; fi
    rm -f "$log"
    return "$status"
}

# apt_install WHY PACKAGE...: install, or say what to install and stop with 3.
# A package's service is not started by its installation: who needs it running starts it.
apt_install() {
    local why=$1 policy=/usr/sbin/policy-rc.d ours='' status=0
    shift
    if ! may_install; then
        if have apt-get; then
            die 3 "$why" "Install it as root, then run this again:" "  sudo apt-get install $*"
        fi
        die 3 "$why" "Install your system's counterparts of these Debian packages, then run this again:" "  $*"
    fi
    say "$why Installing $*"
    if [[ ! -e $policy ]]; then
        ours=yes
        # Gone again even if the installation is interrupted.
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update || note "apt-get update did not finish; trying with the lists at hand."
    quietly apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" || status=$?
    if [[ $ours ]]; then
        rm -f "$policy"
        trap - EXIT
    fi
    ((status == 0)) || die 3 "apt-get could not install $*" "Its last lines stand above."
}
