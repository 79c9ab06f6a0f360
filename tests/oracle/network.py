#!/usr/bin/env python3
"""What a run asks of far servers, and whether it waits for them and computes at the same time.

    network.py BINARY requests     requests and bytes per file, counted in nginx's log
    network.py BINARY overlap      wall time of runs against the largest of: fetch alone, compute alone, write alone

`requests` asserts: opening a netCDF-4 of ordinary layout takes at most 2 requests (every request counts, HEAD too); a task then
asks for coalesced ranges; one variable of ten fetches at most 15 % of the file. `overlap` asserts that a run from a throttled web
server (nginx, `limit_rate` per connection), to a slow S3 (moto behind a proxy that limits all connections together), and both at
once takes at most 1.15 times its slowest part. A proxy adds 50 ms to whatever passes, each way half. "Alone" is: the requests
that nginx logged, asked again by as many connections; the same run from disk to disk; the objects that were put, put again by as
many connections. Needs nginx; moto, boto3, netCDF4 of ci/oracle.sh.
"""
import asyncio
import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import boto3
import botocore.config
import netCDF4
import numpy

CONNECTIONS = 8  # gristmill's default per host
LATENCY = 0.05
LIMIT_RATE = "400k"  # bytes a second of one connection to nginx
UPLOAD = 2.5e6  # bytes a second of all connections to S3 together, each way
RATIO = 1.15
# Of 1.7 MB each. Far more than would show that fetching, computing and writing go on at once: what a run does a single time, however large the
# archive (asking the store what it can do, the first requests, metadata), takes 15 s on such a line.
FILES = int(os.environ.get("GRISTMILL_TEST_FILES", "400"))
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}
SHARED = pathlib.Path(os.environ.get("GRISTMILL_SHARED", pathlib.Path(__file__).resolve().parents[3] / "shared")).resolve()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing answers at port {port}")


# --- servers ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def nginx(root, folder):
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if not program:
        raise SystemExit("network.py: nginx is not installed; ci/servers.sh installs it")
    port, log = free_port(), folder / "access.log"
    (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format asked '$request_method $uri $body_bytes_sent $http_range';
    access_log {log} asked;
    default_type application/octet-stream; keepalive_requests 100000;
    {' '.join(f'{name}_temp_path {folder}/{name};' for name in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))}
    server {{
        listen 127.0.0.1:{port};
        location /plain/ {{ alias {root}/; }}
        location /slow/ {{ alias {root}/; limit_rate {LIMIT_RATE}; }}
    }}
}}""")
    server = subprocess.Popen([program, "-c", str(folder / "nginx.conf")])
    try:
        wait_for(port)
        yield port, log
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def moto(folder):
    port = free_port()
    with open(folder / "moto.log", "w") as log:
        server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait()


class Bucket:
    """So many bytes a second, for whoever takes them."""

    def __init__(self, rate):
        self.rate, self.free = rate, time.monotonic()

    def take(self, count):
        """When these bytes are through."""
        self.free = max(self.free, time.monotonic()) + (count / self.rate if self.rate else 0)
        return self.free


@contextlib.contextmanager
def proxy(upstream, rate=None):
    """Passes bytes on to a port half of LATENCY later, and at most `rate` of them a second each way."""
    port, loop = free_port(), asyncio.new_event_loop()

    async def pump(reader, writer, bucket):
        waiting = asyncio.Queue(maxsize=64)

        async def deliver():
            while (item := await waiting.get()) is not None:
                moment, piece = item
                await asyncio.sleep(max(0, moment - time.monotonic()))
                writer.write(piece)
                await writer.drain()
            with contextlib.suppress(OSError):
                writer.write_eof()

        delivering = asyncio.ensure_future(deliver())
        with contextlib.suppress(OSError):
            while piece := await reader.read(16384):
                through = bucket.take(len(piece))
                await waiting.put((through + LATENCY / 2, piece))
                # What is not through yet is not read on either: the sender feels the throttle.
                await asyncio.sleep(max(0, through - time.monotonic() - 0.05))
        await waiting.put(None)
        with contextlib.suppress(OSError):
            await delivering

    up, down = Bucket(rate), Bucket(rate)

    async def serve(reader, writer):
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", upstream)
            await asyncio.gather(pump(reader, far_writer, up), pump(far_reader, writer, down), return_exceptions=True)
            far_writer.close()
        writer.close()

    started = threading.Event()

    def live():
        asyncio.set_event_loop(loop)
        loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", port))
        started.set()
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    living = threading.Thread(target=live, daemon=True)
    living.start()
    started.wait()
    try:
        yield port
    finally:
        loop.set_exception_handler(lambda *_: None)
        loop.call_soon_threadsafe(loop.stop)
        living.join(timeout=10)


# --- files and runs --------------------------------------------------------------------------------------------------


def make(path, variables, shape, number=0, whole=False):
    """A netCDF-4 as archives have them: header in front, map chunks, shuffle and deflate."""
    random = numpy.random.default_rng(number)
    with netCDF4.Dataset(path, "w") as data:
        data.createDimension("time", None)
        for name, length in zip(("lat", "lon"), shape[1:]):
            data.createDimension(name, length)
            data.createVariable(name, "f8", (name,))
        time_variable = data.createVariable("time", "f8", ("time",), chunksizes=(512,))
        time_variable.units = "days since 2000-01-01"
        # All is defined before anything is written, as most programs do: the headers lie together.
        for name in variables:
            chunks = shape if whole else (1, *shape[1:])
            variable = data.createVariable(name, "f4", ("time", "lat", "lon"), zlib=True, complevel=1, shuffle=True, chunksizes=chunks)
            variable.units = "K"
        time_variable[:] = number * shape[0] + numpy.arange(shape[0])
        data["lat"][:], data["lon"][:] = (numpy.linspace(-80, 80, length) for length in shape[1:])
        for name in variables:
            smooth = numpy.cumsum(random.normal(0, 0.01, shape), axis=2)
            data[name][:] = (280 + smooth).astype("f4")


def recipe(folder, urls, chunks, keep=None):
    steps = [{"keep": keep}] if keep else []
    text = {
        "schema": 1, "id": "network", "title": "Far files", "license": "CC0-1.0", "inputs": {"files": urls}, "combine": {"concat": ["time"]},
        "steps": steps, "output": {"chunks": chunks, "encoding": {"*": {"codecs": [{"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"}}]}}},
    }
    path = folder / f"recipe-{abs(hash(json.dumps(text)))}.yaml"
    path.write_text(json.dumps(text))
    return path


def run(binary, path, target, endpoint=None, profile=None):
    """Seconds of a run, which must succeed."""
    environment = {**os.environ, **KEYS, **({"AWS_ENDPOINT_URL_S3": endpoint, "AWS_ALLOW_HTTP": "true"} if endpoint else {})}
    more = ["--profile", str(profile)] if profile else []
    begun = time.monotonic()
    done = subprocess.run([binary, "run", str(path), "--target", str(target), "--quiet", "--memory", "512MiB", *more], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the run ended with {done.returncode}: {done.stderr}")
    return time.monotonic() - begun


def asked(log):
    """(method, path, bytes sent, range) of every request that nginx logged, and a clean log."""
    time.sleep(0.2)
    lines = [line.split(" ", 3) for line in log.read_text().splitlines()]
    log.write_text("")
    return [(method, path, int(count), wanted) for method, path, count, wanted in lines]


def in_parallel(jobs, connect, do):
    """Seconds that CONNECTIONS workers take to do all jobs, each over one connection of its own."""
    left = queue.Queue()
    for job in jobs:
        left.put(job)

    def work():
        connection = connect()
        while True:
            try:
                job = left.get_nowait()
            except queue.Empty:
                return
            do(connection, job)

    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        for worker in [pool.submit(work) for _ in range(CONNECTIONS)]:
            worker.result()
    return time.monotonic() - begun


def fetch_alone(port, requests):
    def fetch(connection, request):
        method, path, _, wanted = request
        connection.request(method, path, headers={"Range": wanted} if wanted != "-" else {})
        connection.getresponse().read()

    return in_parallel(requests, lambda: http.client.HTTPConnection("127.0.0.1", port), fetch)


def write_alone(endpoint, store, bucket):
    client = s3(endpoint)
    objects = [path for path in sorted(store.rglob("*")) if path.is_file()]
    return in_parallel(objects, lambda: client, lambda _, path: client.put_object(Bucket=bucket, Key=f"alone/{path.relative_to(store)}", Body=path.read_bytes()))


def s3(endpoint):
    config = botocore.config.Config(max_pool_connections=CONNECTIONS, retries={"max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1", config=config)


# --- what is asserted ------------------------------------------------------------------------------------------------


def requests(binary, folder):
    root = folder / "www"
    root.mkdir()
    names = [f"v{number}" for number in range(10)]
    make(root / "ten.nc", names, (24, 181, 360))
    make(root / "maps.nc", names[:4], (1, 720, 1440))
    real = {
        "siconc.nc": "cmip6-mpihr-siconc-mon/*.nc", "psl.nc": "cordex-eur11-psl-day/*.nc", "tempo.nc": "tempo-no2-groups/*.nc",
        "radar.nc": "imos-hfradar-turq-hourly/*.nc", "classic.nc": "coads-climatology/*",
    }
    for name, pattern in real.items():
        for found in sorted((SHARED / "data").glob(pattern))[:1]:
            shutil.copy(found, root / name)
    failed = []
    with nginx(root, folder) as (port, log):
        print(f"{'file':12} {'bytes':>10}  {'opened by':>10} {'bytes':>9}  requests")
        for path in sorted(root.iterdir()):
            subprocess.run([binary, "inspect", f"http://127.0.0.1:{port}/plain/{path.name}"], capture_output=True, check=False)
            done = asked(log)
            kinds = collections.Counter(method for method, *_ in done)
            print(f"{path.name:12} {path.stat().st_size:>10}  {len(done):>10} {sum(count for _, _, count, _ in done):>9}  {dict(kinds)}")
            if path.name in ("ten.nc", "maps.nc") and len(done) > 2:
                failed.append(f"opening {path.name} took {len(done)} requests")
        size = (root / "ten.nc").stat().st_size
        run(binary, recipe(folder, [f"http://127.0.0.1:{port}/plain/ten.nc"], {"time": 24}, keep=["v3"]), folder / "one")
        done = asked(log)
        total = sum(count for _, _, count, _ in done)
        print(f"one variable of ten: {len(done)} requests, {total} of {size} bytes ({100 * total / size:.1f} %)")
        for method, _, count, wanted in done:
            print(f"    {method} {wanted} {count}")
        if total > 0.15 * size:
            failed.append(f"one variable of ten fetched {100 * total / size:.1f} % of the bytes")
    return failed


def overlap(binary, folder):
    root = folder / "www"
    root.mkdir()
    for number in range(FILES):
        make(root / f"{number:03}.nc", ["a", "b"], (2, 361, 720), number)
    failed = []
    chunks = {"time": 4, "lat": 181, "lon": 360}
    with contextlib.ExitStack() as stack:
        web, log = stack.enter_context(nginx(root, folder))
        far_web = stack.enter_context(proxy(web))
        bucket_port = stack.enter_context(moto(folder))
        far_bucket = f"http://127.0.0.1:{stack.enter_context(proxy(bucket_port, UPLOAD))}"
        s3(f"http://127.0.0.1:{bucket_port}").create_bucket(Bucket="overlap")
        near = recipe(folder, [str(path) for path in sorted(root.iterdir())], chunks)
        far = recipe(folder, [f"http://127.0.0.1:{far_web}/slow/{path.name}" for path in sorted(root.iterdir())], chunks)

        compute = run(binary, near, folder / "near")
        write = write_alone(far_bucket, folder / "near", "overlap")

        def judge(name, wall, parts):
            largest = max(parts.values())
            print(f"{name:22} {wall:6.2f} s = {wall / largest:.2f} × the largest of {', '.join(f'{part} {seconds:.2f}' for part, seconds in parts.items())}", flush=True)
            if wall > RATIO * largest:
                failed.append(f"{name}: {wall:.2f} s is {wall / largest:.2f} times its slowest part")

        wall = run(binary, far, folder / "fetched", profile=folder / "fetched.json")
        requests = asked(log)
        sent = sum(count for _, _, count, _ in requests)
        size = sum(path.stat().st_size for path in root.iterdir())
        fetch = fetch_alone(far_web, requests)
        asked(log)
        print(f"the run asked for {len(requests)} parts, {sent} bytes of {size}")
        judge("web to disk", wall, {"fetch": fetch, "compute": compute})
        wall = run(binary, near, "s3://overlap/near", far_bucket, profile=folder / "put.json")
        judge("disk to S3", wall, {"compute": compute, "write": write})
        wall = run(binary, far, "s3://overlap/far", far_bucket, profile=folder / "both.json")
        judge("web to S3", wall, {"fetch": fetch, "compute": compute, "write": write})
    return failed


def main():
    binary, what = os.path.abspath(sys.argv[1]), sys.argv[2]
    kept = os.environ.get("GRISTMILL_TEST_KEEP")
    os.umask(0o022)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gristmill-network-"))
    folder.chmod(0o755)  # nginx's worker may be another user
    try:
        failed = {"requests": requests, "overlap": overlap}[what](binary, folder)
    finally:
        if kept:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for line in failed:
        print(f"FAILED: {line}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
