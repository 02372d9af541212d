using System.Net.Sockets;
using System.Text;
using KTrace.Rsp;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp.Peers;

/// <summary>A stub spoken to in bare packets, with none of the client's code: to show what a stub does that the client then never makes it do.</summary>
internal sealed class RawStub : IDisposable
{
    private readonly Socket _socket;
    private readonly List<byte> _arrived = [];

    public RawStub(RspEndpoint endpoint)
    {
        _socket = endpoint.Path is not null
            ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
            : new Socket(SocketType.Stream, ProtocolType.Tcp);
        _socket.ReceiveTimeout = 60_000;
        if (endpoint.Path is { } unix)
        {
            _socket.Connect(new UnixDomainSocketEndPoint(unix));
        }
        else
        {
            _socket.Connect(endpoint.Host, endpoint.Port);
        }
    }

    public void Send(params byte[] bytes) => _socket.Send(bytes);

    /// <summary>Sends a request and gives its reply, acknowledged.</summary>
    public string Ask(string request)
    {
        Send(FakeStub.Frame(request));
        return Read() ?? throw new InvalidOperationException($"the stub closed after {request}");
    }

    /// <summary>The next packet or notification as it came, runs and escapes undone by nobody; null when the stub has closed.</summary>
    public string? Read()
    {
        var buffer = new byte[4096];
        while (true)
        {
            var start = _arrived.FindIndex(b => b is (byte)'$' or (byte)'%');
            var end = start < 0 ? -1 : _arrived.IndexOf((byte)'#', start);
            if (end >= 0 && _arrived.Count >= end + 3)
            {
                var packet = Encoding.Latin1.GetString(_arrived.GetRange(start, end - start).ToArray());
                _arrived.RemoveRange(0, end + 3);
                if (packet[0] == '%')
                {
                    return packet;
                }

                try
                {
                    Send((byte)'+');
                }
                catch (SocketException)
                {
                    // It has said its last and closed.
                }

                return packet[1..];
            }

            int count;
            try
            {
                count = _socket.Receive(buffer);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
            {
                return null;
            }

            if (count == 0)
            {
                return null;
            }

            _arrived.AddRange(buffer.AsSpan(0, count));
        }
    }

    /// <summary>Whether no packet begins for a while; acknowledgements do not count.</summary>
    public bool IsSilent(TimeSpan during)
    {
        var ends = Environment.TickCount64 + (long)during.TotalMilliseconds;
        var buffer = new byte[4096];
        while (!_arrived.Contains((byte)'$') && ends - Environment.TickCount64 is > 0 and var left)
        {
            if (_socket.Poll(TimeSpan.FromMilliseconds(left), SelectMode.SelectRead))
            {
                var count = _socket.Receive(buffer);
                if (count == 0)
                {
                    return false;
                }

                _arrived.AddRange(buffer.AsSpan(0, count));
            }
        }

        return !_arrived.Contains((byte)'$');
    }

    public void Dispose() => _socket.Dispose();
}
