using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace KTrace.Rsp;

/// <summary>
/// Where a stub is: `unix:PATH`, `tcp:HOST:PORT` (an IPv6 address in brackets; no host means localhost), or `pipe:PROGRAM ARGUMENTS`, which is started and
/// spoken to over its standard input and output, as gdb's `target remote | vgdb`. No shell is in between: words are separated by spaces, and '…' or "…" keeps spaces in one.
/// </summary>
public sealed record RspEndpoint
{
    private RspEndpoint(string? path, string host, int port, string? command = null)
    {
        Path = path;
        Host = host;
        Port = port;
        Command = command;
    }

    /// <summary>The socket's path, or null for TCP.</summary>
    public string? Path { get; }

    public string Host { get; }

    public int Port { get; }

    /// <summary>The program with its arguments, or null for sockets.</summary>
    public string? Command { get; }

    /// <exception cref="FormatException">The text is of no form.</exception>
    public static RspEndpoint Parse(string text)
    {
        if (text.StartsWith("unix:", StringComparison.Ordinal) && text.Length > 5)
        {
            return new RspEndpoint(text[5..], "", 0);
        }

        if (text.StartsWith("pipe:", StringComparison.Ordinal) && Words(text[5..]).Count > 0)
        {
            return new RspEndpoint(null, "", 0, text[5..].Trim());
        }

        var colon = text.LastIndexOf(':');
        if (text.StartsWith("tcp:", StringComparison.Ordinal) && colon > 3
            && ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port > 0)
        {
            var host = text[4..colon].Trim('[', ']');
            return new RspEndpoint(null, host.Length == 0 ? "localhost" : host, port);
        }

        throw new FormatException($"`{text}` is no stub address: expected unix:PATH, tcp:HOST:PORT or pipe:PROGRAM");
    }

    public override string ToString() => Command is { } command ? $"pipe:{command}" : Path is { } path ? $"unix:{path}" : $"tcp:{(Host.Contains(':') ? $"[{Host}]" : Host)}:{Port}";

    /// <exception cref="RspException">Disconnected: nobody listens there.</exception>
    internal async ValueTask<Stream> ConnectAsync(RspClientOptions options, CancellationToken cancellationToken)
    {
        if (Command is { } command)
        {
            return new ProgramStream(Words(command));
        }

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

    /// <exception cref="FormatException">A quotation mark has no second.</exception>
    private static List<string> Words(string command)
    {
        var words = new List<string>();
        var word = new StringBuilder();
        char? quote = null;
        var begun = false;
        foreach (var c in command)
        {
            if (c == quote)
            {
                quote = null;
            }
            else if (quote is null && (c is '\'' or '"'))
            {
                quote = c;
                begun = true;
            }
            else if (quote is null && c == ' ')
            {
                if (begun)
                {
                    words.Add(word.ToString());
                }

                word.Clear();
                begun = false;
            }
            else
            {
                word.Append(c);
                begun = true;
            }
        }

        if (begun)
        {
            words.Add(word.ToString());
        }

        return quote is null ? words : throw new FormatException($"`{command}` has a {quote} that is not closed");
    }
}
