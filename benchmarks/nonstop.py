"""Tracepoints without stops: benchmarks/nonstop.py [HITS] [ROUNDS], or as rows of benchmarks/run.

The hot guest's first program reads a byte so many times and switches the machine off; the bare c/s loop over QEMU's stub, which is the limit of stopping, runs in turns with it. What a thousand functions cost is the
guest's own clock at power-off against the same boot without tracepoints (ktrace record --baseline).
"""
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

from live import Kernel, bare_hits, last_hit

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KTRACE = ROOT + "/artifacts/ktrace/ktrace"
HOT = """
name: hot
kernel: stock
append: console=ttyS0 nokaslr quiet
initramfs:
  init: ["run dd if=/dev/zero of=/dev/null bs=1 count={hits}", "run poweroff -f"]
machine: q35
memory: 512M
cpus: 1
tracepoints: [vfs_read]
timeout: 10m
"""
# 2,000 functions of the interrupt, PCI, file, memory, timer and driver layers, and half of all that the kernel has.
MANY = r"/^(irq_|pci_|vfs_|kmem_cache|alloc_|__alloc|device_|tick_|hrtimer_|sched|timer|dev_|sysfs_|msi_)/"
ALL = "/^[a-m]/"


def record(trace, *arguments):
    """Runs one recording; returns what it cost while it ran: (hits, anonymous megabytes, CPU seconds, clock) now and then."""
    samples = []
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen([KTRACE, "record", *arguments, "-o", trace], stdout=subprocess.DEVNULL, stderr=errors) as recording:
        while recording.poll() is None:
            with contextlib.suppress(OSError, IndexError, KeyError):
                stat = open(f"/proc/{recording.pid}/stat").read().rsplit(")", 1)[1].split()
                fields = dict(line.split(":", 1) for line in open(f"/proc/{recording.pid}/status"))
                samples.append((last_hit(trace), int(fields["RssAnon"].split()[0]) / 1024, (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"), time.monotonic()))
            time.sleep(0.05)
        if recording.returncode != 0:
            errors.seek(0)
            raise SystemExit("nonstop.py: ktrace record failed: " + errors.read()[-600:])
    return samples


def last_lines(trace):
    """The records that a recording ends with, by type."""
    with open(trace, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - (1 << 16)))
        lines = file.read().split(b"\n")[1:]
    found = {}
    for line in lines:
        with contextlib.suppress(ValueError, KeyError):
            record = json.loads(line)
            found[record["type"]] = record
    return found


def hot(folder, hits):
    trace, scenario = folder + "/hot.ktrace", folder + "/hot.yaml"
    with open(scenario, "w") as file:
        file.write(HOT.format(hits=hits))
    samples = record(trace, scenario)
    last, size = last_lines(trace), os.path.getsize(trace)
    end, figures = last["end"], last["nonstop"]
    os.remove(trace)
    steady = [s for s in samples if hits / 4 <= s[0] < end["hits"]]
    third = max(1, len(steady) // 3)
    return {
        "hot_hits": end["hits"], "hot_lost": figures["dropped"] + hits - min(hits, figures["hits"]), "hot_rate": hits / max(1e-9, until(samples, hits)), "hot_bytes": size / end["hits"],
        "hot_cpu": (steady[-1][2] - steady[0][2]) / max(1, steady[-1][0] - steady[0][0]) * 1e6 if len(steady) > 1 else float("nan"),
        "hot_grows": statistics.mean(s[1] for s in steady[-third:]) - statistics.mean(s[1] for s in steady[:third]) if steady else float("nan"),
    }


def until(samples, hits):
    """Seconds from the first hundredth of the hits to the last of them."""
    times = [s[3] for s in samples if s[0] > hits / 100]
    last = next((s[3] for s in samples if s[0] >= hits), times[-1] if times else float("nan"))
    return last - times[0] if times else float("nan")


def many(folder):
    trace = folder + "/many.ktrace"
    record(trace, "e1000e-msix", "-b", MANY, "--baseline")
    figures = last_lines(trace)["nonstop"]
    functions = armed(trace)[0]
    os.remove(trace)
    return {"many_functions": functions, "many_hits": figures["hits"], "many_guest": figures["guest_seconds"], "many_baseline": figures["baseline_guest_seconds"],
            "many_ratio": figures["guest_seconds"] / figures["baseline_guest_seconds"]}


def armed(trace):
    """How many functions of the kernel were armed, and in how many seconds the machine stood for it."""
    with open(trace) as file:
        text = file.read()
    found = re.findall(r'"note","text":"(\d+) functions armed without stops in ([\d.]+) s"', text)
    again = re.findall(r'"note","text":"\d+ of them armed again in ([\d.]+) s', text)
    return sum(int(count) for count, _ in found), sum(map(float, again + [seconds for _, seconds in found]))


def all_functions(folder):
    trace = folder + "/all.ktrace"
    record(trace, "e1000e-msix", "-b", ALL + " first 1000")
    functions, seconds = armed(trace)
    os.remove(trace)
    return {"all_functions": functions, "all_seconds": seconds}


def measure(root, hits, rounds):
    """Medians of so many rounds, done in turns."""
    kernel, found = Kernel(root), {}
    with tempfile.TemporaryDirectory(prefix="ktrace-nonstop-") as folder:
        for _ in range(rounds):
            bare = bare_hits(kernel, folder, 3000)
            one = hot(folder, hits)
            for name, value in {"bare": bare, **one, "hot_ratio": one["hot_rate"] / bare, **many(folder), **all_functions(folder)}.items():
                found.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def main():
    hits, rounds = (int(word) for word in (sys.argv[1:] + ["1000000", "3"][len(sys.argv) - 1:]))
    for name, value in measure(os.environ["KTRACE_TEST_KERNEL_DIR"], hits, rounds).items():
        print("%-18s %12.3f" % (name, value))


if __name__ == "__main__":
    main()
