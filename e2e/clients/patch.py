"""One PATCH of an object with a bearer token: `patch.py URL TOKEN_FILE PATCH`; prints the status code.

`kubectl patch` reads the object first, which an account with least rights may not.
"""

import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path


def main():
    url, token_file, patch = sys.argv[1:]
    context = ssl.create_default_context()
    # The server is the test's own; what counts is what it answers.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    headers = {
        "Authorization": f"Bearer {Path(token_file).read_text().strip()}",
        "Content-Type": "application/strategic-merge-patch+json",
    }
    request = urllib.request.Request(url, patch.encode(), headers, method="PATCH")
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            print(answer.status)
    except urllib.error.HTTPError as error:
        print(error.code)


if __name__ == "__main__":
    main()
