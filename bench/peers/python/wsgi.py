"""The app of gunicorn, alone and under sockdist run."""

import os
import signal
import time
from urllib.parse import parse_qs

slowness = 1


def slower(number, frame):
    global slowness
    slowness *= 2


# This is imported in the worker, after gunicorn has set its own signals.
signal.signal(signal.SIGUSR2, slower)


def app(environ, start_response):
    status = "200 OK"
    if environ["PATH_INFO"] == "/work":
        microseconds = float(parse_qs(environ["QUERY_STRING"])["us"][0])
        time.sleep(microseconds * slowness / 1e6)
    elif environ["PATH_INFO"] != "/":
        status = "404 Not Found"
    answer = b"%d\n" % os.getpid()
    start_response(status, [("Content-Length", str(len(answer)))])
    return [answer]
