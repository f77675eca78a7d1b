"""The app of uvicorn, alone and under sockdist run."""

import asyncio
import os
import signal
import time
from urllib.parse import parse_qs

slowness = 1


def slower():
    global slowness
    slowness *= 2


async def lifespan(receive, send):
    while True:
        event = (await receive())["type"]
        if event == "lifespan.startup":
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, slower)
        await send({"type": event + ".complete"})
        if event == "lifespan.shutdown":
            return


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    status = 200
    if scope["path"] == "/work":
        microseconds = float(parse_qs(scope["query_string"])[b"us"][0])
        # Blocks the loop, on purpose: the worker does nothing else meanwhile.
        time.sleep(microseconds * slowness / 1e6)
    elif scope["path"] != "/":
        status = 404
    answer = b"%d\n" % os.getpid()
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
