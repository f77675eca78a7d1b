"""A plain threaded server of Python's own library. What it does for the ledger
is in Record; what it can be told to do wrong is in knobs."""

import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

knobs = dict(os.environ)
if os.path.exists(knobs.get("LEDGER_KNOBS", "")):
    with open(knobs["LEDGER_KNOBS"]) as lines:
        knobs.update(line.strip().split("=", 1) for line in lines if "=" in line)

PID = os.getpid()
SLOT = os.environ.get("SOCKDIST_SLOT", "-")
accepting = threading.Lock()  # held by one that hangs


class Record:
    """One file a process, one write a line, nothing held back in memory."""

    def __init__(self, folder):
        self.file = None
        if folder:
            path = f"{folder}/{PID}.{time.monotonic_ns()}"
            self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, letter, peer, more=""):
        if self.file is not None:
            os.write(self.file, f"{letter} {time.monotonic_ns()} {peer[0]} {peer[1]}{more}\n".encode())


record = Record(os.environ.get("SOCKDIST_LEDGER"))


def hang(kind, seconds):
    with accepting:
        eaten = []
        while kind == "eat":
            eaten.append(b"x" * (1 << 20))
        if kind == "deadlock":
            threading.Event().wait()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not os.path.exists(knobs.get("LEDGER_HANG_END", "")):
            pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment

    def do_GET(self):
        name, _, query = self.path[1:].partition("?")
        record.write("N", self.client_address, " " + name)
        asked = parse_qs(query, keep_blank_values=True)
        if "busy" in asked:
            hang("busy", int(asked["busy"][0]) / 1000)
        if "deadlock" in asked:
            hang("deadlock", 0)
        if "LEDGER_SERVICE_MS" in knobs:
            time.sleep(float(knobs["LEDGER_SERVICE_MS"]) / 1000)
        body = f"{PID} {SLOT} {name}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 1024
    daemon_threads = "LEDGER_GRACEFUL" not in knobs

    def get_request(self):
        with accepting:
            connection, peer = self.socket.accept()
            record.write("A", peer)
        return connection, peer

    def handle_error(self, request, client_address):
        pass  # clients go as they please


def stop(signum, frame):
    threading.Thread(target=server.shutdown).start()


def hang_soon(signum, frame):
    seconds = float(knobs.get("LEDGER_HANG_MS", "2000")) / 1000
    threading.Thread(target=hang, args=(knobs.get("LEDGER_HANG", "busy"), seconds), daemon=True).start()


if "LEDGER_IGNORE_TERM" in knobs:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif "LEDGER_GRACEFUL" in knobs:
    signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGUSR2, hang_soon)
if "LEDGER_FAIL" in knobs:
    sys.exit("ledger server: told to fail")
time.sleep(float(knobs.get("LEDGER_SLOW_START", "0")))
server = Server(("::", int(sys.argv[1])), Handler)
server.serve_forever(poll_interval=0.1)
server.server_close()  # waits for the threads of a graceful end
