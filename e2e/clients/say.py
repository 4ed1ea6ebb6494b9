"""Says something to a port and prints what comes back: `say.py HOST PORT [--only-connect]`.

    --only-connect              prints "connected" or "refused"
    --tls CERT KEY              a TLS handshake with that certificate, whoever the other side is
    (neither)                   bytes that are no handshake

Prints how many bytes were answered before the end, or the error.
"""

import argparse
import socket
import ssl
import sys

# Longer than the other side waits for a handshake.
WAIT_MAX = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--only-connect", action="store_true")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    arguments = parser.parse_args()
    try:
        connection = socket.create_connection((arguments.host, arguments.port), 3)
    except OSError as error:
        print("refused" if arguments.only_connect else f"error {error}")
        return
    if arguments.only_connect:
        print("connected")
        return
    connection.settimeout(WAIT_MAX)
    try:
        if arguments.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.load_cert_chain(*arguments.tls)
            connection = context.wrap_socket(connection)
        connection.sendall(b"\0\0\0\x08TandemMQ")
        count = 0
        while True:
            received = connection.recv(4096)
            if not received:
                break
            count += len(received)
        print(f"closed after {count} bytes")
    except OSError as error:
        print(f"error {error}")


if __name__ == "__main__":
    sys.exit(main())
