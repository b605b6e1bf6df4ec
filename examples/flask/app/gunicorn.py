"""Settings of the server gunicorn. It listens on $PORT of all addresses by itself."""

workers = 1  # one process keeps the app small
threads = 32  # a streamed answer holds a thread: so many people can be answered at once
worker_class = "gthread"
worker_tmp_dir = "/dev/shm"  # noqa: S108 - the worker's sign of life must not wait for a disk
timeout = 60
graceful_timeout = 2  # the server grants 3 seconds to end
forwarded_allow_ips = "*"  # only the workshop's own proxy can reach this port
control_socket_disable = True  # nothing but /tmp can be written
