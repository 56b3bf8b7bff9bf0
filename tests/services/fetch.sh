#!/usr/bin/env bash
# fetch.sh: puts Apache Kafka, Apicurio Registry and Iceberg's REST catalog from Maven Central into the cache (about 430 MB). What is there already is kept.
set -euo pipefail
. "$(dirname "$0")/common.sh"

DEPENDENCY_PLUGIN=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

need_maven() { command -v mvn >/dev/null || needs "Maven, which fetches Kafka and Apicurio (apt-get install maven)"; }

# A folder appears under its final name only when it is complete, so that an interrupted fetch leaves nothing half done.
fetch_kafka() {
  need_maven
  local partial=$KAFKA_HOME.partial
  rm -rf "$partial"
  mkdir -p "$partial"
  mvn -q -B -f "$SERVICES_DIR/kafka/pom.xml" -Dkafka.version="$KAFKA_VERSION" "$DEPENDENCY_PLUGIN:copy-dependencies" -DoutputDirectory="$partial/jars" >&2
  mv "$partial" "$KAFKA_HOME"
}

fetch_apicurio() {
  need_maven
  local partial=$APICURIO_HOME.partial
  rm -rf "$partial"
  mkdir -p "$partial"
  mvn -q -B "$DEPENDENCY_PLUGIN:copy" -Dartifact="io.apicurio:apicurio-registry-app:$APICURIO_VERSION:tar.gz:all" -DoutputDirectory="$partial" >&2
  tar -xzf "$partial"/*.tar.gz -C "$partial"
  rm "$partial"/*.tar.gz
  [ -f "$partial/quarkus-run.jar" ] || fail "the Apicurio archive holds no quarkus-run.jar"
  mv "$partial" "$APICURIO_HOME"
}

fetch_rest() {
  need_maven
  local partial=$REST_HOME.partial
  rm -rf "$partial"
  mkdir -p "$partial"
  mvn -q -B -f "$SERVICES_DIR/rest/pom.xml" -Diceberg.version="$ICEBERG_VERSION" -Dawssdk.version="$AWSSDK_VERSION" -Djetty.version="$JETTY_VERSION" \
    "$DEPENDENCY_PLUGIN:copy-dependencies" -DoutputDirectory="$partial/jars" >&2
  mv "$partial" "$REST_HOME"
}

mkdir -p "$CACHE"
if [ ! -d "$KAFKA_HOME" ] || [ ! -d "$APICURIO_HOME" ] || [ ! -d "$REST_HOME" ]; then
  exec 9>"$CACHE/fetch.lock"
  flock 9
  [ -d "$KAFKA_HOME" ] || fetch_kafka
  [ -d "$APICURIO_HOME" ] || fetch_apicurio
  [ -d "$REST_HOME" ] || fetch_rest
fi
echo "KAFKA_HOME=$KAFKA_HOME"
echo "APICURIO_HOME=$APICURIO_HOME"
echo "REST_HOME=$REST_HOME"
