# shellcheck shell=bash
# Sourced by the scripts of the clusters: what both need.

cluster=$(basename "$0")
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
cd / # daemons keep no folder of the caller's busy

say() { echo "$cluster: $*" >&2; }
fail() { say "$*"; exit 1; }
cannot() { say "cannot be brought up on this machine: $*; its tests will be skipped"; exit 2; }

install_packages() { # package...
    local package missing=() log
    [ -e /etc/debian_version ] || cannot "it is not Debian"
    [ "$(id -u)" = 0 ] || cannot "only root can"
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] \
            || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    log=$(mktemp)
    if without_services apt_install "${missing[@]}" > "$log" 2>&1; then
        rm "$log"
    elif [ -n "${CI:-}" ]; then # there a cluster that is not tested must be noticed
        tail -n 30 "$log" >&2
        fail "apt-get cannot install ${missing[*]} ($log)"
    else
        cannot "apt-get cannot install ${missing[*]} ($log)"
    fi
}

apt_install() { # an index that is old or not there is the usual reason for a first failure
    local apt=(apt-get -q -y -o DPkg::Lock::Timeout=120)
    "${apt[@]}" install --no-install-recommends "$@" \
        || { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "$@"; }
}

without_services() ( # command...: Debian's packages would start their daemons as they are installed
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod 755 $policy
    fi
    "$@" < /dev/null
)

await() { # seconds, command...: until it succeeds
    local end=$((SECONDS + $1)) output
    shift
    until output=$("$@" 2>&1); do
        [ $SECONDS -lt $end ] || { say "waited in vain for $*: $output"; return 1; }
        sleep 0.2
    done
}

listens() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; } # port

runs() { # pid file, program: a pid may be of another program by now
    local pid
    pid=$(cat "$1" 2> /dev/null) && [ -n "$pid" ] && grep -qas -- "$2" "/proc/$pid/cmdline"
}

stop() { # pid file, program
    local end=$((SECONDS + 30))
    if runs "$@"; then
        kill "$(cat "$1")"
        while runs "$@"; do
            if [ $SECONDS -ge $end ]; then
                say "$2 does not stop: killing it"
                kill -KILL "$(cat "$1")" || true
            fi
            sleep 0.1
        done
    fi
    rm -f "$1"
}

main() { # up, down or answers
    local code
    case ${1:-} in
        up)
            if answers; then
                say "answers already"
                return
            fi
            set +e # for a look at the logs
            (set -e; up)
            code=$?
            set -e
            case $code in
                0) say "up after $SECONDS s" ;;
                2) exit 2 ;; # said already
                *)
                    show_logs
                    down || true # what is half up may answer
                    fail "did not come up"
                    ;;
            esac
            ;;
        down) down ;;
        answers) answers ;;
        *)
            echo "usage: $0 up|down|answers" >&2
            exit 64
            ;;
    esac
}
