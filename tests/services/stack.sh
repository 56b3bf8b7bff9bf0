#!/usr/bin/env bash
# stack.sh up DIR | down DIR: Kafka and Apicurio together. `up` prints their addresses, which also stand in DIR/env; both start at once.
set -euo pipefail
. "$(dirname "$0")/common.sh"

up() {
  local kafka status=0
  mkdir -p "$1"
  "$SERVICES_DIR/fetch.sh" >/dev/null
  "$SERVICES_DIR/kafka.sh" start "$1" >/dev/null &
  kafka=$!
  "$SERVICES_DIR/apicurio.sh" start "$1" >/dev/null || status=$?
  wait "$kafka" || status=$?
  if [ "$status" -ne 0 ]; then
    down "$1"
    exit "$status"
  fi
  cat "$1/env"
}

down() {
  "$SERVICES_DIR/kafka.sh" stop "$1"
  "$SERVICES_DIR/apicurio.sh" stop "$1"
}

case "${1:-} $#" in
  "up 2") up "$2" ;;
  "down 2") down "$2" ;;
  *) usage "stack.sh up DIR | down DIR" ;;
esac
