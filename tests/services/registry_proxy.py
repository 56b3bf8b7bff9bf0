#!/usr/bin/env python3
"""registry_proxy.py PORT CERTIFICATE UPSTREAM LOG: a registry behind TLS that asks who one is, in front of one that does not.

Let in are the user `reader` with the password reader-secret-7c1f, and the bearer token token-secret-7c1f; others get 401. Paths beginning with
/elsewhere are redirected to localhost, another host than the one that was asked, /slow answers after a minute, /huge without end. LOG gets a line for
each request: host asked for, path, and which credentials came (none, basic, bearer).
"""

import base64
import http.server
import ssl
import sys
import time
import urllib.error
import urllib.request

PORT, CERTIFICATE, UPSTREAM, LOG = int(sys.argv[1]), *sys.argv[2:5]
LET_IN = {"Basic " + base64.b64encode(b"reader:reader-secret-7c1f").decode(), "Bearer token-secret-7c1f"}


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        credentials = self.headers.get("Authorization") or ""
        with open(LOG, "a") as log:
            log.write(f"{self.headers.get('Host')} {self.path} {credentials.partition(' ')[0].lower() or 'none'}\n")
        if self.path.startswith("/elsewhere"):
            return self.send(307, b"", {"Location": f"https://localhost:{PORT}/redirected{self.path.removeprefix('/elsewhere')}"})
        if credentials not in LET_IN:
            return self.send(401, b'{"error_code":401,"message":"who are you?"}')
        if self.path.startswith("/slow"):
            time.sleep(60)
        if self.path.startswith("/huge"):
            return self.without_end()
        request = urllib.request.Request(UPSTREAM + self.path, data=body or None, method=self.command)
        request.add_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as found:
                self.send(found.status, found.read())
        except urllib.error.HTTPError as error:
            self.send(error.code, error.read())

    do_GET = do_POST = answer

    def send(self, status, body, headers=None):
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def without_end(self):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        while True:
            self.wfile.write(b" " * 65536)

    def log_message(self, *_):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Proxy)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    # The handshake is each connection's own: one that is refused does not hold up the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()
