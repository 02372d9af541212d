// A scripted gdb stub behind a real unix socket. It parses what it is sent by its own few lines, not by the client's framer, and
// keeps everything it saw: requests as text, `+`, `-`, and `^C` for a bare 0x03.
using System.Net.Sockets;
using System.Text;
using KTrace.Rsp;

namespace KTrace.Tests.Support;

internal sealed class FakeStub : IAsyncDisposable
{
    public const string TargetXml =
        """<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target><architecture>i386:x86-64</architecture><xi:include href="core.xml"/></target>""";

    public const string CoreXml =
        """<?xml version="1.0"?><feature name="org.gnu.gdb.i386.core"><reg name="rax" bitsize="64"/><reg name="rip" bitsize="64"/><reg name="eflags" bitsize="32"/><reg name="st0" bitsize="80"/></feature>""";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("ktrace-stub-");
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly Dictionary<string, Queue<Answer>> _script = [];
    private readonly List<string> _seen = [];
    private readonly HashSet<string> _answered = [];
    private readonly List<byte> _held = [];
    private readonly Task _serving;
    private readonly TaskCompletionSource<Socket> _accepted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private string? _holdUntil;

    public FakeStub()
    {
        var path = Path.Combine(_folder.FullName, "stub");
        _listener.Bind(new UnixDomainSocketEndPoint(path));
        _listener.Listen(1);
        Endpoint = RspEndpoint.Parse("unix:" + path);
        _serving = Task.Run(ServeAsync);
    }

    private sealed record Answer(byte[] Bytes, bool Close);

    public RspEndpoint Endpoint { get; }

    /// <summary>Whether requests are acknowledged. A stub that is told QStartNoAckMode stops by itself.</summary>
    public bool Acks { get; set; } = true;

    /// <summary>What to do with a request that the script does not know; by default the answer is empty.</summary>
    public Func<string, IEnumerable<string>>? Otherwise { get; set; }

    /// <summary>What to do with an interrupt that the script does not know; by default nothing.</summary>
    public Func<IEnumerable<string>>? OtherwiseInterrupted { get; set; }

    public IReadOnlyList<string> Seen
    {
        get
        {
            lock (_seen)
            {
                return [.. _seen];
            }
        }
    }

    /// <summary>Requests without acknowledgements.</summary>
    public IReadOnlyList<string> Requests => [.. Seen.Where(text => text is not "+" and not "-")];

    /// <summary>A stub that answers the handshake as QEMU 7.2 does.</summary>
    public static FakeStub Qemu() => Speaking("PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+")
        .On("qqemu.sstepbits", "ENABLE=1,NOIRQ=2,NOTIMER=4");

    /// <summary>A stub of an unknown kind.</summary>
    public static FakeStub Speaking(string features) => new FakeStub()
        .On(ClientHello, features)
        .On("QStartNoAckMode", "OK")
        .On("vCont?", "vCont;c;C;s;S")
        .On("qXfer:features:read:target.xml:0,ffb", "l" + TargetXml)
        .On("qXfer:features:read:core.xml:0,ffb", "l" + CoreXml)
        .On("qC", "QCp01.01")
        .On("?", "T05thread:p01.01;");

    public const string ClientHello = "qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+;error-message+;xmlRegisters=i386";

    public static byte[] Frame(string payload)
    {
        var bytes = Encoding.Latin1.GetBytes(payload);
        var sum = bytes.Aggregate(0, (total, b) => (total + b) & 0xff);
        return [(byte)'$', .. bytes, (byte)'#', .. Encoding.ASCII.GetBytes(sum.ToString("x2"))];
    }

    /// <summary>Answers a request with these payloads, framed. Said several times, the answers take turns and the last one stays.</summary>
    public FakeStub On(string request, params string[] payloads) => OnRaw(request, [.. payloads.SelectMany(Frame)]);

    public FakeStub OnRaw(string request, byte[] bytes, bool close = false)
    {
        lock (_script)
        {
            if (!_script.TryGetValue(request, out var answers))
            {
                _script[request] = answers = new Queue<Answer>();
            }

            answers.Enqueue(new Answer(bytes, close));
        }

        return this;
    }

    public FakeStub Silent(string request) => OnRaw(request, []);

    /// <summary>Keeps all answers back until this request has come.</summary>
    public void HoldUntil(string request) => _holdUntil = request;

    /// <summary>Sends packets of its own accord, once this request (null: any connection) was answered.</summary>
    public async Task SendAsync(string? after, params string[] payloads) => await SendRawAsync(after, payloads.SelectMany(Frame).ToArray());

    public async Task SendRawAsync(string? after, byte[] bytes)
    {
        var peer = await _accepted.Task;
        while (after is not null && !IsAnswered(after))
        {
            await Task.Delay(1);
        }

        await peer.SendAsync(bytes);
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        if (_accepted.Task.IsCompletedSuccessfully)
        {
            (await _accepted.Task).Dispose();
        }

        await _serving;
        _folder.Delete(recursive: true);
    }

    private async Task ServeAsync()
    {
        try
        {
            var peer = await _listener.AcceptAsync();
            _accepted.SetResult(peer);
            var buffer = new byte[4096];
            List<byte>? packet = null;
            while (await peer.ReceiveAsync(buffer) is > 0 and var count)
            {
                foreach (var b in buffer.AsSpan(0, count).ToArray())
                {
                    if (packet is not null)
                    {
                        packet.Add(b);
                        if (packet.Count >= 3 && packet[^3] == '#')
                        {
                            var request = Encoding.Latin1.GetString([.. packet[..^3]]);
                            Assert.Equal([.. Frame(request)], new byte[] { (byte)'$' }.Concat(packet));
                            packet = null;
                            await HandleAsync(peer, request);
                        }
                    }
                    else if (b == '$')
                    {
                        packet = [];
                    }
                    else
                    {
                        var mark = b == 3 ? "^C" : ((char)b).ToString();
                        if (b == 3)
                        {
                            await HandleAsync(peer, mark, isPacket: false);
                        }
                        else
                        {
                            Note(mark);
                            await AnswerAsync(peer, mark, known: false);
                        }
                    }
                }
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The test is over, or the script closed the connection.
            _accepted.TrySetException(e);
            _ = _accepted.Task.Exception;
        }
    }

    private bool IsAnswered(string request)
    {
        lock (_answered)
        {
            return _answered.Contains(request);
        }
    }

    private void Note(string text)
    {
        lock (_seen)
        {
            _seen.Add(text);
        }
    }

    private async Task HandleAsync(Socket peer, string request, bool isPacket = true)
    {
        Note(request);
        if (Acks && isPacket)
        {
            _held.Add((byte)'+');
        }

        if (request == _holdUntil)
        {
            _holdUntil = null;
        }

        await AnswerAsync(peer, request, known: isPacket);
        if (request == "QStartNoAckMode")
        {
            Acks = false;
        }
    }

    private async Task AnswerAsync(Socket peer, string request, bool known)
    {
        Answer? answer = null;
        lock (_script)
        {
            if (_script.TryGetValue(request, out var answers))
            {
                answer = answers.Count > 1 ? answers.Dequeue() : answers.Peek();
            }
        }

        if (answer is not null)
        {
            _held.AddRange(answer.Bytes);
        }
        else if (known && (Otherwise is not null || !request.StartsWith("vCont;", StringComparison.Ordinal)))
        {
            _held.AddRange((Otherwise?.Invoke(request) ?? [""]).SelectMany(Frame));
        }

        else if (!known && request == "^C" && OtherwiseInterrupted is { } interrupted)
        {
            _held.AddRange(interrupted().SelectMany(Frame));
        }

        if (_holdUntil is null && _held.Count > 0)
        {
            await peer.SendAsync(_held.ToArray());
            _held.Clear();
        }

        lock (_answered)
        {
            _answered.Add(request);
        }

        if (answer?.Close == true)
        {
            peer.Dispose();
        }
    }
}
