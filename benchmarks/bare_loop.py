"""The limit of stopping: a bare `c` / `s` loop over QEMU's gdb stub, with no symbols, no registers and no memory.

usage: bare_loop.py SOCKET ADDRESS HITS      prints hits per second between the first and the last hit
"""
import socket
import sys
import time


class Stub:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.buffer = b""

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


def main():
    path, address, hits = sys.argv[1], int(sys.argv[2], 16), int(sys.argv[3])
    stub = Stub(path)
    stub.command(b"qSupported:multiprocess+")
    stub.command(b"qXfer:features:read:target.xml:0,ffb")
    stub.command(b"?")
    assert stub.command(b"Z0,%x,1" % address) == b"OK"
    first = None
    for _ in range(hits):
        stub.send(b"c")
        stop = stub.receive()
        if first is None:
            first = time.monotonic()
        if not stop.startswith(b"T05"):
            raise SystemExit("unexpected stop: %r" % stop)
        stub.command(b"s")
    print("%.1f" % ((hits - 1) / (time.monotonic() - first)))


main()
