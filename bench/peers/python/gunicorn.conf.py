"""What gunicorn is started with. The number of workers, the port and whether it
is to serve one connection at a time come from the environment."""

import os

wsgi_app = "wsgi:app"
chdir = os.path.dirname(os.path.abspath(__file__))
bind = "0.0.0.0:" + os.environ["PORT"]
workers = int(os.environ.get("WORKERS", "1"))

# The default worker, sync, takes a connection only when it is idle, serves one
# request, and closes: all workers share the listener's queue. Gunicorn's
# documentation wants a buffering proxy in front of it, and names gthread for
# connections that are kept. So sync where one connection at a time is asked
# for, and else gthread, with one thread, as a worker of the comparison serves
# one request at a time.
worker_class = "sync" if os.environ.get("SERIAL") else "gthread"
threads = 1

# Connections are kept for an hour, not 2 s; and there may be 10,000 of them.
keepalive = 3600
worker_connections = 20000

# As many as net.core.somaxconn allows; 2048 otherwise.
backlog = 4096

# At a reload, what is under way gets as long as with the other contenders.
graceful_timeout = 1

# The documentation's advice for containers and slow disks: the heartbeat file
# lies in memory, so that a worker doesn't wait for a disk.
worker_tmp_dir = "/dev/shm"

# Says only what is wrong.
accesslog = None
loglevel = "warning"
