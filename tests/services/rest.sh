#!/usr/bin/env bash
# rest.sh start DIR [--port P] [--s3 S3_DIR] | stop DIR | kill DIR | check
# Iceberg's own REST catalog server (its test fixture) on SQLite. Its tables are local files, or with --s3 objects of the server that
# `s3.sh start S3_DIR` started. State, log and pid are in DIR/rest; a second start keeps data and port.
# `kill` is SIGKILL. The fixture knows no log-in, and listens on every address: a preloaded library (loopback.c) holds it to 127.0.0.1.
set -euo pipefail
. "$(dirname "$0")/common.sh"

USAGE="rest.sh start DIR [--port P] [--s3 S3_DIR] | stop DIR | kill DIR | check"

rest_answers() { curl -sf -m 5 -o /dev/null "http://127.0.0.1:$1/v1/config"; }

# Hadoop, by which the fixture reaches local files, needs a call that Java 24 has taken away. Maven brings a java of that age.
find_fitting_java() {
  local major java
  read -r major java <<<"$(newest_java 23)"
  [ "$major" -ge 17 ] || needs "a Java from 17 to 23 for Iceberg's REST catalog (apt-get install openjdk-17-jre-headless)"
  echo "$java"
}

# loopback: prints the library that keeps a server on 127.0.0.1, building it into the cache where it is not.
loopback() {
  local library
  library=$CACHE/loopback-$(cksum <"$SERVICES_DIR/loopback.c" | cut -d ' ' -f 1).so
  if [ ! -f "$library" ]; then
    command -v cc >/dev/null || needs "a C compiler (apt-get install gcc)"
    mkdir -p "$CACHE"
    cc -shared -fPIC -O1 -o "$library.$$" "$SERVICES_DIR/loopback.c" -ldl || fail "loopback.c could not be built"
    mv "$library.$$" "$library"
  fi
  echo "$library"
}

start() {
  local folder port="" java store="" settings library
  folder=$(server_folder "$1" rest)
  shift
  while [ "$#" -gt 0 ]; do
    case "$1 $#" in
      "--port "[2-9]*) port=$2; shift 2 ;;
      "--s3 "[2-9]*) store=$2; shift 2 ;;
      *) usage "$USAGE" ;;
    esac
  done
  command -v curl >/dev/null || needs "curl (apt-get install curl)"
  java=$(find_fitting_java) || exit $?
  library=$(loopback) || exit $?
  "$SERVICES_DIR/fetch.sh" >/dev/null
  [ -n "$port" ] || port=$(cat "$folder/port" 2>/dev/null || free_port)
  settings=("LD_PRELOAD=$library" "CATALOG_REST_PORT=$port" "CATALOG_URI=jdbc:sqlite:$folder/catalog.db" "CATALOG_JDBC_SCHEMA__VERSION=V1" "CATALOG_WAREHOUSE=file://$folder/warehouse")
  if [ -n "$store" ]; then
    # shellcheck disable=SC1091 # what s3.sh published: S3_ENDPOINT, S3_BUCKET and the keys
    . "$store/env"
    settings+=("CATALOG_WAREHOUSE=s3://$S3_BUCKET/rest" CATALOG_IO__IMPL=org.apache.iceberg.aws.s3.S3FileIO "CATALOG_S3_ENDPOINT=$S3_ENDPOINT"
      CATALOG_S3_PATH__STYLE__ACCESS=true CATALOG_CLIENT_REGION=us-east-1 AWS_REGION=us-east-1
      "AWS_ACCESS_KEY_ID=$S3_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY=$S3_SECRET_ACCESS_KEY")
  fi
  if ! is_running "$folder"; then
    echo "$port" >"$folder/port"
    launch "$folder" env "${settings[@]}" "$java" -Djava.net.preferIPv4Stack=true -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$REST_HOME/jars/*" org.apache.iceberg.rest.RESTCatalogServer
  fi
  await "$folder" "Iceberg REST catalog" 60 rest_answers "$port"
  publish "$(dirname "$folder")" REST_URI "http://127.0.0.1:$port"
}

case "${1:-} $#" in
  "check 1") find_fitting_java && loopback ;;
  "start "[2-9]*) start "${@:2}" ;;
  "stop 2") halt "$2/rest" ;;
  "kill 2") if is_running "$2/rest"; then kill -KILL "$(cut -d ' ' -f 1 "$2/rest/pid")"; fi; halt "$2/rest" ;;
  *) usage "$USAGE" ;;
esac
