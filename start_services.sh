#!/usr/bin/env bash
# Starts the account pool and the gateway in the background; stop_services.sh stops them.
# Settings come from the environment and from .env, exactly as the services read them.
set -euo pipefail
# Logs, pid files and whatever the services make are their owner's alone.
umask 077
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/services.sh
. scripts/services.sh

ready_seconds=30
started=() # pid files of what this run has started, the latest first; undone if it fails

fail() {
  printf 'start_services: %s\n' "$1" >&2
  exit 1
}

undo() {
  local code=$? pid_file
  trap - EXIT INT TERM
  if [ "$code" -ne 0 ]; then
    for pid_file in ${started[@]+"${started[@]}"}; do stop_process "$pid_file" 5 >/dev/null 2>&1 || true; done
  fi
  rm -rf "${lock:-}"
  exit "$code"
}

take_lock() {
  lock="$log_dir/start.lock"
  if ! mkdir "$lock" 2>/dev/null; then
    local holder
    holder=$(cat "$lock/pid" 2>/dev/null || true)
    if [ -n "$holder" ] && kill -0 "$holder" 2>/dev/null; then
      lock=''
      fail 'another start_services.sh is at work.'
    fi
    rm -rf "$lock"
    mkdir "$lock"
  fi
  echo $$ >"$lock/pid"
}

# start NAME MODE URL: one service, unless it runs; returns when it answers.
start() {
  local name=$1 mode=$2 url=$3
  local pid_file="$log_dir/$name.pid" log_file="$log_dir/$name.log" log_start=0 pid
  if pid=$(running_pid "$pid_file" "$mode"); then
    is_healthy "$url" || fail "$name runs (pid $pid) but does not answer at $url: run ./stop_services.sh, then try again."
    echo "$name is already running (pid $pid): $url"
    return
  fi
  rm -f "$pid_file"
  case $url in *:0) fail "$name has port 0, which means any: give it a fixed one to run it in the background." ;; esac
  if port_is_taken "$url"; then fail "$name cannot start: another program listens at $url already."; fi

  [ -f "$log_file" ] && log_start=$(wc -c <"$log_file")
  # The log is the service's own, so that it can be rotated; what else is printed goes to the same file.
  LOG_FILE="$log_file" nohup "$node" "$node_options" "$program" serve "$mode" >>"$log_file" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$pid_file"
  started=("$pid_file" ${started[@]+"${started[@]}"})
  if ! wait_until_healthy "$url" "$pid"; then
    echo "start_services: $name did not start; the end of $log_file:" >&2
    tail -c "+$((log_start + 1))" "$log_file" | tail -n 15 | sed 's/^/  /' >&2
    if kill -0 "$pid" 2>/dev/null; then fail "$name did not answer at $url within $ready_seconds s."; fi
    fail "$name ended."
  fi
  echo "$name runs (pid $pid): $url   log: $log_file"
}

trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

find_node || fail 'run npm ci first: the dependencies are not installed.'
settings=$("$node" "$program" config --json) || fail 'nothing was started: the configuration has to be corrected first.'
read_settings "$settings"
mkdir -p "$log_dir"
close_folder "$log_dir"
take_lock
deadline=$((SECONDS + ready_seconds))
if [ "$use_pool_service" = true ]; then start pool-service pool "$pool_url"; fi
start warp2api gateway "$gateway_url"
