#!/usr/bin/env bash
# check.sh: can the real servers and the oracles run here? Fetches what can be fetched. Prints `ok NAME` or `needs WHAT` for each;
# exit 0 when all is there, 77 when something is missing.
set -euo pipefail
. "$(dirname "$0")/common.sh"

status=0
# check NAME COMMAND...: a part that cannot be made ready is named, with the last line that its script said.
check() {
  local name=$1 said
  shift
  if said=$("$@" 2>&1 >/dev/null); then
    echo "ok $name"
    return
  fi
  said=$(tail -n 1 <<<"$said")
  [[ $said == needs* ]] || said="needs $name, and it could not be made ready: $said"
  echo "$said"
  status=$EXIT_NEEDS
}

java_for_both() { find_java 21 && { command -v curl >/dev/null || needs "curl (apt-get install curl)"; }; }

check Java java_for_both
check PostgreSQL "$SERVICES_DIR/postgres.sh" check
check "Kafka, Apicurio and Iceberg's REST catalog from Maven Central" "$SERVICES_DIR/fetch.sh"
check "Iceberg REST catalog" "$SERVICES_DIR/rest.sh" check
check "the S3 server" "$SERVICES_DIR/s3.sh" check
check "the oracles' Python environment" "$SERVICES_DIR/venv.sh"
exit "$status"
