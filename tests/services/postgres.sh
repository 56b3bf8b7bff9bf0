#!/usr/bin/env bash
# postgres.sh start DIR [--port P] | stop DIR | kill DIR | check
# One PostgreSQL on 127.0.0.1 with the empty database `lake`; the user `tapehouse` logs in with a password (SCRAM). State, log and pid are in
# DIR/postgres; a second start keeps data and port. `kill` is SIGKILL of the server and all its processes; `check` says
# whether it can run here.
set -euo pipefail
. "$(dirname "$0")/common.sh"

PASSWORD=tapehouse-secret

# find_postgres: prints the folder of initdb and postgres; Debian keeps them off the PATH.
find_postgres() {
  local candidate
  for candidate in $(ls -dv /usr/lib/postgresql/*/bin 2>/dev/null | tac) "$(dirname "$(command -v initdb || true)")"; do
    if [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ]; then echo "$candidate"; return; fi
  done
  needs "PostgreSQL 12 or newer (apt-get install postgresql)"
}

# PostgreSQL refuses to run as root: then a user of the system runs it, who owns nothing but its data.
unprivileged_user() {
  local user
  [ "$(id -u)" -eq 0 ] || { id -un; return; }
  for user in postgres nobody; do
    if id "$user" >/dev/null 2>&1; then echo "$user"; return; fi
  done
  needs "a user other than root that PostgreSQL can run as"
}

# run_as USER: sets the array `as`, a prefix that becomes the command after it under that user, so that the pid stays the command's.
run_as() {
  as=(env -C / LC_ALL=C)
  [ "$1" = "$(id -un)" ] || as=(setpriv --reuid "$1" --regid "$(id -g "$1")" --clear-groups env -C / LC_ALL=C HOME=/)
}

# That user comes to its data through folders of ours. Temporary ones are opened for passing; about others the caller has to decide.
let_pass() {
  local parent=$1
  while [ "$parent" != / ]; do
    case $parent in
      "${TMPDIR:-/tmp}"/* | /tmp/* | /var/tmp/*) [ ! -O "$parent" ] || chmod o+x "$parent" ;;
    esac
    parent=$(dirname "$parent")
  done
  "${as[@]}" test -x "$1" || fail "the user that runs PostgreSQL cannot pass through to $1"
}

make_data() {
  local folder=$1 user=$2 bin=$3
  rm -rf "$folder/data"
  mkdir -p "$folder/data"
  printf '%s\n' "$PASSWORD" >"$folder/password"
  chown "$user" "$folder/data" "$folder/password"
  "${as[@]}" "$bin/initdb" -D "$folder/data" -U tapehouse --pwfile="$folder/password" --auth=scram-sha-256 --encoding=UTF8 --locale=C >>"$folder/log" 2>&1 &&
    "${as[@]}" "$bin/postgres" --single -D "$folder/data" postgres <<<'CREATE DATABASE lake' >>"$folder/log" 2>&1 ||
    { tail -n 20 "$folder/log" >&2; rm -rf "$folder/data"; fail "making the database failed"; }
}

# SIGKILL of the server and of its children: one that outlived it for a moment would keep a new server from starting.
kill_all() {
  local folder=$1 server child children
  if is_running "$folder"; then
    read -r server _ <"$folder/pid"
    children=$(cat "/proc/$server/task/$server/children" 2>/dev/null || true)
    kill -KILL "$server"
    for child in $children; do kill -KILL "$child" 2>/dev/null || true; done
    for child in $server $children; do
      while kill -0 "$child" 2>/dev/null; do sleep 0.02; done
    done
  fi
  halt "$folder"
}

# An SSLRequest (length 8, code 80877103): a server that takes connections answers S or N. While it starts up, it answers too, but closes
# the log-in; so the log has to say that it is ready since it was launched.
answers() {
  local reply
  tail -n "+$3" "$1/log" | grep -q 'database system is ready to accept connections' || return 1
  reply=$( (exec 3<>"/dev/tcp/127.0.0.1/$2" && printf '\x00\x00\x00\x08\x04\xd2\x16\x2f' >&3 && timeout 2 head -c 1 <&3) 2>/dev/null || true)
  [ "$reply" = S ] || [ "$reply" = N ]
}

start() {
  local folder port=${2:-} bin user from=1 as
  bin=$(find_postgres) || exit $?
  user=$(unprivileged_user) || exit $?
  folder=$(server_folder "$1" postgres)
  run_as "$user"
  [ "$user" = "$(id -un)" ] || let_pass "$folder"
  [ -n "$port" ] || port=$(cat "$folder/port" 2>/dev/null || free_port)
  if ! is_running "$folder"; then
    echo "$port" >"$folder/port"
    [ -f "$folder/data/PG_VERSION" ] || make_data "$folder" "$user" "$bin"
    from=$(($(wc -l <"$folder/log") + 1))
    launch "$folder" "${as[@]}" "$bin/postgres" -D "$folder/data" -h 127.0.0.1 -p "$port" -k ''
  fi
  await "$folder" PostgreSQL 60 answers "$folder" "$port" "$from"
  publish "$1" POSTGRES_URI "postgresql://tapehouse:$PASSWORD@127.0.0.1:$port/lake"
}

case "${1:-} $#" in
  "check 1") bin=$(find_postgres) && user=$(unprivileged_user) ;;
  "start 2") start "$2" ;;
  "start 4") [ "$3" = --port ] || usage "postgres.sh start DIR [--port P]"; start "$2" "$4" ;;
  "stop 2") halt "$2/postgres" ;;
  "kill 2") kill_all "$2/postgres" ;;
  *) usage "postgres.sh start DIR [--port P] | stop DIR | kill DIR | check" ;;
esac
