#!/usr/bin/env python3
"""Provokes OOMs in bounded cgroups and keeps the kernel's log of each.

    python3 tools/provoke/provoke.py DIRECTORY [CASE...]

Writes DIRECTORY/CASE.txtar. It is how the corpus of internal/reproduce was
made: by ordinary programs, not by oomlab's stressor. Needs root and a memory
controller of cgroup v1. Every cgroup has a limit before a process enters it, and
processes and cgroups are gone afterwards.
"""
import ctypes, os, platform, signal, subprocess, sys, time

MI = 1 << 20
ROOT = "/sys/fs/cgroup/memory"
TOP = "/oomlab-provoke-%d" % os.getpid()
UID = "c0ffee00-0000-4000-8000-00000000%04d"
CID = "%064d"

# A process: how much it holds, by which kind, and how it goes on when told.
HOLDER = r"""
import ctypes, mmap, os, sys, threading
name, anon, tmpfs, shm, cache, threads, grow, kids = sys.argv[1], *map(int, sys.argv[2:8]), sys.argv[8]
open("/proc/self/comm", "w").write(name)
MI = 1 << 20
keep = []
def take(n):
    b = bytearray(n)
    for i in range(0, n, 4096): b[i] = 1
    keep.append(b)
if anon: take(anon * MI)
if shm:
    m = mmap.mmap(-1, shm * MI)
    for i in range(0, shm * MI, 4096): m[i] = 1
    keep.append(m)
if tmpfs:
    fd = os.memfd_create("file")
    for i in range(tmpfs): os.write(fd, b"x" * MI)
if cache:
    f = open("/tmp/oomlab-provoke-cache", "rb")
    for i in range(cache): f.read(MI)
for kid in filter(None, kids.split(",")):
    if os.fork() == 0:
        keep.clear()
        open("/proc/self/comm", "w").write(name)
        take(abs(int(kid)) * MI)
        os.write(1, b"r")
        if int(kid) > 0: threading.Event().wait()
        os.read(0, 1)
        while True: take(MI)
os.write(1, b"r")
def press():
    while True: take(MI)
if grow:
    os.read(0, 1)
    if grow == 2:
        while True: os.write(fd, b"x" * MI)
    if threads:
        t = threading.Thread(target=lambda: (open("/proc/thread-self/comm", "w").write("grower"), press()))
        t.start(); t.join()
    press()
threading.Event().wait()
"""


class Case:
    """One OOM: cgroups, processes, and who presses."""

    def __init__(self, name, what):
        self.name, self.what, self.cgroups, self.procs, self.pressing = name, what, [], [], None

    def cgroup(self, path, limit=None):
        full = TOP + path
        os.makedirs(ROOT + full, exist_ok=True)
        parts = full.strip("/").split("/")
        for i in range(1, len(parts) + 1):
            p = "/" + "/".join(parts[:i])
            if p not in self.cgroups:
                self.cgroups.append(p)
        if limit:
            open(ROOT + full + "/memory.limit_in_bytes", "w").write(str(limit * MI))
        return path

    def run(self, cgroup, name, score, anon=0, tmpfs=0, shm=0, cache=0, threads=0, press=0, kids="", argv=None):
        def enter():
            open(ROOT + TOP + cgroup + "/cgroup.procs", "w").write(str(os.getpid()))
            open("/proc/self/oom_score_adj", "w").write(str(score))
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        grows = {0: 0, 1: 1, "tmpfs": 2}[press]
        argv = argv or [os.path.realpath(sys.executable), "-c", HOLDER, name] + [str(x) for x in (anon, tmpfs, shm, cache, threads, grows)] + [kids]
        p = subprocess.Popen(argv, preexec_fn=enter, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        self.procs.append(p)
        if argv[1:2] == ["-c"]:
            need = 1 + len(list(filter(None, kids.split(","))))
            while need:
                if not os.read(p.stdout.fileno(), 1):
                    raise SystemExit("%s: %s ended too early" % (self.name, name))
                need -= 1
        if press or "-" in kids:
            self.pressing = p
        return p

    def go(self, directory):
        kmsg = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(kmsg, 0, os.SEEK_END)
        if self.pressing and self.pressing.stdin:
            self.pressing.stdin.write(b"g"); self.pressing.stdin.flush()
        lines, deadline, killed = [], time.time() + 20, 0
        while time.time() < deadline and not (killed and time.time() > killed + .3):
            try:
                record = os.read(kmsg, 8192).decode()
            except BlockingIOError:
                time.sleep(.01)
                continue
            head, text = record.split("\n")[0].split(";", 1)
            stamp = int(head.split(",")[2])
            lines.append("[%12.6f] %s" % (stamp / 1e6, text))
            if "Killed process" in text and not killed:
                killed = time.time()
        os.close(kmsg)
        self.close()
        if not killed:
            raise SystemExit("%s: nobody was killed\n%s" % (self.name, "\n".join(lines)))
        with open(os.path.join(directory, self.name + ".txtar"), "w") as f:
            f.write("%s\n\nProvoked by tools/provoke on Linux %s, cgroup v1, without swap; the paths are as they were,\nbut for the cgroup that held all, which is /node here.\n\n-- kmsg --\n" % (self.what, platform.release()))
            f.write("\n".join(lines).replace(TOP, "/node") + "\n")
        print(self.name, len(lines), "lines")

    def close(self):
        for p in self.procs:
            try:
                os.killpg(p.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            p.wait()
        while self.cgroups:
            c = self.cgroups.pop()
            for _ in range(200):
                try:
                    os.rmdir(ROOT + c)
                    break
                except OSError:  # a process is on its way out
                    time.sleep(.02)


def pod(c, n, cls, limit=None, containers=(), base="/kubepods"):
    path = base + ("" if cls == "guaranteed" else "/" + cls) + "/pod" + UID % n
    c.cgroup(path, limit)
    out = []
    for i, l in enumerate(containers):
        out.append(c.cgroup(path + "/" + CID % (n * 10 + i), l))
    return out


CASES = {}


def case(f):
    CASES[f.__name__.replace("_", "-")] = f
    return f


@case
def container_alone(c):
    "A Burstable container passes its own limit, in a pod that has none."
    a, _ = pod(c, 1, "burstable", None, [128, 64])
    c.cgroup("", 1024)
    c.run(a, "server", 950, anon=60, press=1)


@case
def pod_single(c):
    "A pod of one container: both have the same limit, and the pod's runs out."
    (a,) = pod(c, 2, "burstable", 160, [160])
    c.run(a, "worker", 900, anon=80, press=1)


@case
def kubepods_order(c):
    "Three pods share what the node has for pods; the BestEffort one dies."
    c.cgroup("/kubepods", 768)
    (a,), (b,), (d,) = pod(c, 3, "besteffort", None, [None]), pod(c, 4, "burstable", None, [None]), pod(c, 5, "burstable", None, [400])
    c.run(a, "batch", 1000, anon=220)
    c.run(b, "api", 870, anon=180)
    c.run(d, "database", 500, anon=100, press=1)


@case
def kubepods_misleads(c):
    "A Burstable process is far above its request, and dies before a small BestEffort one."
    c.cgroup("/kubepods", 768)
    (a,), (b,), (d,) = pod(c, 6, "besteffort", None, [None]), pod(c, 7, "burstable", None, [None]), pod(c, 8, "burstable", None, [None])
    c.run(a, "cron", 1000, anon=40)
    c.run(b, "cache", 900, anon=330)
    c.run(d, "ingest", 600, anon=60, press=1)


@case
def kubepods_self(c):
    "A BestEffort process takes all that is left, and is the one that dies."
    c.cgroup("/kubepods", 640)
    (a,), (b,) = pod(c, 9, "besteffort", None, [None]), pod(c, 10, "burstable", None, [None])
    c.run(b, "frontend", 930, anon=150)
    c.run(a, "report", 1000, anon=50, press=1)


@case
def node_domain(c):
    "A node runs out as a whole, with a daemon next to its pods."
    c.cgroup("", 896)
    (a,), (b,) = pod(c, 11, "besteffort", None, [None]), pod(c, 12, "burstable", None, [None])
    c.run(c.cgroup("/system/agent"), "agent", 0, anon=90)
    c.run(a, "scraper", 1000, anon=250)
    c.run(b, "queue", 780, anon=120, press=1)


@case
def children_unequal(c):
    "A parent and three children in one container; a small child asks for the page too many, the largest dies."
    a, _ = pod(c, 13, "burstable", None, [320, 64])
    c.run(a, "prefork", 940, anon=20, kids="140,70,-20")


@case
def children_equal(c):
    "Four equal workers and the one that grows: any of the equal ones dies."
    a, _ = pod(c, 14, "burstable", None, [400, 64])
    c.run(a, "gunicorn", 960, anon=10, kids="80,80,80,80,-20")


@case
def two_programs(c):
    "A server and its helper in one container: the helper asks, the server dies."
    a, _ = pod(c, 15, "burstable", None, [256, 64])
    c.run(a, "java", 985, anon=170)
    c.run(a, "curl", 985, anon=5, press=1)


@case
def tmpfs(c):
    "Most of the memory is a file in tmpfs, that no process maps: who dies had a fifth of it."
    (a,) = pod(c, 16, "burstable", 256, [256])
    c.run(a, "spool", 800, anon=4, tmpfs=150)
    c.run(a, "render", 800, anon=40, press=1)


@case
def tmpfs_writer(c):
    "The writer of a tmpfs file presses, and an innocent process dies."
    (a,) = pod(c, 17, "burstable", 256, [256])
    c.run(a, "innocent", 880, anon=60)
    c.run(a, "writer", 880, anon=2, tmpfs=80, press="tmpfs")


@case
def page_cache(c):
    "Much of the memory was page cache, which the kernel takes back before it kills."
    a, _ = pod(c, 18, "burstable", None, [256, 64])
    c.run(a, "reader", 970, anon=20, cache=120)
    c.run(a, "indexer", 970, anon=50, press=1)


@case
def shared_memory(c):
    "Shared memory that is mapped counts in the process."
    a, _ = pod(c, 19, "burstable", None, [256, 64])
    c.run(a, "segment", 910, anon=10, shm=120)
    c.run(a, "client", 910, anon=30, press=1)


@case
def nested(c):
    "systemd inside of a container has made a cgroup of its own; the container's limit is reached."
    a, _ = pod(c, 20, "burstable", None, [192, 64])
    inner = c.cgroup(a + "/init.scope")
    c.run(inner, "worker", 933, anon=70, press=1)


@case
def docker(c):
    "A container of Docker, without Kubernetes."
    a = c.cgroup("/docker/" + "ab" * 32, 128)
    c.run(a, "node", 0, anon=50, press=1)


@case
def service(c):
    "A systemd service with a limit."
    a = c.cgroup("/system.slice/backup.service", 200)
    c.run(a, "backupd", 0, anon=110)
    c.run(a, "rsync", 0, anon=15, press=1)


@case
def slice_scores(c):
    "A slice of two services with scores of their own: the smaller one dies for its score."
    c.cgroup("/system.slice", 400)
    c.run(c.cgroup("/system.slice/db.service"), "db", 0, anon=200)
    c.run(c.cgroup("/system.slice/web.service"), "web", 500, anon=80)
    c.run(c.cgroup("/system.slice/log.service"), "log", 100, anon=20, press=1)


@case
def thread(c):
    "A thread with a name of its own asks for the page too many."
    (a,) = pod(c, 21, "burstable", 192, [192])
    c.run(a, "engine", 890, anon=60, threads=1, press=1)


@case
def many_small(c):
    "Thirty small BestEffort pods and a large one: one kill frees more than many."
    c.cgroup("/kubepods", 1024)
    for i in range(30):
        (a,) = pod(c, 100 + i, "besteffort", None, [None])
        c.run(a, "small", 1000, anon=8)
    (b,), (d,) = pod(c, 22, "besteffort", None, [None]), pod(c, 23, "burstable", None, [None])
    c.run(b, "large", 1000, anon=260)
    c.run(d, "press", 400, anon=50, press=1)


@case
def sidecar(c):
    "A pod of two containers with different requests runs out as a whole."
    a, b = pod(c, 24, "burstable", 360, [None, None])
    c.run(a, "app", 820, anon=130)
    c.run(b, "proxy", 990, anon=60, press=1)


@case
def tiny(c):
    "A container of 24 MiB: smaller than what a stressor can play without scaling up."
    (a,) = pod(c, 25, "burstable", 24, [24])
    c.run(a, "probe", 995, anon=4, press=1)


@case
def awk(c):
    "A string that grows, in a container: no Python."
    a, _ = pod(c, 26, "burstable", None, [96, 64])
    c.run(a, "awk", 945, press=0, argv=["perl", "-e", "my @a; while (1) { push @a, 'x' x 65536 }"])


@case
def large(c):
    "A container of 2.5 GiB."
    a, _ = pod(c, 27, "burstable", None, [2560, 64])
    c.run(a, "heap", 700, anon=1500)
    c.run(a, "loader", 700, anon=300, press=1)


@case
def besteffort_slice(c):
    "Somebody has limited all BestEffort pods together, which no kubelet does by default."
    (a,), (b,) = pod(c, 28, "besteffort", None, [None]), pod(c, 29, "besteffort", None, [None])
    c.cgroup("/kubepods/besteffort", 300)
    c.run(a, "first", 1000, anon=150)
    c.run(b, "second", 1000, anon=30, press=1)


@case
def neck_and_neck(c):
    "Two processes of nearly the same size: less than one percent decides."
    c.cgroup("/kubepods", 512)
    (a,), (b,), (d,) = pod(c, 30, "besteffort", None, [None]), pod(c, 31, "besteffort", None, [None]), pod(c, 32, "burstable", None, [None])
    c.run(a, "left", 1000, anon=150)
    c.run(b, "right", 1000, anon=152)
    c.run(d, "press", 300, anon=40, press=1)


def main():
    directory, names = sys.argv[1], sys.argv[2:] or list(CASES)
    os.makedirs(directory, exist_ok=True)
    with open("/tmp/oomlab-provoke-cache", "wb") as f:
        f.truncate(200 * MI)
    try:
        for name in names:
            c = Case(name, CASES[name].__doc__)
            os.makedirs(ROOT + TOP, exist_ok=True)
            c.cgroup("", 3072)
            try:
                CASES[name](c)
                c.go(directory)
            finally:
                c.close()
            time.sleep(.8)  # reports are limited to 10 in 5 seconds
    finally:
        os.unlink("/tmp/oomlab-provoke-cache")


if __name__ == "__main__":
    main()
