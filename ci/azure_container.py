#!/usr/bin/env python3
"""Makes a container of Azure Blob Storage, which no store of ours can: they are the operator's to make.

    azure_container.py ENDPOINT ACCOUNT KEY CONTAINER [public]     `public`: anybody may read and list it
"""
import base64
import email.utils
import hashlib
import hmac
import sys
import urllib.error
import urllib.request

endpoint, account, key, container = sys.argv[1:5]
url = f"{endpoint}/{container}?restype=container"
headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
if sys.argv[5:] == ["public"]:
    headers["x-ms-blob-public-access"] = "container"
path = urllib.request.urlparse(url).path
told = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
# "Authorize with Shared Key": verb, eleven standard headers of which none is given, ours, the resource.
text = "PUT\n" + "\n" * 11 + told + f"/{account}{path}\nrestype:container"
signature = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
request = urllib.request.Request(url, method="PUT", headers={**headers, "Authorization": f"SharedKey {account}:{signature}", "Content-Length": "0"})
try:
    urllib.request.urlopen(request)
except urllib.error.HTTPError as error:
    if error.code != 409:
        sys.exit(f"azure_container.py: {error.code} {error.read().decode()}")
