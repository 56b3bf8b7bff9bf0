# Sourced by scripts whose servers speak TLS: an authority of the tests' own, and certificates that it has signed.

# certificate NAME CN SAN [END]: NAME.pem and NAME.key, signed by the CA; END is a date as `openssl ca` takes it.
certificate() {
  openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$2" 2>>openssl.log
  printf 'subjectAltName=%s\n' "$3" >"$1.ext"
  openssl ca -batch -config ca.cnf -in "$1.csr" -out "$1.pem" -extfile "$1.ext" -startdate 20240101000000Z -enddate "${4:-20991231000000Z}" -notext 2>>openssl.log
  # Kafka reads key and chain from one PEM file.
  cat "$1.key" "$1.pem" ca.pem >"$1.store.pem"
}

# make_certificates FOLDER: ca.pem; stranger.pem, an authority that signs nothing; server, other (for another host), expired, client (its key encrypted).
make_certificates() {
  command -v openssl >/dev/null || needs "openssl (apt-get install openssl)"
  (
    mkdir -p "$1"
    cd "$1"
    [ ! -f complete ] || exit 0
    cat >ca.cnf <<'CNF'
[ca]
default_ca = ours
[ours]
database = index.txt
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = supplied
CNF
    : >index.txt
    echo 01 >serial
    for authority in ca stranger; do
      openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -keyout "$authority.key" -out "$authority.pem" -subj "/CN=Tapehouse test $authority" 2>>openssl.log
    done
    certificate server server IP:127.0.0.1,DNS:localhost
    certificate other other DNS:elsewhere.example
    certificate expired server IP:127.0.0.1 20240201000000Z
    certificate client client DNS:client
    openssl pkcs8 -topk8 -in client.key -out client.encrypted.key -passout pass:client-key-secret 2>>openssl.log
    mv client.encrypted.key client.key
    touch complete
  ) || { tail -n 5 "$1/openssl.log" >&2; fail "certificates could not be made; see $1/openssl.log"; }
}
