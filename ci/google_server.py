#!/usr/bin/env python3
"""A small server that speaks the XML API of Google Cloud Storage, after its public reference, for tests: no emulator of it is in any
package registry that serves this API.

    google_server.py PORT KEY_FILE     KEY_FILE: the JSON key of the only service account there is

Who signs with that key (a self-signed JWT as bearer token, or a V4 signed URL) may do everything; anybody may read and list the bucket
`gristmill-public`. Buckets need not be made. Objects are in memory; conditions on generations hold, atomically.
"""
import base64
import hashlib
import http.server
import json
import sys
import threading
import time
import urllib.parse
from email.utils import formatdate
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

PUBLIC = "gristmill-public"
# All parts but the last have at least this length ("Multipart uploads", quotas).
LEAST_PART = 5 << 20


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Objects:
    """Everything stored, and uploads that are not finished."""

    def __init__(self):
        self.lock = threading.Lock()
        self.objects = {}
        self.uploads = {}
        self.number = int(time.time() * 1e6)

    def next(self):
        self.number += 1
        return self.number

    def put(self, place, body):
        told = (body, str(self.next()), f'"{hashlib.md5(body).hexdigest()}"', time.time())
        self.objects[place] = told
        return told


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = Objects()
    key = None
    account = ""

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=None, length=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def xml(self, name, inside):
        text = f"<?xml version='1.0' encoding='UTF-8'?><{name} xmlns='http://doc.s3.amazonaws.com/2006-03-01'>{inside}</{name}>"
        self.answer(200, text.encode(), {"Content-Type": "application/xml"})

    def verifies(self, signature, text):
        try:
            self.key.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def is_known(self):
        """A bearer token that the account signed itself, and that is not over."""
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or token.count(".") != 2:
            return False
        signed, _, signature = token.rpartition(".")
        claims = json.loads(decoded(signed.split(".")[1]))
        return claims["iss"] == self.account and claims["exp"] > time.time() and self.verifies(decoded(signature), signed.encode())

    def is_signed(self):
        """A V4 signed URL ("Signatures", "Canonical requests")."""
        if "X-Goog-Signature" not in self.query:
            return False
        quoted = lambda text: urllib.parse.quote(text, safe="-_.~")
        pairs = sorted((quoted(name), quoted(value)) for name, value in self.query.items() if name != "X-Goog-Signature")
        canonical = "&".join(f"{name}={value}" for name, value in pairs)
        # The client signs for Google's own host, wherever it sends the request.
        request = f"{self.command}\n{self.raw_path}\n{canonical}\nhost:storage.googleapis.com\n\nhost\nUNSIGNED-PAYLOAD"
        scope = self.query["X-Goog-Credential"].split("/", 1)[1]
        text = f"GOOG4-RSA-SHA256\n{self.query['X-Goog-Date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        return self.verifies(bytes.fromhex(self.query["X-Goog-Signature"]), text.encode())

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.raw_path, _, query = self.path.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        bucket, _, key = self.raw_path.lstrip("/").partition("/")
        self.bucket, self.object = urllib.parse.unquote(bucket), urllib.parse.unquote(key)
        if not bucket:
            return self.answer(200, b"here")
        reads = self.command in ("GET", "HEAD") and self.bucket == PUBLIC
        if not (reads or self.is_known() or self.is_signed()):
            anonymous = "Authorization" not in self.headers and "X-Goog-Signature" not in self.query
            return self.refuse(403 if anonymous else 401, "AccessDenied" if anonymous else "AuthenticationRequired")
        with self.store.lock:
            self.serve(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def serve(self, body):
        place, upload = (self.bucket, self.object), self.query.get("uploadId")
        if self.command in ("GET", "HEAD"):
            if self.object:
                self.read(place)
            elif "uploads" in self.query:
                self.list_uploads()
            else:
                self.list()
        elif self.command == "POST" and "uploads" in self.query:
            name = f"upload-{self.store.next()}"
            self.store.uploads[name] = (place, {}, time.time())
            self.xml("InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>")
        elif upload is not None and upload not in self.store.uploads:
            self.refuse(404, "NoSuchUpload")
        elif self.command == "POST":
            self.complete(upload, body)
        elif self.command == "PUT" and upload:
            tag = f'"{hashlib.md5(body).hexdigest()}"'
            self.store.uploads[upload][1][int(self.query["partNumber"])] = (tag, body)
            self.answer(200, headers={"ETag": tag})
        elif self.command == "PUT":
            self.put(place, body)
        elif upload:
            del self.store.uploads[upload]
            self.answer(204)
        elif self.store.objects.pop(place, None):
            self.answer(204)
        else:
            self.refuse(404, "NoSuchKey")

    def read(self, place):
        known = self.store.objects.get(place)
        if known is None:
            return self.refuse(404, "NoSuchKey")
        body, generation, tag, modified = known
        if self.headers.get("If-Match", tag) != tag:
            return self.refuse(412, "PreconditionFailed")
        headers = {"ETag": tag, "x-goog-generation": generation, "Last-Modified": formatdate(modified, usegmt=True)}
        wanted = self.headers.get("Range")
        if wanted is None:
            return self.answer(200, body, headers)
        first, last = wanted.removeprefix("bytes=").split("-")
        start = int(first) if first else max(0, len(body) - int(last))
        end = min(int(last) + 1, len(body)) if first and last else len(body)
        if start >= len(body):
            return self.refuse(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
        self.answer(206, body[start:end], headers)

    def put(self, place, body):
        asked, known = self.headers.get("x-goog-if-generation-match"), self.store.objects.get(place)
        if asked is not None and asked != (known[1] if known else "0"):
            return self.refuse(412, "PreconditionFailed")
        _, generation, tag, _ = self.store.put(place, body)
        self.answer(200, headers={"ETag": tag, "x-goog-generation": generation})

    def complete(self, upload, body):
        place, parts, _ = self.store.uploads[upload]
        bodies = [parts[number][1] for number in sorted(parts)]
        named = body.decode().count("<PartNumber>")
        if named != len(bodies) or any(tag not in body.decode() for tag, _ in parts.values()):
            return self.refuse(400, "InvalidPart")
        if any(len(part) < LEAST_PART for part in bodies[:-1]):
            return self.refuse(400, "EntityTooSmall")
        del self.store.uploads[upload]
        _, _, tag, _ = self.store.put(place, b"".join(bodies))
        self.xml("CompleteMultipartUploadResult", f"<ETag>{escape(tag)}</ETag>")

    def list(self):
        prefix, delimiter, most = self.query.get("prefix", ""), self.query.get("delimiter"), int(self.query.get("max-keys", 1000))
        after = self.query.get("continuation-token") or self.query.get("start-after", "")
        names = sorted(key for bucket, key in self.store.objects if bucket == self.bucket and key.startswith(prefix))
        entries, seen, token = [], set(), None
        for name in names:
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            shown = name if cut < 0 else name[: cut + 1]
            if shown <= after or shown in seen:
                continue
            if len(entries) == most:
                token = max(seen)
                break
            seen.add(shown)
            if cut < 0:
                body, _, tag, modified = self.store.objects[(self.bucket, name)]
                stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(modified))
                told = f"<LastModified>{stamp}</LastModified><ETag>{escape(tag)}</ETag><Size>{len(body)}</Size>"
                entries.append(f"<Contents><Key>{escape(name)}</Key>{told}</Contents>")
            else:
                entries.append(f"<CommonPrefixes><Prefix>{escape(shown)}</Prefix></CommonPrefixes>")
        more = f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else ""
        self.xml("ListBucketResult", f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>{more}{''.join(entries)}")

    def list_uploads(self):
        told = [
            f"<Upload><Key>{escape(key)}</Key><UploadId>{name}</UploadId>"
            f"<Initiated>{time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(begun))}</Initiated></Upload>"
            for name, ((bucket, key), _, begun) in self.store.uploads.items()
            if bucket == self.bucket and key.startswith(self.query.get("prefix", ""))
        ]
        self.xml("ListMultipartUploadsResult", "".join(told))


def main():
    with open(sys.argv[2], encoding="utf-8") as file:
        known = json.load(file)
    Handler.account = known["client_email"]
    Handler.key = serialization.load_pem_private_key(known["private_key"].encode(), password=None)
    http.server.ThreadingHTTPServer.request_queue_size = 100
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


main()
