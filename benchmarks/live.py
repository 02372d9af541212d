"""Hits and steps per second over QEMU's stub, side by side in one run: benchmarks/live.py [HITS] [ROUNDS], or as rows of benchmarks/run.

Everything is done in turns, on machines that are alike, and medians are compared: other work on the computer hits all alike. The bare loops are the limit of
stopping: no symbols, no registers, no memory.
"""
import contextlib
import glob
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

from bare_loop import Stub

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FUNCTION = "kmem_cache_alloc"
APPEND = "console=ttyS0 nokaslr"
GDB = """
set pagination off
set confirm off
target remote {socket}
hbreak *{address:#x}
commands 1
silent
bt
python
import gdb, time
n = globals().get("n", 0)
if n == 0: began = time.monotonic()
if n + 1 == {hits}:
    print("rate %.1f" % (n / (time.monotonic() - began)))
    gdb.execute("kill"); gdb.execute("quit")
n += 1
end
continue
end
continue
"""


class Kernel:
    def __init__(self, root):
        self.image = glob.glob(root + "/boot/vmlinuz-*")[0]
        self.vmlinux = glob.glob(root + "/usr/lib/debug/boot/vmlinux-*")[0]
        symbols = subprocess.run(["nm", self.vmlinux], capture_output=True, text=True, check=True).stdout
        self.address = int(re.search(r"^(\w+) [tT] %s$" % FUNCTION, symbols, re.M).group(1), 16)


@contextlib.contextmanager
def machine(kernel, folder):
    """The machine that ktrace starts, standing before its first instruction; gives the socket of its stub."""
    path = folder + "/gdb.sock"
    qemu = subprocess.Popen(
        ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", "512M", "-smp", "1", "-kernel", kernel.image, "-append", APPEND, "-nic", "none", "-display", "none",
         "-no-reboot", "-S", "-gdb", f"unix:{path},server=on,wait=off", "-serial", "null", "-monitor", "none"], stderr=subprocess.DEVNULL)
    try:
        while not os.path.exists(path):
            time.sleep(0.02)
        yield path
    finally:
        qemu.kill()
        qemu.wait()
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)  # QEMU does it where gdb ended it.


def bare_hits(kernel, folder, hits):
    with machine(kernel, folder) as path:
        return Stub(path).hits_per_second(kernel.address, hits)


def bare_steps(kernel, folder, steps):
    with machine(kernel, folder) as path:
        return Stub(path).steps_per_second(steps)


def our_steps(kernel, folder, steps):
    with machine(kernel, folder) as path:
        return float(subprocess.run([ROOT + "/artifacts/benchmarks/ktrace-benchmarks", "steps", path, str(steps)], capture_output=True, text=True, check=True).stdout)


def last_hit(trace):
    with open(trace, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - (1 << 17)))
        found = re.findall(rb'"type":"hit","seq":(\d+)', file.read())
        return int(found[-1]) if found else 0


def ours(kernel, folder, hits, *options):
    """Hits per second from the first hit to the last, and microseconds of ktrace's own CPU time a hit over the second half."""
    trace, samples = folder + "/hot.ktrace", []
    command = [ROOT + "/artifacts/ktrace/ktrace", "record", "--kernel", kernel.image, "--vmlinux", kernel.vmlinux, "--append", APPEND, "-b", FUNCTION,
               "--stop", "--max-hits", str(hits), *options, "-o", trace]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recording:
        while recording.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                stat = open(f"/proc/{recording.pid}/stat").read().rsplit(")", 1)[1].split()
                samples.append((last_hit(trace), (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")))
            time.sleep(0.05)
    if recording.returncode != 0:
        raise SystemExit("live.py: ktrace record failed")
    end = re.search(r'"type":"end","hits":(\d+).*"active_seconds":([\d.]+)', open(trace).read()[-4096:])
    os.remove(trace)
    steady = [s for s in samples if s[0] >= hits / 2 and s[0] < hits]
    cpu = (steady[-1][1] - steady[0][1]) / max(1, steady[-1][0] - steady[0][0]) * 1e6 if len(steady) > 1 else float("nan")
    return (int(end.group(1)) - 1) / float(end.group(2)), cpu


def gdb_hits(kernel, folder, hits):
    with machine(kernel, folder) as path:
        script = folder + "/script"
        with open(script, "w") as file:
            file.write(GDB.format(socket=path, address=kernel.address, hits=hits))
        output = subprocess.run(["gdb", "-batch", "-nx", "-x", script, kernel.vmlinux], capture_output=True, text=True).stdout
    found = re.search(r"^rate ([\d.]+)", output, re.M)
    return float(found.group(1)) if found else 0


def measure(root, hits, rounds, steps=4000):
    """Medians: rates of all, ratios of each round, CPU microseconds."""
    kernel, found = Kernel(root), {name: [] for name in ("bare", "path", "path_cpu", "arguments", "arguments_cpu", "bare_steps", "steps")}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            found["bare"].append(bare_hits(kernel, folder, hits))
            for name, options in (("path", ["--no-arguments"]), ("arguments", [])):
                rate, cpu = ours(kernel, folder, hits, *options)
                found[name].append(rate)
                found[name + "_cpu"].append(cpu)
            found["bare_steps"].append(bare_steps(kernel, folder, steps))
            found["steps"].append(our_steps(kernel, folder, steps))
        gdb = gdb_hits(kernel, folder, max(50, hits // 8))
    result = {name: statistics.median(values) for name, values in found.items()}
    result["gdb"] = gdb
    for name, peer in (("path", "bare"), ("arguments", "bare"), ("steps", "bare_steps")):
        result[name + "_ratio"] = statistics.median(a / b for a, b in zip(found[name], found[peer]))
    return result


def main():
    hits, rounds = (int(word) for word in (sys.argv[1:] + ["4000", "3"][len(sys.argv) - 1:]))
    for name, value in measure(os.environ["KTRACE_TEST_KERNEL_DIR"], hits, rounds).items():
        print("%-18s %10.2f" % (name, value))


if __name__ == "__main__":
    main()
