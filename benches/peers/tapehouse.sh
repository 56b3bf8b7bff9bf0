#!/bin/bash
# tapehouse.sh [N=2000000] [TOPIC=raw.trades]   Tapehouse append on the peers' data, measured like them: process launch to exit, read back after.
# One command: where the peers' services do not run, Kafka, Apicurio and Python come from ../../tests/services, and gen.py fills the topic.
# TAPEHOUSE_BIN names the node (default: ../../target/release/tapehouse); RUNS runs (default 3), each into a fresh warehouse.
. "$(dirname "$0")/common.sh"; set -e; N=${1:-2000000} TOPIC=${2:-raw.trades}; ROOT=$(cd "$HERE/../.." && pwd)
: "${TAPEHOUSE_BIN:=$ROOT/target/release/tapehouse}"; [ -x "$TAPEHOUSE_BIN" ] || { echo "needs $TAPEHOUSE_BIN: cargo build --release"; exit 1; }
ORACLES=$("$ROOT/tests/services/venv.sh"); D=$(mktemp -d "$PEERS_DIR/tapehouse.XXXXXX"); trap 'rm -rf "$D"' EXIT
if ! (echo > "/dev/tcp/127.0.0.1/$KAFKA_PORT") 2>/dev/null; then
  trap '"$ROOT/tests/services/stack.sh" down "$D/servers"; rm -rf "$D"' EXIT
  "$ROOT/tests/services/stack.sh" up "$D/servers" >/dev/null; . "$D/servers/env"; export BOOT=$KAFKA_BOOTSTRAP_SERVERS REG=$SCHEMA_REGISTRY_URL
  "$ORACLES" "$HERE/gen.py" append "$N" "$TOPIC"
fi
cat > "$D/tapehouse.toml" <<T
[kafka]
bootstrap_servers = "$BOOT"
[schema_registry]
url = "$REG"
[catalog]
uri = "sqlite://$D/lake/catalog.db"
[warehouse]
path = "file://$D/lake/warehouse"
[http]
listen = "127.0.0.1:0"
[grpc]
listen = "127.0.0.1:0"
[[topics]]
topic = "$TOPIC"
table = "bronze.tapehouse"
timestamp_fields = ["trade_timestamp", "event_timestamp"]
event_time_field = "event_timestamp"
T
for _ in $(seq "${RUNS:-3}"); do
  rm -rf "$D/lake" "$D/state"; mkdir "$D/lake"; echo "load $(cut -d ' ' -f 1 /proc/loadavg)"
  "$ORACLES" "$HERE/measure.py" "${NAME:-tapehouse}" bronze.tapehouse "$N" --exit -- "$TAPEHOUSE_BIN" --config "$D/tapehouse.toml" --state-dir "$D/state" --log-level warn run --until-caught-up -o json
  "$ORACLES" "$ROOT/tests/oracle/bronze.py" "$D/lake/catalog.db" --table bronze.tapehouse --expect-rows "$N" --complete "topic=$TOPIC,bootstrap=$BOOT" \
    | "$ORACLES" -c 'import json,sys; r=json.load(sys.stdin); print({k: r.get(k) for k in ("ok", "rows_pyiceberg", "rows_duckdb", "missing", "duplicates")})'
  echo "files $(find "$D/lake/warehouse" -name '*.parquet' | wc -l), $(du -sm "$D/lake/warehouse" | cut -f 1) MB"
done
