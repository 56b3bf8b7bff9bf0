#!/usr/bin/env bash
# apicurio.sh start DIR [--port P] | stop DIR | kill DIR
# Apicurio Registry on 127.0.0.1 with its Confluent-compatible API. State (H2 in a file, so that schemas survive a restart), log and
# pid are in DIR/apicurio; a second start keeps data and port. `kill` is SIGKILL.
set -euo pipefail
. "$(dirname "$0")/common.sh"

registry_answers() { curl -sf -m 5 -o /dev/null "http://127.0.0.1:$1/apis/ccompat/v7/subjects"; }

start() {
  local folder port=${2:-} java
  command -v curl >/dev/null || needs "curl (apt-get install curl)"
  java=$(find_java 21) || exit $?
  "$SERVICES_DIR/fetch.sh" >/dev/null
  folder=$(server_folder "$1" apicurio)
  [ -n "$port" ] || port=$(cat "$folder/port" 2>/dev/null || free_port)
  if ! is_running "$folder"; then
    echo "$port" >"$folder/port"
    launch "$folder" "$java" -Xmx512m -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" -Dquarkus.http.access-log.enabled=false \
      -Dquarkus.management.host=127.0.0.1 -Dquarkus.management.port="$(free_port)" -Dapicurio.storage.kind=sql -Dapicurio.storage.sql.kind=h2 -Dapicurio.datasource.url="jdbc:h2:file:$folder/registry" \
      -jar "$APICURIO_HOME/quarkus-run.jar"
  fi
  await "$folder" "Apicurio Registry" 120 registry_answers "$port"
  publish "$1" SCHEMA_REGISTRY_URL "http://127.0.0.1:$port/apis/ccompat/v7"
}

case "${1:-} $#" in
  "start 2") start "$2" ;;
  "start 4") [ "$3" = --port ] || usage "apicurio.sh start DIR [--port P]"; start "$2" "$4" ;;
  "stop 2") halt "$2/apicurio" ;;
  "kill 2") if is_running "$2/apicurio"; then kill -KILL "$(cut -d ' ' -f 1 "$2/apicurio/pid")"; fi; halt "$2/apicurio" ;;
  *) usage "apicurio.sh start DIR [--port P] | stop DIR | kill DIR" ;;
esac
