#!/usr/bin/env bash
# registry-proxy.sh start DIR UPSTREAM | stop DIR
# TLS and credentials in front of the registry at UPSTREAM (registry_proxy.py says which), on 127.0.0.1; a second one shows a certificate that has
# expired. State, certificates and the list of requests are in DIR/registry-proxy and DIR/registry-expired.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/certificates.sh"

begin() {
  local folder port
  folder=$(server_folder "$1" "$2")
  port=$(free_port)
  launch "$folder" "$4" "$SERVICES_DIR/registry_proxy.py" "$port" "$3" "$5" "$folder/requests"
  await "$folder" "the registry's proxy" 20 port_is_open "$port"
  publish "$1" "$6" "https://127.0.0.1:$port"
}

start() {
  local python
  python=$("$SERVICES_DIR/venv.sh") || exit $?
  make_certificates "$1/certs"
  begin "$1" registry-proxy "$1/certs/server.store.pem" "$python" "$2" REGISTRY_PROXY
  begin "$1" registry-expired "$1/certs/expired.store.pem" "$python" "$2" REGISTRY_EXPIRED
}

case "${1:-} $#" in
  "start 3") start "$(mkdir -p "$2" && cd "$2" && pwd)" "$3" ;;
  "stop 2") halt "$2/registry-proxy"; halt "$2/registry-expired" ;;
  *) usage "registry-proxy.sh start DIR UPSTREAM | stop DIR" ;;
esac
