#!/usr/bin/env python3
"""Provokes OOMs on other kernels, in virtual machines, and keeps their logs.

    python3 tools/provoke/vm.py DIRECTORY [CASE...]

Writes DIRECTORY/vm-KERNEL-CASE.txtar. Needs gcc, QEMU, and the kernels that
oomlab kernel fetch has fetched. The guest is guest.c: no oomlab in it.
"""
import glob, os, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
POD = "/kubepods/burstable/podc0ffee00-0000-4000-8000-00000000%04d"
BE = "/kubepods/besteffort/podc0ffee00-0000-4000-8000-00000000%04d"
GU = "/kubepods/podc0ffee00-0000-4000-8000-00000000%04d"
CID = "/%064d"


def ctr(base, n, i=0):
    return base % n + CID % (n * 10 + i)


# Each case: kernel, cgroup version, MiB of the machine, what it is, the script.
CASES = {
    "global": ("5.10", 2, 512, "The whole machine runs out: scores are shares of its memory.", [
        ("run", "/system/kubelet", "kubelet", -999, 30, 0, 0),
        ("run", ctr(BE, 1), "batch", 1000, 110, 0, 0),
        ("run", ctr(POD, 2), "api", 895, 90, 0, 0),
        ("run", ctr(GU, 3), "database", -997, 100, 0, 0),
        ("run", ctr(POD, 4), "ingest", 600, 20, 0, 1)]),
    "global-new": ("7.3", 2, 640, "The whole machine runs out on a new kernel, for a daemon's sake.", [
        ("run", "/system/agent", "agent", 0, 40, 0, 1),
        ("run", ctr(BE, 1), "scraper", 1000, 60, 0, 0),
        ("run", ctr(POD, 2), "cache", 980, 170, 0, 0),
        ("run", ctr(GU, 3), "store", -997, 110, 0, 0)]),
    "global-v1": ("6.1", 1, 512, "The whole machine, with cgroup v1.", [
        ("run", ctr(BE, 1), "first", 1000, 150, 0, 0),
        ("run", ctr(BE, 2), "second", 1000, 60, 0, 1),
        ("run", ctr(GU, 3), "safe", -997, 90, 0, 0)]),
    "group-kill": ("6.12", 2, 512, "Three processes of one container die together (memory.oom.group).", [
        ("cgroup", ctr(POD, 5), 160, 1),
        ("run", ctr(POD, 5), "master", 940, 10, 0, 0),
        ("run", ctr(POD, 5), "worker", 940, 70, 0, 0),
        ("run", ctr(POD, 5), "grower", 940, 20, 0, 1)]),
    "group-kill-kubepods": ("6.18", 2, 768, "All pods run out, and the victim's container dies as a whole.", [
        ("cgroup", "/kubepods", 400, 0),
        ("cgroup", ctr(BE, 6), 0, 1),
        ("run", ctr(BE, 6), "leader", 1000, 120, 0, 0),
        ("run", ctr(BE, 6), "helper", 1000, 20, 0, 0),
        ("cgroup", ctr(POD, 7), 0, 1),
        ("run", ctr(POD, 7), "api", 900, 80, 0, 0),
        ("cgroup", ctr(GU, 8), 0, 1),
        ("run", ctr(GU, 8), "press", -997, 40, 0, 1)]),
    "true-scores": ("6.18", 2, 768, "Guaranteed, Burstable, BestEffort and a pause process with the scores that a kubelet gives.", [
        ("cgroup", "/kubepods", 440, 0),
        ("run", ctr(GU, 9), "pause", -998, 0, 0, 0),
        ("run", ctr(GU, 9, 1), "ledger", -997, 180, 0, 0),
        ("run", ctr(POD, 10), "web", 930, 100, 0, 0),
        ("run", ctr(BE, 11), "cron", 1000, 60, 0, 0),
        ("run", ctr(POD, 12), "import", 300, 20, 0, 1)]),
    "guaranteed-own-limit": ("6.12", 2, 512, "A Guaranteed container passes its own limit: its score of -997 does not help.", [
        ("cgroup", GU % 13, 128, 0),
        ("cgroup", ctr(GU, 13), 128, 0),
        ("run", ctr(GU, 13), "strict", -997, 60, 0, 1)]),
    "tmpfs-v2": ("6.1", 2, 512, "A file of no process, in cgroup v2.", [
        ("cgroup", POD % 14, 200, 0),
        ("run", ctr(POD, 14), "spool", 850, 3, 110, 0),
        ("run", ctr(POD, 14), "encode", 850, 30, 0, 1)]),
    "kubepods-v1": ("5.10", 1, 640, "All pods of a node of cgroup v1, true scores.", [
        ("cgroup", "/kubepods", 360, 0),
        ("run", ctr(BE, 15), "small", 1000, 30, 0, 0),
        ("run", ctr(POD, 16), "large", 960, 150, 0, 0),
        ("run", ctr(GU, 17), "calm", -997, 90, 0, 1)]),
    "no-group": ("7.3", 2, 512, "One of several processes dies alone (singleProcessOOMKill).", [
        ("cgroup", ctr(POD, 18), 180, 0),
        ("run", ctr(POD, 18), "shell", 970, 4, 0, 0),
        ("run", ctr(POD, 18), "build", 970, 90, 0, 0),
        ("run", ctr(POD, 18), "link", 970, 20, 0, 1)]),
}


def cpio(files):
    """An initramfs in the newc format."""
    out = b""
    for i, (name, mode, data) in enumerate(files + [("TRAILER!!!", 0, b"")]):
        head = "070701" + "".join("%08X" % x for x in (i + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 5 if mode & 0o020000 else 0, 1 if mode & 0o020000 else 0, len(name) + 1, 0))
        out += head.encode() + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return out


def kernel(series):
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    found = [f for d in glob.glob(cache + "/oomlab/kernels/" + series + ".*") for f in glob.glob(d + "/**/vmlinuz*", recursive=True)]
    if not found:
        raise SystemExit("no kernel %s: oomlab kernel fetch %s" % (series, series))
    return sorted(found)[-1]


def boot(command):
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    return run.stdout.decode(errors="replace").replace("\r", "").split("\n")


def main():
    directory, names = sys.argv[1], sys.argv[2:] or list(CASES)
    os.makedirs(directory, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run(["gcc", "-static", "-O1", "-o", tmp + "/init", HERE + "/guest.c"], check=True)
        init = open(tmp + "/init", "rb").read()
        for name in names:
            series, version, memory, what, steps = CASES[name]
            made = {s[1] for s in steps if s[0] == "cgroup"}
            lines = [("cgroup", s[1], 0, 0) for s in steps if s[0] == "run" and s[1] not in made] + [s for s in steps if s[0] == "cgroup"] + [s for s in steps if s[0] == "run"]
            script = "".join(" ".join(map(str, l)) + "\n" for l in lines)
            open(tmp + "/initrd", "wb").write(cpio([("dev", 0o040755, b""), ("dev/console", 0o020600, b""), ("init", 0o100755, init), ("script", 0o100644, script.encode())]))
            for attempt in range(4):  # on a busy host a guest may not find its timer
                log = boot(["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", "tcg", "-cpu", "qemu64",
                            "-m", str(memory), "-kernel", kernel(series), "-initrd", tmp + "/initrd", "-serial", "stdio",
                            "-append", "console=ttyS0 panic=-1 nokaslr loglevel=7 cgroup=%d" % version])
                first = next((i for i, l in enumerate(log) if "invoked oom-killer" in l), None)
                if first is not None:
                    break
            if first is None:
                raise SystemExit("%s: nobody was killed\n%s" % (name, "\n".join(log[-30:])))
            log = [l for l in log[first:] if l.startswith("[") and "reboot:" not in l]
            release = next(m.group(1) for m in (re.search(r"(?:Not tainted|Tainted: \S+) +(\S+)", l) for l in log) if m)
            file = "vm-%s-%s.txtar" % (series, name)
            with open(os.path.join(directory, file), "w") as f:
                f.write("%s\n\nProvoked by tools/provoke/vm.py on Linux %s in a virtual machine of %d MiB, cgroup v%d,\nwithout swap.\n\n-- console --\n" % (what, release, memory, version))
                f.write("\n".join(log) + "\n")
            print(file, len(log), "lines", flush=True)


if __name__ == "__main__":
    main()
