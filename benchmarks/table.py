"""Runs the rows of docs/benchmarks.md and prints one table. Start it with benchmarks/run."""
import argparse
import glob
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

from live import measure as measure_live
from nonstop import measure as measure_nonstop

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KERNEL = os.environ["KTRACE_TEST_KERNEL_DIR"]
VMLINUX = glob.glob(KERNEL + "/usr/lib/debug/boot/vmlinux-*")[0]
KTRACE = ROOT + "/artifacts/ktrace/ktrace"
OURS = ROOT + "/artifacts/benchmarks/ktrace-benchmarks"
STACKS = ROOT + "/tests/KTrace.Tests/Fixtures/stacks/"
FIRST, WARM = STACKS + "boot-cpu.json", STACKS + "system-call-into-a-module.json"

WARM_GDB = """
import gdb, time, statistics
times = []
for i in range(60):
    gdb.execute("maint flush register-cache", to_string=True)
    start = time.perf_counter()
    gdb.execute("bt", to_string=True)
    times.append(time.perf_counter() - start)
print("median %d" % (statistics.median(times[10:]) * 1e9))
"""


def measure(command, stdin=None):
    """Seconds and peak megabytes of one run."""
    with tempfile.NamedTemporaryFile("r") as peak, open(stdin or os.devnull) as source:
        start = time.perf_counter()
        subprocess.run(["/usr/bin/time", "-o", peak.name, "-f", "%M", *command], stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        return seconds, int(peak.read().split()[-1]) / 1024


def side_by_side(commands, rounds):
    """Medians of several rounds, taken in turns, so that what else the machine does hits all alike. The first round only fills the file cache."""
    results = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, (command, stdin, once) in commands.items():
            if turn == 0 and (once or rounds == 1) or turn > 1 and once:
                continue
            results[name].append(measure(command, stdin))
            if turn == 0:
                results[name].clear()
    return {name: (statistics.median(r[0] for r in found), max(r[1] for r in found)) for name, found in results.items()}


class Table:
    def __init__(self, markdown, only):
        self.markdown, self.only = markdown, only
        self.line("work", "peer", "ktrace / peer", "asked", "met", "peak of ktrace", "peak of the peer")
        if markdown:
            print("|---" * 7 + "|")

    def wanted(self, work):
        return self.only in work

    def line(self, *cells):
        if self.markdown:
            print("| " + " | ".join(cells) + " |")
        else:
            print("%-58s %-18s %14s %-22s %-4s %15s %16s" % cells)
        sys.stdout.flush()

    def compare(self, work, ours, peers, rounds, asked=None, megabytes=None, seconds=None):
        """A line for each peer. Of the first peer `asked` is the largest ratio, of any `megabytes` the largest peak and `seconds` the longest time."""
        if not self.wanted(work):
            return
        found = side_by_side({"ktrace": ours, **peers}, rounds)
        time_taken, peak = found["ktrace"]
        for number, peer in enumerate(peers):
            ratio = time_taken / found[peer][0]
            limits = []
            if number == 0:
                limits += [("< %g" % asked, ratio < asked)] if asked else []
                limits += [("< %g MB" % megabytes, peak < megabytes)] if megabytes else []
                limits += [("< %g s" % seconds, time_taken < seconds)] if seconds else []
            self.line(work, peer, "%.3g" % ratio, ", ".join(text for text, _ in limits) or "-",
                      "-" if not limits else "yes" if all(ok for _, ok in limits) else "no", "%.0f MB" % peak, "%.0f MB" % found[peer][1])


def addresses(folder, count):
    out = subprocess.run(["readelf", "-SW", VMLINUX], capture_output=True, text=True, check=True).stdout
    fields = next(line.split("] ")[1].split() for line in out.splitlines() if "] .text " in line)
    start, size = int(fields[2], 16), int(fields[4], 16)
    chosen = random.Random(42)
    path = f"{folder}/{count}"
    with open(path, "w") as file:
        file.writelines("0x%x\n" % (start + chosen.randrange(size)) for _ in range(count))
    return path


def warm(table, folder):
    works = ["a warm call path, unwound and named", "the same with every argument"]
    if not any(table.wanted(work) for work in works):
        return
    core = folder + "/warm.core"
    subprocess.run([OURS, "core", WARM, KERNEL, core], check=True)
    found = subprocess.run([OURS, "warm", WARM, KERNEL], check=True, capture_output=True, text=True).stdout.split()
    frames, names, arguments, named, argued, bytes_named, bytes_argued, retained, printed, bytes_printed = (int(word) for word in found)
    import json
    script = folder + "/warm.gdb"
    with open(WARM) as file, open(script, "w") as out:
        for module, sections in json.load(file)["modules"].items():
            debug = glob.glob(f"{KERNEL}/usr/lib/debug/lib/modules/**/{module}.ko", recursive=True)[0]
            parts = " ".join(f"-s {name} 0x{address}" for name, address in sections.items() if name.startswith((".text", ".init.text", ".exit.text", ".data", ".bss", ".rodata")))
            out.write(f"add-symbol-file {debug} {parts}\n")
        out.write("python\n" + WARM_GDB + "end\n")
    peer = {}
    for arguments_shown in ("none", "all"):
        output = subprocess.run(["gdb", "-batch", "-nx", "-ex", "set print frame-arguments " + arguments_shown, "-x", script, VMLINUX, core], capture_output=True, text=True).stdout
        peer[arguments_shown] = int(output.split("median ")[1].split()[0])
    for work, shown, taken, size, limit in ((f"{works[0]} ({frames} frames, {names} names)", "none", named, bytes_named, 10), (f"{works[1]} ({arguments} arguments)", "all", argued, bytes_argued, 150)):
        table.line(work, "gdb, bt", "%.2g" % (taken / peer[shown]), f"< {limit} µs a path", "yes" if taken < limit * 1000 else f"{taken / 1000:.1f} µs", "-", "-")
        table.line(work + ", memory", "-", "-", "nothing that grows", "yes" if retained < 65536 else "no", f"{size / 1024:.1f} KiB a path", f"{retained} B kept")
    table.line("the same, printed", "gdb, bt", "%.2g" % (printed / peer["all"]), "-", f"{printed / 1000:.1f} µs", f"{bytes_printed / 1024:.1f} KiB a path", "-")


def live(table, rounds):
    works = ["hits per second, full call path, trace written", "the same with every argument", "single steps per second"]
    if not any(table.wanted(work) for work in works):
        return
    found = measure_live(KERNEL, 6000, rounds)
    for work, name in ((works[0], "path"), (works[1], "arguments")):
        ratio, cpu = found[name + "_ratio"], found[name + "_cpu"]
        table.line(work, "bare c/s loop", "%.2f of its rate" % ratio, "at least 0.95", "yes" if ratio >= 0.95 else "no", "-", "-")
        table.line(work + ", ktrace's CPU time", "-", "%.0f µs a hit" % cpu, "< 150 µs", "yes" if cpu < 150 else "no", "-", "-")
    table.line(works[0], "gdb, commands bt c", "%.2f times its rate" % (found["path"] / found["gdb"]), "-", "-", "-", "-")
    ratio = found["steps_ratio"]
    table.line(works[2], "bare s loop", "%.2f of its rate" % ratio, "at least 0.9", "yes" if ratio >= 0.9 else "no", "-", "-")


def nonstop(table, rounds):
    works = ["hits per second without stops, one hot function, trace written", "the guest's clock at power-off, N functions traced without stops", "arming N functions"]
    if not any(table.wanted(work) for work in works):
        return
    found = measure_nonstop(KERNEL, 1_000_000, rounds)
    table.line(works[0] + f" ({found['hot_hits']:,.0f} hits, {found['hot_lost']:.0f} lost)", "bare c/s loop", "%.0f times its rate" % found["hot_ratio"], "at least 100", "yes" if found["hot_ratio"] >= 100 else "no", "-", "-")
    table.line(works[0] + ", ktrace's CPU time", "-", "%.1f µs a hit" % found["hot_cpu"], "at most 10 µs", "yes" if found["hot_cpu"] <= 10 else "no", "-", "-")
    table.line(works[0] + ", trace", "-", "%.0f bytes a hit" % found["hot_bytes"], "at most 120", "yes" if found["hot_bytes"] <= 120 else "no", "-", "-")
    table.line(works[0] + ", memory", "-", "%+.1f MB" % found["hot_grows"], "flat", "yes" if found["hot_grows"] < 8 else "no", "-", "-")
    table.line(works[1].replace("N", f"{found['many_functions']:,.0f}") + f" ({found['many_hits']:,.0f} hits)", "without tracepoints", "%.3f" % found["many_ratio"], "at most 1.1", "yes" if found["many_ratio"] <= 1.1 else "no", "-", "-")
    table.line(works[2].replace("N", f"{found['all_functions']:,.0f}"), "-", "%.2f s" % found["all_seconds"], "20,000 in under 5 s", "yes" if found["all_seconds"] < 5 else "no", "-", "-")


MEMORY = {"64MiB": ("64 MiB of guest memory in one read", 0.05), "4KiB": ("4 KiB, anywhere", None), "16B": ("16 bytes, anywhere", None),
          "stack": ("a stack window of 2 KiB", None), "8B": ("one word", None)}


def memory(table):
    """Guest memory out of mapped RAM against QEMU's stub, same reads, same guest."""
    works = {key: "guest memory, mapped: " + text for key, (text, _) in MEMORY.items()}
    if not any(table.wanted(work) for work in works.values()):
        return
    output = subprocess.run([OURS, "memory", KERNEL], capture_output=True, text=True)
    if output.returncode:
        print("run: the memory benchmark failed: " + output.stderr[-500:], file=sys.stderr)
        return
    for key, stub, mapped in (line.split() for line in output.stdout.splitlines()):
        ratio, limit = int(mapped) / int(stub), MEMORY[key][1]
        times = "%s, stub %s" % tuple("%.3g ms" % (n / 1e6) if n >= 1e6 else "%.3g µs" % (n / 1e3) for n in (int(mapped), int(stub)))
        table.line(works[key] + " (" + times + ")", "QEMU's stub", "%.2g" % ratio, "< %g" % limit if limit else "-", ("yes" if ratio < limit else "no") if limit else "-", "-", "-")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-live", action="store_true")
    parser.add_argument("work", nargs="?", default="")
    options = parser.parse_args()
    llvm = "llvm-symbolizer-14"
    table = Table(options.markdown, options.work)
    with tempfile.TemporaryDirectory() as folder:
        core = folder + "/first.core"
        subprocess.run([OURS, "core", FIRST, KERNEL, core], check=True)
        table.compare("start to the first backtrace with arguments", ([OURS, "backtrace", FIRST, KERNEL], None, False),
                      {"gdb": (["gdb", "-batch", "-nx", "-ex", "bt", VMLINUX, core], None, False)}, options.rounds, asked=0.25, megabytes=150)
        table.compare("struct irq_desc with offsets", ([KTRACE, "type", "--vmlinux", VMLINUX, "struct irq_desc"], None, False),
                      {"gdb, ptype /o": (["gdb", "-batch", "-nx", "-ex", "ptype /o struct irq_desc", VMLINUX], None, True),
                       "pahole": (["pahole", "-C", "irq_desc", VMLINUX], None, False)}, options.rounds, seconds=0.3)
        table.compare("start, one function's file and line", ([KTRACE, "sym", "--vmlinux", VMLINUX, "request_threaded_irq"], None, False),
                      {"gdb": (["gdb", "-batch", "-nx", "-ex", "info line request_threaded_irq", VMLINUX], None, False)}, options.rounds, asked=0.25)
        for count in (782, 10_000, 100_000):
            path = addresses(folder, count)
            peers = {llvm: ([llvm, "--obj=" + VMLINUX], path, False)}
            if count != 10_000:
                peers["addr2line -a -f -i"] = (["addr2line", "-afi", "-e", VMLINUX], path, True)
            table.compare(f"{count:,} random addresses with inlined calls", ([KTRACE, "sym", "--vmlinux", VMLINUX], path, False), peers, options.rounds,
                          asked=0.7 if count == 782 else 1 if count == 100_000 else None, megabytes=150 if count == 782 else None)
        warm(table, folder)
        if not options.no_live:
            memory(table)
            live(table, options.rounds)
            nonstop(table, options.rounds)


main()
