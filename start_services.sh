#!/usr/bin/env bash
# Starts the account pool and the gateway in the background; stop_services.sh stops them.
# Settings come from the environment and from .env, exactly as the services read them.
set -euo pipefail
# Logs, pid files and whatever the services make are their owner's alone.
umask 077
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/services.sh
. scripts/services.sh

ready_seconds=60
started=() # pid files of what this run has started, the latest first; undone if it fails

fail() {
  printf 'start_services: %s\n' "$1" >&2
  exit 1
}

undo() {
  local code=$? pid_file
  trap - EXIT INT TERM
  if [ "$code" -ne 0 ]; then
    for pid_file in ${started[@]+"${started[@]}"}; do
      stop_process "$(cat "$pid_file")" 5 >/dev/null 2>&1 || true
      rm -f "$pid_file"
      echo "start_services: $(basename "$pid_file" .pid) was stopped again." >&2
    done
  fi
  rm -f "${lock:-}"
  exit "$code"
}

take_lock() {
  local holder path="$data_dir/start.lock"
  # A link is made with what it says in one step.
  if ! ln -s $$ "$path" 2>/dev/null; then
    if holder=$(start_at_work); then fail "another start_services.sh is at work (pid $holder)."; fi
    rm -rf "$path"
    ln -s $$ "$path" || fail "$path cannot be made: check the folder."
  fi
  lock=$path
}

# A service of this data folder that was started otherwise, such as by `npm start`.
look_at_running() {
  local pid service holds_pool urls by root
  while IFS=$'\t' read -r pid service holds_pool urls by root; do
    if [ "$root" != - ]; then fail "a service of $root uses this DATA_DIR (pid $pid): stop it there, or set another DATA_DIR."; fi
    case $service in
      pool)
        noted_pool=$pid noted_pool_url=$urls
        if [ "$use_pool_service" != true ]; then
          fail "pool-service runs (pid $pid), but USE_POOL_SERVICE=false puts the pool into the gateway: run ./stop_services.sh first."
        fi
        ;;
      gateway)
        noted_gateway=$pid noted_gateway_url=$urls
        if [ "$holds_pool" = true ] && [ "$use_pool_service" = true ]; then
          fail "warp2api runs with the pool inside (pid $pid), as USE_POOL_SERVICE=false had it: run ./stop_services.sh first."
        fi
        ;;
      both)
        [ "$by" != - ] || by='warp2api serve'
        echo "Warp2API is already running, started by $by (pid $pid): $urls"
        echo 'Stop it with Ctrl+C there, or with ./stop_services.sh.'
        tell_of_sandbox "${urls%% *}"
        exit 0
        ;;
    esac
  done < <([ -z "$running" ] || echo "$running")
}

tell_of_sandbox() {
  if says_sandbox "$1"; then
    echo 'The pool has no account yet, so the built-in sandbox answers: it repeats what you say. To add an account of yours:'
    echo '  npx warp2api account add --provider warp --api-key -'
  fi
}

# start NAME MODE URL: one service, unless it runs; returns when it answers.
start() {
  local name=$1 mode=$2 url=$3
  local pid_file="$log_dir/$name.pid" log_file="$log_dir/$name.log" log_start=0 pid
  case $mode in pool) pid=$noted_pool ;; *) pid=$noted_gateway ;; esac
  if [ -n "$pid" ]; then
    # It may listen elsewhere than the settings say now.
    case $mode in pool) pool_url=$noted_pool_url url=$pool_url ;; *) gateway_url=$noted_gateway_url url=$gateway_url ;; esac
  fi
  if [ -z "$pid" ] && pid=$(running_pid "$pid_file" "$mode"); then
    fail "$name runs (pid $pid), but with another DATA_DIR than $data_dir or from before an update: run ./stop_services.sh first."
  fi
  if [ -n "$pid" ]; then
    is_healthy "$url" || fail "$name runs (pid $pid) but does not answer at $url: run ./stop_services.sh, then try again."
    echo "$name is already running (pid $pid): $url"
    return
  fi
  rm -f "$pid_file"
  case $url in *:0) fail "$name has port 0, which means any: give it a fixed one to run it in the background." ;; esac
  if port_is_taken "$url"; then fail "$name cannot start: another program listens at $url already$(listener "$url")."; fi

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
settings=$("$node" "$program" config --json --start) || fail 'nothing was started: the configuration has to be corrected first.'
read_settings "$settings"
if [ "$use_pool_service" = true ] && [ "$pool_url" = "$gateway_url" ]; then
  fail "nothing was started: pool and gateway would both listen at $pool_url. Give PORT and POOL_SERVICE_PORT different values."
fi
mkdir -p "$log_dir" "$data_dir"
close_folder "$log_dir"
take_lock
noted_pool='' noted_gateway=''
look_at_running
deadline=$((SECONDS + ready_seconds))
if [ "$use_pool_service" = true ]; then start pool-service pool "$pool_url"; fi
start warp2api gateway "$gateway_url"
tell_of_sandbox "$gateway_url"
