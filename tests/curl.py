"""What README.md asks of curl, for machines without one: ``[-s] [-X METHOD] [-H HEADER]… [--data NAME=VALUE]… URL``.

Unlike curl it ends with status 22 where the answer is an error.
"""

import argparse
import sys
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

parser = argparse.ArgumentParser()
parser.add_argument("-X", dest="method")
parser.add_argument("-s", action="store_true")
parser.add_argument("-H", dest="headers", action="append", default=[])
parser.add_argument("--data", action="append", default=[])
parser.add_argument("url")
options = parser.parse_args()

body = "&".join(options.data).encode() or None
headers = dict(header.split(": ", 1) for header in options.headers)
request = Request(f"http://{options.url}", body, headers, method=options.method)
try:
    answer, status = build_opener(ProxyHandler({})).open(request, timeout=20), 0
except HTTPError as error:
    answer, status = error, 22
with answer:
    sys.stdout.buffer.write(answer.read())
sys.exit(status)
