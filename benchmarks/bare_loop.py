"""The limit of stopping: bare loops over QEMU's gdb stub, with no symbols, no registers and no memory."""
import socket
import time


class Stub:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.buffer = b""
        self.command(b"qSupported:multiprocess+")
        self.command(b"qXfer:features:read:target.xml:0,ffb")
        self.command(b"?")

    def send(self, payload):
        self.socket.sendall(b"$" + payload + b"#%02x" % (sum(payload) & 0xFF))

    def receive(self):
        while True:
            start = self.buffer.find(b"$")
            end = self.buffer.find(b"#", start) if start >= 0 else -1
            if end >= 0 and len(self.buffer) >= end + 3:
                packet = self.buffer[start + 1 : end]
                self.buffer = self.buffer[end + 3 :]
                return packet
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the stub closed the connection")
            self.buffer += data

    def command(self, payload):
        self.send(payload)
        return self.receive()

    def hits_per_second(self, address, hits):
        """`c` to the breakpoint and `s` past it, between the first hit and the last."""
        assert self.command(b"Z0,%x,1" % address) == b"OK"
        first = None
        for _ in range(hits):
            stop = self.command(b"c")
            first = first or time.monotonic()
            if not stop.startswith(b"T05"):
                raise SystemExit("unexpected stop: %r" % stop)
            self.command(b"s")
        return (hits - 1) / (time.monotonic() - first)

    def steps_per_second(self, steps):
        """`s` over and over, from where the machine stands."""
        began = time.monotonic()
        for _ in range(steps):
            self.command(b"s")
        return steps / (time.monotonic() - began)
