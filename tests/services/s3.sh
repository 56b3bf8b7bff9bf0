#!/usr/bin/env bash
# s3.sh start DIR [--port P] | stop DIR | kill DIR | check
# An S3 server (versitygw) on 127.0.0.1 that checks signatures and knows If-None-Match. A second start keeps data and port. State, log
# and pid are in DIR/s3, objects as files in DIR/s3/data/BUCKET. `kill` is SIGKILL; `check` says whether it can run here.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# The version of Go that versitygw asks for; a part of the Go module proxy is Go itself.
GO_VERSION=1.25.0
GO_HOME=$CACHE/go-$GO_VERSION
ACCESS_KEY_ID=tapehouse-test
SECRET_ACCESS_KEY=tapehouse-test-secret
BUCKET=lake

# find_versitygw: prints the program, building it into the cache where it is not.
find_versitygw() {
  (
    mkdir -p "$CACHE"
    flock 9
    [ -x "$VERSITYGW" ] || build_versitygw
  ) 9>"$CACHE/versitygw.lock" || return $?
  echo "$VERSITYGW"
}

build_versitygw() {
  local go partial=$VERSITYGW.partial
  go=$(find_go) || return $?
  rm -rf "$partial"
  mkdir -p "$partial"
  # An older Go of 1.21 or later fetches the one that it needs.
  GOTOOLCHAIN=auto GOBIN=$partial GOFLAGS=-modcacherw "$go" install "github.com/versity/versitygw/cmd/versitygw@v$VERSITYGW_VERSION" >&2 ||
    needs "the S3 server versitygw, which $("$go" version) could not build"
  mv "$partial/versitygw" "$VERSITYGW"
  rmdir "$partial"
}

# find_go: prints a Go that can build it, fetching one where there is none and GOPROXY says from where.
find_go() {
  local go
  for go in "$(command -v go || true)" /usr/local/go/bin/go "$GO_HOME/bin/go"; do
    if [ -x "$go" ] && "$go" version | grep -Eq 'go1\.(2[1-9]|[3-9][0-9])'; then echo "$go"; return; fi
  done
  fetch_go >&2 || needs "Go 1.21 or newer, which builds the S3 server (https://go.dev/dl)"
  echo "$GO_HOME/bin/go"
}

fetch_go() {
  local architecture proxy partial=$GO_HOME.partial
  case $(uname -m) in
    x86_64) architecture=amd64 ;;
    aarch64) architecture=arm64 ;;
    *) return 1 ;;
  esac
  proxy=${GOPROXY:-}
  proxy=${proxy%%[,|]*}
  [ -n "$proxy" ] || return 1
  rm -rf "$partial"
  mkdir -p "$partial"
  curl -sfL -m 300 -o "$partial/go.zip" "$proxy/golang.org/toolchain/@v/v0.0.1-go$GO_VERSION.linux-$architecture.zip" || return 1
  python3 - "$partial" "golang.org/toolchain@v0.0.1-go$GO_VERSION.linux-$architecture/" <<'UNPACK' || return 1
import pathlib, sys, zipfile
folder, prefix = pathlib.Path(sys.argv[1]), sys.argv[2]
with zipfile.ZipFile(folder / "go.zip") as archive:
    for name in archive.namelist():
        target = folder / name.removeprefix(prefix)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(archive.read(name))
        if name.startswith((prefix + "bin/", prefix + "pkg/tool/")):
            target.chmod(0o755)
(folder / "go.zip").unlink()
UNPACK
  mv "$partial" "$GO_HOME"
}

# Any answer will do: without a signature it is 403.
s3_answers() { curl -s -m 5 -o /dev/null "http://127.0.0.1:$1/"; }

start() {
  local folder program port=${2:-}
  command -v curl >/dev/null || needs "curl (apt-get install curl)"
  program=$(find_versitygw) || exit $?
  folder=$(server_folder "$1" s3)
  [ -n "$port" ] || port=$(cat "$folder/port" 2>/dev/null || free_port)
  mkdir -p "$folder/data/$BUCKET" "$folder/sidecar"
  if ! is_running "$folder"; then
    echo "$port" >"$folder/port"
    ROOT_ACCESS_KEY=$ACCESS_KEY_ID ROOT_SECRET_KEY=$SECRET_ACCESS_KEY \
      launch "$folder" "$program" --port "127.0.0.1:$port" --region us-east-1 --keep-alive --quiet posix --sidecar "$folder/sidecar" "$folder/data"
  fi
  await "$folder" "the S3 server" 30 s3_answers "$port"
  publish "$1" S3_ENDPOINT "http://127.0.0.1:$port"
  publish "$1" S3_ACCESS_KEY_ID "$ACCESS_KEY_ID"
  publish "$1" S3_SECRET_ACCESS_KEY "$SECRET_ACCESS_KEY"
  publish "$1" S3_BUCKET "$BUCKET"
}

case "${1:-} $#" in
  "start 2") start "$2" ;;
  "start 4") [ "$3" = --port ] || usage "s3.sh start DIR [--port P]"; start "$2" "$4" ;;
  "stop 2") halt "$2/s3" ;;
  "kill 2") if is_running "$2/s3"; then kill -KILL "$(cut -d ' ' -f 1 "$2/s3/pid")"; fi; halt "$2/s3" ;;
  "check 1") find_versitygw >/dev/null ;;
  *) usage "s3.sh start DIR [--port P] | stop DIR | kill DIR | check" ;;
esac
