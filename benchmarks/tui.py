#!/usr/bin/env python3
# The terminal UI as a terminal sees it: ktrace tui on a pseudo terminal of 200x50, keys in, bytes out. Nothing of ktrace measures itself here.
#
#   benchmarks/tui.py [--rounds N] TRACE                    start, idle, keys and bytes on a recorded trace
#   benchmarks/tui.py [--rounds N] --live SCENARIO          keys and bytes on a live guest that stands at a breakpoint, and single steps
#
# While a console writes without end: ktrace-benchmarks screen (benchmarks/KTrace.Benchmarks/ScreenLatency.cs).
#
# start      from exec to the first bytes, and to a screen with the first hit in it
# key        from the key's write to the last byte of what answers it (the screen is quiet again for 3 ms, after a step for 0.3 s), milliseconds
# bytes      of the frames that answer a key, all of them and the largest one
# idle       processor time of ktrace over ten seconds without a key, per cent of one processor
import argparse
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time

QUIET = 0.003

# Nobody's own layouts and breakpoints, neither used nor changed.
STATE = tempfile.TemporaryDirectory()


class Session:
    def __init__(self, arguments, columns=200, rows=50):
        self.began = time.perf_counter()
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.environ.update(TERM="xterm-256color", LC_ALL="C.UTF-8", XDG_STATE_HOME=STATE.name)
            os.execv("./ktrace", ["./ktrace", "tui", *arguments])
        self.seen = b""
        self.answered = False

    def read(self, seconds):
        """What comes within a time, or nothing."""
        if not select.select([self.master], [], [], seconds)[0]:
            return b""
        try:
            part = os.read(self.master, 1 << 16)
        except OSError:
            return b""
        self.seen += part
        if not self.answered and b"\x1b[c" in self.seen:
            # As xterm answers: dark background, synchronised output known.
            self.answered = True
            os.write(self.master, b"\x1b]11;rgb:0000/0000/0000\x1b\\\x1b[?2026;2$y\x1b[?62c")
        return part

    def until(self, pattern, seconds=120):
        limit = time.perf_counter() + seconds
        while not re.search(pattern, self.seen):
            if time.perf_counter() > limit:
                sys.exit(f"tui.py: {pattern!r} never came; the end of what did: {self.seen[-2000:]!r}")
            self.read(1)
        return time.perf_counter() - self.began

    def settle(self, quiet=0.5, longest=20):
        limit = time.perf_counter() + longest
        while self.read(quiet) and time.perf_counter() < limit:
            pass

    def key(self, key, quiet=QUIET):
        """Milliseconds until what answers a key is there, and its bytes."""
        begun = time.perf_counter()
        os.write(self.master, key)
        answer, last = b"", begun
        while part := self.read(quiet if answer else 1):
            answer, last = answer + part, time.perf_counter()
        return (last - begun) * 1000, [len(frame) for frame in answer.split(b"\x1b[?2026h") if frame]

    def cpu(self):
        # The launcher is a shell that becomes the program: one process.
        fields = open(f"/proc/{self.pid}/stat").read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def idle(self, seconds=10):
        before, limit = self.cpu(), time.perf_counter() + seconds
        while (left := limit - time.perf_counter()) > 0:
            self.read(left)
        return (self.cpu() - before) / seconds * 100

    def end(self):
        os.kill(self.pid, signal.SIGTERM)
        while self.read(5):
            pass
        os.waitpid(self.pid, 0)


def row(name, values, unit):
    if not values:
        print("%-52s nothing was painted" % name)
        return
    values = sorted(values)
    p95 = values[min(len(values) - 1, int(len(values) * 0.95))]
    print(f"{name:52} p50 {statistics.median(values):8.1f}  p95 {p95:8.1f}  max {values[-1]:8.1f}  {unit}  n={len(values)}")


def keys(session, name, rounds, pressed, quiet=QUIET):
    times, sizes, largest = [], [], []
    for i in range(rounds):
        session.settle(quiet=0.02, longest=1)
        took, frames = session.key(pressed[i % len(pressed)], quiet)
        if frames:
            times.append(took)
            sizes.append(sum(frames))
            largest.append(max(frames))
    row(name + ": key to last byte", times, "ms")
    row(name + ": bytes of all frames", sizes, "bytes")
    row(name + ": bytes of the largest", largest, "bytes")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("what")
    options = parser.parse_args()
    os.chdir(os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))

    if not options.live:
        first, whole = [], []
        for _ in range(10):
            session = Session([options.what])
            first.append(session.until(rb"\x1b\[2J.") * 1000)
            whole.append(session.until(rb"#0 |hit 1") * 1000)
            session.settle(quiet=0.2, longest=2)
            session.end()
        row("start to first bytes", first, "ms")
        row("start to first hit", whole, "ms")

    session = Session([options.what] + (["-b", "x86_vector_msi_compose_msg"] if options.live else []))
    if options.live:
        session.until(rb"connected|breakpoint")
    session.settle(quiet=1)
    keys(session, "tab", options.rounds, [b"\t"])
    keys(session, "down and up", options.rounds, [b"j", b"j", b"k", b"k"])
    keys(session, "layouts", options.rounds, [b"1", b"2", b"3", b"4"])
    if options.live:
        os.write(session.master, b"1")
        session.settle()
        session.seen = b""
        os.write(session.master, b"c")
        session.until(rb"breakpoint 1")
        session.settle(quiet=2)

        # The stop comes first and its details after: all of it counts.
        keys(session, "instruction steps, all details", options.rounds, [b"i"], quiet=0.3)
    session.settle(quiet=1)
    print(f"{'idle':52} {session.idle():.2f} % of a processor over 10 s")
    session.end()


main()
