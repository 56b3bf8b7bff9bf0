#!/usr/bin/env bash
# topics.sh create BOOTSTRAP TOPIC PARTITIONS [--config K=V]... | delete BOOTSTRAP TOPIC | describe BOOTSTRAP [TOPIC] | partitions BOOTSTRAP TOPIC N
# Kafka's own TopicCommand (a JVM start, about 2 s).
set -euo pipefail
. "$(dirname "$0")/common.sh"

USAGE="topics.sh create BOOTSTRAP TOPIC PARTITIONS [--config K=V]... | delete BOOTSTRAP TOPIC | describe BOOTSTRAP [TOPIC] | partitions BOOTSTRAP TOPIC N"
[ "$#" -ge 2 ] || usage "$USAGE"
action=$1 bootstrap=$2
shift 2

topic_command() {
  local java
  java=$(find_java 17) || exit $?
  "$SERVICES_DIR/fetch.sh" >/dev/null
  "$java" -Xmx256m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$KAFKA_HOME/jars/*" \
    org.apache.kafka.tools.TopicCommand --bootstrap-server "$bootstrap" "$@"
}

case "$action $#" in
  "delete 1") topic_command --delete --topic "$1" ;;
  "describe 0") topic_command --describe ;;
  "describe 1") topic_command --describe --topic "$1" ;;
  "partitions 2") topic_command --alter --topic "$1" --partitions "$2" ;;
  create*)
    [ "$#" -ge 2 ] || usage "$USAGE"
    topic=$1 count=$2
    shift 2
    topic_command --create --topic "$topic" --partitions "$count" --replication-factor 1 "$@" ;;
  *) usage "$USAGE" ;;
esac
