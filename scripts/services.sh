# shellcheck shell=bash
# What start_services.sh and stop_services.sh share. They run it in the root of the checkout.

root=$(pwd -P)
program="$root/bin/warp2api.js"
# Halves of 8 MB for young objects: by default they grow to four times that under load and stay there.
node_options=--max-semi-space-size=8
# As bin/warp2api.js has it, which spares each service a second start.
export MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_ARENA_MAX=2

# Sets $node to the Node of node_modules, or to a new enough one on the PATH.
find_node() {
  [ -d "$root/node_modules" ] || return 1
  node="$root/node_modules/node/bin/node"
  [ -x "$node" ] && return 0
  node=$(command -v node) && [ "$("$node" -p 'parseInt(process.versions.node)')" -ge 24 ]
}

# read_settings JSON: what the program says about itself, as variables; $running has a line for each service that runs with this
# DATA_DIR: pid, service, whether it holds the pool, addresses, what started it, another checkout it is of. "-" stands for nothing.
read_settings() {
  {
    IFS= read -r pool_url
    IFS= read -r gateway_url
    IFS= read -r use_pool_service
    IFS= read -r log_dir
    IFS= read -r data_dir
    IFS= read -r shutdown_seconds
    running=$(cat)
  } < <("$node" -e '
    const { services = [], ...settings } = JSON.parse(process.argv[1]);
    for (const name of process.argv[2].split(" ")) console.log(settings[name] ?? "");
    for (const { pid, service, holdsPool, urls, startedBy = "-", otherRoot = "-" } of services)
      console.log([pid, service, holdsPool, urls.join(" ") || "-", startedBy, otherRoot].join("\t"));
  ' "$1" 'poolUrl gatewayUrl usePoolService logDir dataDir shutdownSeconds')
}

# close_folder FOLDER: takes our files in it from other users, and the folder unless it is there for more than them.
close_folder() {
  local folder
  folder=$(cd "$1" && pwd -P)
  find "$folder" -maxdepth 1 -type f \( -name '*.pid' -o -name '*.log' -o -name '*.log.*' \) -user "$(id -u)" \
    -exec chmod go-rwx {} +
  # What lies this high, or above the checkout or a home folder, others need as well.
  [[ ! $folder =~ ^/[^/]*$|^/(home|usr|var|Users)/[^/]*$ ]] || return 0
  case $root/ in "$folder"/*) return ;; esac
  case ${HOME:-/}/ in "$folder"/*) return ;; esac
  [ ! -O "$folder" ] || chmod go-rwx "$folder"
}

# running_pid PID_FILE MODE: prints the pid if it is alive and really is that service of this checkout.
running_pid() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  case $(words_of "$pid") in *"$program serve $2"*) echo "$pid" ;; *) return 1 ;; esac
}

# start_at_work: prints the pid of the start_services.sh that holds the lock of $data_dir, as long as it runs. Another process may
# have the id of one that was killed.
start_at_work() {
  local pid
  pid=$(readlink "$data_dir/start.lock" 2>/dev/null) || return 1
  case $(words_of "$pid") in *start_services*) [ "$pid" != $$ ] && echo "$pid" ;; *) return 1 ;; esac
}

# words_of PID: the command line of a process; nothing where none runs.
words_of() {
  case $1 in '' | *[!0-9]*) return ;; esac
  if [ -r "/proc/$1/cmdline" ]; then
    tr '\0' ' ' <"/proc/$1/cmdline"
  else
    ps -p "$1" -o args= 2>/dev/null || true
  fi
}

# stop_process PID SECONDS: asks it to end, waits, and ends it by force when it does not. False for one of another user.
stop_process() {
  local tries
  if ! kill -TERM "$1" 2>/dev/null; then has_ended "$1"; return; fi
  for ((tries = $2 * 10; tries > 0; tries--)); do
    has_ended "$1" && return
    sleep 0.1
  done
  echo "Warning: process $1 did not end within $2 s and was killed." >&2
  kill -KILL "$1" 2>/dev/null || true
}

# A process that has ended but was not yet collected by its parent counts as ended.
has_ended() {
  if ! kill -0 "$1" 2>/dev/null && ! ps -p "$1" >/dev/null 2>&1; then return 0; fi
  local state
  if [ -r "/proc/$1/stat" ]; then
    state=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null)
  else
    state=$(ps -p "$1" -o stat= 2>/dev/null)
  fi
  case $state in Z*) return 0 ;; *) return 1 ;; esac
}

# says_sandbox URL: true when it answers from the built-in sandbox.
says_sandbox() {
  direct_node -e '
    fetch(process.argv[1] + "/health", { signal: AbortSignal.timeout(5000) })
      .then((answer) => answer.json())
      .then(({ sandbox }) => { process.exitCode = sandbox === true ? 0 : 1; }, () => { process.exitCode = 1; });
  ' "$1"
}

# Runs the Node without the proxies that it may have been told to use: services of this machine are asked directly.
direct_node() {
  env -u HTTP_PROXY -u http_proxy -u ALL_PROXY -u all_proxy "$node" "$@"
}

is_healthy() {
  direct_node -e '
    fetch(process.argv[1] + "/health", { signal: AbortSignal.timeout(5000) })
      .then((answer) => { process.exitCode = answer.ok ? 0 : 1; }, () => { process.exitCode = 1; });
  ' "$1"
}

# listener URL: " (pid 1, name)" of what listens there, as far as this user may see it.
listener() {
  local port=${1##*:} pid
  pid=$(lsof -nP -t -iTCP:"$port" -sTCP:LISTEN 2>/dev/null | head -n 1) || true
  [ -n "$pid" ] || pid=$(ss -Hltnp "sport = :$port" 2>/dev/null | sed -n 's/.*pid=\([0-9]*\).*/\1/p' | head -n 1) || true
  [ -z "$pid" ] || echo " (pid $pid, $(ps -p "$pid" -o comm= 2>/dev/null))"
}

port_is_taken() {
  "$node" -e '
    const url = new URL(process.argv[1]);
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
    const socket = require("node:net").connect({ host, port, timeout: 2000 });
    const end = (code) => { process.exitCode = code; socket.destroy(); };
    socket.on("connect", () => end(0)).on("error", () => end(1)).on("timeout", () => end(1));
  ' "$1"
}

# wait_until_healthy URL PID: true once it answers, false when the process ends or $deadline passes.
wait_until_healthy() {
  direct_node -e '
    const [url, pid, seconds] = process.argv.slice(1);
    const end = Date.now() + Number(seconds) * 1000;
    const isAlive = () => { try { process.kill(Number(pid), 0); return true; } catch { return false; } };
    const isHealthy = () => fetch(url + "/health", { signal: AbortSignal.timeout(2000) })
      .then((answer) => answer.ok, () => false);
    (async () => {
      while (isAlive() && Date.now() < end) {
        if ((await isHealthy()) && isAlive()) return;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      process.exitCode = 1;
    })();
  ' "$1" "$2" "$((deadline - SECONDS))"
}
