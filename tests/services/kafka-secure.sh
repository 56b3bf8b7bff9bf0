#!/usr/bin/env bash
# kafka-secure.sh start DIR | stop DIR
# One KRaft broker on 127.0.0.1 that asks for credentials, with a listener for each way to be let in, and some that nobody should trust.
# State, log, pid and certificates are in DIR/kafka-secure; `start` prints the addresses, which also stand in DIR/env:
#   SECURE_PLAINTEXT         anybody, for administration
#   SECURE_TLS               TLS; the broker's certificate is for 127.0.0.1 and signed by certs/ca.pem
#   SECURE_MTLS              the same, and clients show a certificate: certs/client.pem, certs/client.key (encrypted: client-key-secret)
#   SECURE_SASL, SECURE_SASL_TLS   PLAIN, SCRAM-SHA-256, SCRAM-SHA-512: users `reader` (may do all) and `limited` (may do nothing)
#   SECURE_EXPIRED, SECURE_OTHER_HOST   TLS with a certificate that has run out, and with one for another host
# Both users have the password NAME-secret-7c1f, so that it can be looked for.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/certificates.sh"

LISTENERS="PLAINTEXT TLS MTLS SASL SASL_TLS EXPIRED OTHER_HOST"
PROTOCOLS=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,MTLS:SSL,SASL:SASL_PLAINTEXT,SASL_TLS:SASL_SSL,EXPIRED:SSL,OTHER_HOST:SSL

write_properties() {
  local folder=$1 listener name controller_port addresses=""
  controller_port=$(free_port)
  for listener in $LISTENERS; do addresses+="$listener://127.0.0.1:$(cat "$folder/port.$listener"),"; done
  {
    cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=${addresses}CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=${addresses%,}
listener.security.protocol.map=$PROTOCOLS
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$folder/data
auto.create.topics.enable=false
log.retention.ms=-1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:reader;User:CN=client
ssl.keystore.type=PEM
ssl.truststore.type=PEM
ssl.truststore.location=$folder/certs/ca.pem
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.mtls.ssl.client.auth=required
PROPERTIES
    for name in tls:server mtls:server sasl_tls:server expired:expired other_host:other; do
      echo "listener.name.${name%:*}.ssl.keystore.location=$folder/certs/${name#*:}.store.pem"
    done
    for name in sasl sasl_tls; do
      echo "listener.name.$name.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_reader=\"reader-secret-7c1f\" user_limited=\"limited-secret-7c1f\";"
      for mechanism in 256 512; do
        echo "listener.name.$name.scram-sha-$mechanism.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"
      done
    done
  } >"$folder/server.properties"
}

broker_listens() {
  local listener
  for listener in $LISTENERS; do port_is_open "$(cat "$1/port.$listener")" || return 1; done
  grep -q "Kafka Server started" "$1/log"
}

start() {
  local folder java listener user mechanism scram=()
  java=$(find_java 17) || exit $?
  "$SERVICES_DIR/fetch.sh" >/dev/null
  folder=$(server_folder "$1" kafka-secure)
  if ! is_running "$folder"; then
    make_certificates "$folder/certs"
    for listener in $LISTENERS; do [ -f "$folder/port.$listener" ] || free_port >"$folder/port.$listener"; done
    write_properties "$folder"
    if [ ! -d "$folder/data" ]; then
      for user in reader limited; do
        for mechanism in 256 512; do scram+=(--add-scram "SCRAM-SHA-$mechanism=[name=$user,password=$user-secret-7c1f]"); done
      done
      "$java" -cp "$KAFKA_HOME/jars/*" kafka.tools.StorageTool format -t "$("$java" -cp "$KAFKA_HOME/jars/*" kafka.tools.StorageTool random-uuid 2>/dev/null | tail -n 1)" \
        -c "$folder/server.properties" "${scram[@]}" >>"$folder/log" 2>&1 || { tail -n 20 "$folder/log" >&2; fail "formatting $folder/data failed"; }
    fi
    launch "$folder" "$java" -Xmx512m -cp "$KAFKA_HOME/jars/*" kafka.Kafka "$folder/server.properties"
  fi
  await "$folder" "the secured Kafka" 60 broker_listens "$folder"
  for listener in $LISTENERS; do publish "$1" "SECURE_$listener" "127.0.0.1:$(cat "$folder/port.$listener")"; done
  publish "$1" SECURE_CERTS "$folder/certs"
}

case "${1:-} $#" in
  "start 2") start "$2" ;;
  "stop 2") halt "$2/kafka-secure" ;;
  *) usage "kafka-secure.sh start DIR | stop DIR" ;;
esac
