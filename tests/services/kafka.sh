#!/usr/bin/env bash
# kafka.sh start DIR [--port P] | stop DIR | kill DIR
# One KRaft broker on 127.0.0.1. State, log and pid are in DIR/kafka; a second start keeps data and port. `kill` is SIGKILL.
# Topics are never created by use (topics.sh does) and records are kept whatever their timestamp, so that past dates can be produced.
set -euo pipefail
. "$(dirname "$0")/common.sh"

write_properties() {
  local folder=$1 port=$2 controller_port=$3
  cat >"$folder/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$folder/data
auto.create.topics.enable=false
num.partitions=4
log.retention.ms=-1
log.retention.check.interval.ms=1000
log.cleaner.backoff.ms=500
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
PROPERTIES
}

# An ApiVersions request (key 18, version 0, correlation id 1, no client id); the broker answers only once it is registered and unfenced.
# The first four bytes of an answer are its length: anything above zero will do.
broker_answers() {
  local reply
  reply=$( (exec 3<>"/dev/tcp/127.0.0.1/$1" && printf '\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff' >&3 \
    && timeout 2 head -c 8 <&3 | od -An -tx1 | tr -d ' \n') 2>/dev/null || true)
  [ "${reply:8:8}" = 00000001 ]
}

start() {
  local folder port=${2:-} java
  java=$(find_java 17) || exit $?
  "$SERVICES_DIR/fetch.sh" >/dev/null
  folder=$(server_folder "$1" kafka)
  [ -n "$port" ] || port=$(cat "$folder/port" 2>/dev/null || free_port)
  if ! is_running "$folder"; then
    write_properties "$folder" "$port" "$(free_port)"
    echo "$port" >"$folder/port"
    if [ ! -d "$folder/data" ]; then
      "$java" -cp "$KAFKA_HOME/jars/*" kafka.tools.StorageTool format -t "$("$java" -cp "$KAFKA_HOME/jars/*" kafka.tools.StorageTool random-uuid 2>/dev/null | tail -n 1)" \
        -c "$folder/server.properties" >>"$folder/log" 2>&1 || { tail -n 20 "$folder/log" >&2; fail "formatting $folder/data failed"; }
    fi
    launch "$folder" "$java" -Xmx1g -cp "$KAFKA_HOME/jars/*" kafka.Kafka "$folder/server.properties"
  fi
  await "$folder" Kafka 60 broker_answers "$port"
  publish "$1" KAFKA_BOOTSTRAP_SERVERS "127.0.0.1:$port"
}

case "${1:-} $#" in
  "start 2") start "$2" ;;
  "start 4") [ "$3" = --port ] || usage "kafka.sh start DIR [--port P]"; start "$2" "$4" ;;
  "stop 2") halt "$2/kafka" ;;
  "kill 2") if is_running "$2/kafka"; then kill -KILL "$(cut -d ' ' -f 1 "$2/kafka/pid")"; fi; halt "$2/kafka" ;;
  *) usage "kafka.sh start DIR [--port P] | stop DIR | kill DIR" ;;
esac
