#!/usr/bin/env python3
"""A proxy that takes the conditions out of requests, as some S3-compatible stores do: puts that should fail overwrite silently.

    strip_proxy.py PORT BACKEND      for example: strip_proxy.py 8043 http://127.0.0.1:8042
"""
import http.client
import http.server
import sys
import urllib.parse

CONDITIONS = {"if-match", "if-none-match"}
# What belongs to one connection, not to what is said over it.
OF_CONNECTIONS = {"connection", "transfer-encoding", "keep-alive", "host"}


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    backend = ""

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        # Only writes lose their conditions: readers' are honoured even by the stores that this stands for.
        dropped = OF_CONNECTIONS | (CONDITIONS if self.command in ("PUT", "POST") else set())
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        connection = http.client.HTTPConnection(self.backend, timeout=60)
        try:
            connection.request(self.command, self.path, body=body, headers={**headers, "Host": self.backend})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in OF_CONNECTIONS | {"content-length"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

    def log_message(self, *arguments):
        pass


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    Proxy.backend = urllib.parse.urlsplit(sys.argv[2]).netloc
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Proxy).serve_forever()


if __name__ == "__main__":
    main()
