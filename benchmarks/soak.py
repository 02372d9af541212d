"""Watches one long recording. Start it with benchmarks/soak."""
import json
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# At most so many lines, and none more often than so many seconds.
SAMPLES, SHORTEST = 60, 2
# A first quarter is warm-up: code is compiled, tables are filled. After it, the mean of the last third may exceed that of the first by so much.
ALLOWED_RATIO, ALLOWED_MEGABYTES = 1.05, 8
# The guest's shell reads its script before it loops.
FIRST_COUNTED = 100


def status(pid):
    """Resident, anonymous (GC heap and native) megabytes, threads, descriptors, CPU seconds of one process."""
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    stat = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    seconds = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    megabytes = lambda name: int(fields[name].split()[0]) / 1024
    return megabytes("VmRSS"), megabytes("RssAnon"), int(fields["Threads"]), len(os.listdir(f"/proc/{pid}/fd")), seconds


def last_hit(path):
    """The number of the last hit that is in the trace."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - (1 << 18)))
            found = re.findall(rb'"type":"hit","seq":(\d+)', file.read())
            return int(found[-1]) if found else 0
    except OSError:
        return 0


def check(path):
    """Reads all of the trace; returns hits, hits that the guest counted too, distinct call paths, what is wrong, and the end record."""
    hits, reads, paths, wrong, end, base = 0, 0, 0, [], None, None
    with open(path) as file:
        for line in file:
            if line.startswith('{"type":"path"'):
                paths += 1
            elif line.startswith('{"type":"end"'):
                end = json.loads(line)
            elif line.startswith('{"type":"hit"'):
                hit = json.loads(line)
                hits += 1
                if hit["seq"] != hits:
                    wrong.append(f"hit {hit['seq']} is the {hits}th in the file")
                    break
                if "values" not in hit or not hit["values"]:
                    wrong.append(f"hit {hits} has no arguments")
                    break
                if hit["tracepoint"] == 1 and hit["task"]["pid"] == 1:
                    reads += 1
                    count = int(hit["prints"][0].get("value", "0"), 16)
                    if reads == FIRST_COUNTED:
                        base = count - reads
                    elif base is not None and count != base + reads:
                        wrong.append(f"hit {hits} is the {reads}th read, and the guest counts {count - base}")
                        break
    if end is None:
        wrong.append("there is no end record")
    elif end["hits"] != hits:
        wrong.append(f"the end record tells of {end['hits']} hits, and {hits} are there")
    return hits, reads, paths, wrong, end


def mean(values):
    return sum(values) / len(values)


def main():
    minutes = float(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="ktrace-soak-") as folder:
        trace = folder + "/soak.ktrace"
        command = [ROOT + "/artifacts/ktrace/ktrace", "record", "benchmarks/soak.yaml", "--timeout", str(minutes * 60), "-o", trace]
        errors = open(folder + "/errors", "w+")
        recording = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        began, samples, line = time.monotonic(), [], "%8s %10s %8s %9s %9s %8s %6s %8s"
        print(line % ("minute", "hits", "hits/s", "RSS MB", "anon MB", "threads", "fds", "µs/hit"), flush=True)
        while True:
            try:
                recording.wait(max(SHORTEST, minutes * 60 / SAMPLES))
                break
            except subprocess.TimeoutExpired:
                pass
            now, (resident, anonymous, threads, descriptors, seconds), hits = time.monotonic() - began, status(recording.pid), last_hit(trace)
            if hits == 0:
                continue  # It boots.
            samples.append((now, hits, resident, anonymous, threads, descriptors, seconds))
            before = samples[-2] if len(samples) > 1 else (now - 1, hits, 0, 0, 0, 0, seconds)
            new = max(1, hits - before[1])
            print(line % ("%.1f" % (now / 60), hits, "%.0f" % ((hits - before[1]) / (now - before[0])), "%.1f" % resident, "%.1f" % anonymous, threads, descriptors,
                          "%.0f" % ((seconds - before[6]) / new * 1e6)), flush=True)
        hits, reads, paths, wrong, end = check(trace)
        if recording.returncode != 0:
            errors.seek(0)
            wrong.append(f"ktrace ended with {recording.returncode}: {errors.read()[-500:]}")
        steady = samples[len(samples) // 4:]
        third = max(1, len(steady) // 3)
        for name, column in (("anonymous memory", 3), ("resident memory", 2)):
            first, last = mean([s[column] for s in steady[:third]]), mean([s[column] for s in steady[-third:]])
            if last > first * ALLOWED_RATIO + ALLOWED_MEGABYTES:
                wrong.append(f"{name} grows: {first:.1f} MB after the warm-up, {last:.1f} MB in the end")
            print(f"{name}: {first:.1f} MB after the warm-up, {last:.1f} MB in the end")
        if steady[-1][4] > steady[0][4] + 4 or steady[-1][5] > steady[0][5] + 4:
            wrong.append("threads or descriptors grow")
        if end:
            cpu = (steady[-1][6] - steady[0][6]) / max(1, steady[-1][1] - steady[0][1]) * 1e6
            print(f"{hits} hits on {paths} call paths in {end.get('active_seconds', end['seconds']):.0f} s, {hits / end.get('active_seconds', end['seconds']):.0f} a second, "
                  f"{cpu:.0f} µs of ktrace's CPU time a hit, a trace of {os.path.getsize(trace) >> 20} MB; {reads} of them compared with the guest's own count")
        for text in wrong:
            print("soak: " + text, file=sys.stderr)
        sys.exit(1 if wrong else 0)


main()
