#!/usr/bin/env bash
# Stops the services of this checkout that run with its DATA_DIR, however they were started: the gateway first, so that it gives
# its accounts back to the pool.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/services.sh
. scripts/services.sh

log_dir=${LOG_DIR:-logs} data_dir=${DATA_DIR:-data} running='' shutdown_seconds=''
# Also where the configuration is faulty: that must not keep anybody from stopping.
if find_node && settings=$("$node" "$program" config --json --services 2>/dev/null); then read_settings "$settings"; fi

if [ -d "$data_dir" ] && ! ls "$data_dir" >/dev/null 2>&1; then
  echo "stop_services: $data_dir cannot be read, so what runs with it is not known: run this as the user who started it." >&2
  exit 1
fi

# What running turns may take, and what is done after them.
stop_seconds=$((${shutdown_seconds:-20} + 15))

# A start at work would go on to its next service. It stops what it has started.
if start=$(start_at_work); then kill -TERM "$start" 2>/dev/null || start=''; fi

stopped=0 failed=0 others=0
# stop NAME PID WHERE
stop() {
  if stop_process "$2" "$stop_seconds"; then
    echo "$1 stopped (pid $2)$3."
    stopped=$((stopped + 1))
  else
    echo "stop_services: $1 (pid $2) runs as $(ps -p "$2" -o user= 2>/dev/null | tr -d ' '): stop it as that user." >&2
    failed=1
  fi
}

# stop_noted SERVICE NAME: those that have said in DATA_DIR that they run.
stop_noted() {
  local pid service holds_pool urls by root
  while IFS=$'\t' read -r pid service holds_pool urls by root; do
    [ "$service" = "$1" ] || continue
    if [ "$root" != - ]; then
      echo "A service of $root runs with this DATA_DIR (pid $pid, $urls): stop it there." >&2
      others=1
      continue
    fi
    [ "$urls" != - ] || urls='' # A port of its own choice.
    [ "$by" = - ] && by='' || by=", which $by had started"
    stop "$2" "$pid" "${urls:+: $urls}$by"
  done < <([ -z "$running" ] || echo "$running")
}

# stop_started NAME MODE: what start_services.sh has started, where that has not said so.
stop_started() {
  local pid pid_file="$log_dir/$1.pid"
  if pid=$(running_pid "$pid_file" "$2") && ! has_ended "$pid"; then stop "$1" "$pid" ''; fi
  rm -f "$pid_file"
}

stop_noted gateway warp2api
stop_started warp2api gateway
stop_noted both warp2api
stop_noted pool pool-service
stop_started pool-service pool
if [ -n "$start" ]; then
  stop_process "$start" 10 || true
  echo "start_services.sh was at work (pid $start) and was ended."
elif [ "$stopped$failed" = 00 ]; then
  [ "$others" -eq 0 ] && echo 'Nothing was running.' || echo 'Nothing of this checkout was running.'
fi
exit "$failed"
