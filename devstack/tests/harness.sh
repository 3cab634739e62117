#!/usr/bin/env bash
# Calls the plugin's phases in DevStack's order, with DevStack's words, and stand-ins for the few of its functions that the
# plugin uses. They do what DevStack's do (compared with its functions-common and inc/ini-config), but for starting daemons:
# DevStack writes a unit for each, here they are started in a namespace and remembered by their process ids.
#
#   harness.sh PHASE...      phases: stack, unstack, clean; what local.conf would set comes in the environment
#
# HARNESS_DIR is where it keeps its state, HARNESS_NETNS the namespace to run daemons in (none: this one).
set -o errexit -o pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${HARNESS_DIR:?}" "${HARNESS_SERVICES:=c-vol,c-api}"
STACK_USER=$(id -un)
CINDER_CONF=$HARNESS_DIR/cinder.conf
ENABLED_SERVICES=$HARNESS_SERVICES
mkdir -p "$HARNESS_DIR/pids"

function die {
    shift
    echo "die: $*" >&2
    exit 1
}
function echo_summary { echo "summary: $*"; }
function define_plugin { HARNESS_PLUGIN=$1; }
function enable_service {
    local s
    for s in "$@"; do is_service_enabled "$s" || ENABLED_SERVICES+=",$s"; done
}
function is_service_enabled { [[ ",$ENABLED_SERVICES," == *",$1,"* ]]; }
function sudo { "$@"; }
function pip_install { echo "$@" >>"$HARNESS_DIR/pip"; }
function iniset {
    python3 - "$@" <<'PY'
import configparser, sys
path, section, key, value = sys.argv[1:]
ini = configparser.RawConfigParser(default_section="")
ini.optionxform = str
ini.read(path)
if not ini.has_section(section):
    ini.add_section(section)
ini.set(section, key, value)
with open(path, "w") as out:
    ini.write(out)
PY
}
function run_process {
    local service=$1 command=$2
    is_service_enabled "$service" || return 0
    local within=()
    [[ -z "$HARNESS_NETNS" ]] || within=(ip netns exec "$HARNESS_NETNS")
    stop_process "$service"
    # As systemd does, it splits the command at blanks and runs it without a shell.
    local words
    read -ra words <<<"$command"
    "${within[@]}" setsid "${words[@]}" >"$HARNESS_DIR/$service.log" 2>&1 </dev/null &
    echo $! >"$HARNESS_DIR/pids/$service"
}
function stop_process {
    local file=$HARNESS_DIR/pids/$1
    [[ -f "$file" ]] || return 0
    local pid
    pid=$(<"$file")
    kill -TERM "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    rm -f "$file"
}
# Accounts are remembered.
function get_or_create_user { echo "user $1 in $3" >>"$HARNESS_DIR/accounts"; }
function get_or_add_user_project_role { echo "$1 for $2 of $4 in $3" >>"$HARNESS_DIR/accounts"; }
# Volume types are remembered by name.
function openstack {
    echo "openstack $*" >>"$HARNESS_DIR/openstack"
    local name=${*: -1}
    case "$1 $2 $3" in
        "volume type show") grep -qx "$name" "$HARNESS_DIR/types" 2>/dev/null ;;
        "volume type create") echo "$name" >>"$HARNESS_DIR/types" ;;
        *) die $LINENO "nobody said that the plugin calls: openstack $*" ;;
    esac
}

# As run_phase does: plugin.sh is sourced, with the mode and the phase as its arguments.
function phase {
    echo "phase: $*"
    source "$TOP/devstack/plugin.sh" "$@"
}
# What lib/cinder does between install and post-config.
function configure_cinder {
    local backend
    for backend in ${CINDER_ENABLED_BACKENDS//,/ }; do
        if type "configure_cinder_backend_${backend%%:*}" >/dev/null 2>&1; then
            "configure_cinder_backend_${backend%%:*}" "${backend##*:}"
        fi
        iniset "$CINDER_CONF" DEFAULT enabled_backends "${backend##*:}"
    done
}

source "$TOP/devstack/override-defaults"
source "$TOP/devstack/settings"
[[ "$HARNESS_PLUGIN" == rekindle ]] || die $LINENO "the plugin did not say its name"

for mode in "$@"; do
    case "$mode" in
        stack)
            phase stack pre-install
            phase stack install
            configure_cinder
            phase stack post-config
            phase stack extra
            phase stack test-config
            ;;
        unstack | clean) phase "$mode" ;;
        *) die $LINENO "no such mode: $mode" ;;
    esac
done
