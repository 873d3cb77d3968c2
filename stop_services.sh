#!/usr/bin/env bash
# Stops what start_services.sh started: the gateway first, so that it gives its accounts back to the pool.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/services.sh
. scripts/services.sh

stop_seconds=30

log_dir=${LOG_DIR:-logs}
# A faulty configuration must not keep anybody from stopping; then the default folder is looked at.
if find_node && settings=$("$node" "$program" config --json 2>/dev/null); then read_settings "$settings"; fi

stopped=0
stop() {
  local name=$1 mode=$2 pid
  local pid_file="$log_dir/$name.pid"
  if pid=$(running_pid "$pid_file" "$mode"); then
    stop_process "$pid_file" "$stop_seconds"
    echo "$name stopped (pid $pid)."
    stopped=$((stopped + 1))
  fi
  rm -f "$pid_file"
}

stop warp2api gateway
stop pool-service pool
if [ "$stopped" -eq 0 ]; then echo 'Nothing was running.'; fi
