using System.Globalization;
using System.Net.Sockets;

namespace KTrace.Rsp;

/// <summary>Where a stub listens: `unix:PATH` or `tcp:HOST:PORT` (an IPv6 address in brackets; no host means localhost).</summary>
public sealed record RspEndpoint
{
    private RspEndpoint(string? path, string host, int port)
    {
        Path = path;
        Host = host;
        Port = port;
    }

    /// <summary>The socket's path, or null for TCP.</summary>
    public string? Path { get; }

    public string Host { get; }

    public int Port { get; }

    /// <exception cref="FormatException">The text is of neither form.</exception>
    public static RspEndpoint Parse(string text)
    {
        if (text.StartsWith("unix:", StringComparison.Ordinal) && text.Length > 5)
        {
            return new RspEndpoint(text[5..], "", 0);
        }

        var colon = text.LastIndexOf(':');
        if (text.StartsWith("tcp:", StringComparison.Ordinal) && colon > 3
            && ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port > 0)
        {
            var host = text[4..colon].Trim('[', ']');
            return new RspEndpoint(null, host.Length == 0 ? "localhost" : host, port);
        }

        throw new FormatException($"`{text}` is no stub address: expected unix:PATH or tcp:HOST:PORT");
    }

    public override string ToString() => Path is { } path ? $"unix:{path}" : $"tcp:{(Host.Contains(':') ? $"[{Host}]" : Host)}:{Port}";

    /// <exception cref="RspException">Disconnected: nobody listens there.</exception>
    internal async ValueTask<Stream> ConnectAsync(RspClientOptions options, CancellationToken cancellationToken)
    {
        var socket = Path is null
            ? new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true }
            : new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            // On a thread, not asynchronously: see AttentiveSocketStream. Disposing the socket ends an attempt that takes too long.
            await Task.Run(() => Connect(socket), cancellationToken).WaitAsync(options.RequestTimeout, cancellationToken).ConfigureAwait(false);
            return new AttentiveSocketStream(socket, options.AttentiveWait, options.RequestTimeout);
        }
        catch (Exception e)
        {
            socket.Dispose();
            if (e is SocketException or ArgumentException or TimeoutException)
            {
                // ArgumentException: a path longer than the 107 bytes that sockaddr_un holds.
                throw new RspException(RspErrorKind.Disconnected, $"cannot connect to {this}: {e.Message}", e);
            }

            throw;
        }
    }

    private void Connect(Socket socket)
    {
        if (Path is { } path)
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
        }
        else
        {
            socket.Connect(Host, Port);
        }
    }
}
