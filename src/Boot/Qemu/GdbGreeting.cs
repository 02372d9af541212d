// The one packet of the remote protocol that this room sends: qSupported (GDB manual, "General Query Packets"), to see that a
// stub answers and what it offers. The Rsp room has the protocol.
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace KTrace.Boot.Qemu;

/// <summary>Asks a stub what it can do.</summary>
internal static class GdbGreeting
{
    private const int ReplyLimit = 4096;

    /// <summary>Its packet size and whether it can step backwards, in words; null if it does not answer within a few
    /// seconds.</summary>
    public static async Task<string?> AskAsync(string socketPath, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(5));
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), patience.Token).ConfigureAwait(false);
            const string packet = "qSupported";
            var sum = packet.Sum(character => character) & 0xff;
            await socket.SendAsync(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"${packet}#{sum:x2}")),
                patience.Token).ConfigureAwait(false);
            var reply = new byte[ReplyLimit];
            var length = 0;
            while (length < reply.Length)
            {
                var read = await socket.ReceiveAsync(reply.AsMemory(length), patience.Token).ConfigureAwait(false);
                length += read;
                var text = Encoding.ASCII.GetString(reply, 0, length);
                var end = text.IndexOf('#', StringComparison.Ordinal);
                if (read == 0 || (end >= 0 && end + 2 < length))
                {
                    return text.Contains("PacketSize=", StringComparison.Ordinal) ? Describe(text) : null;
                }
            }
        }
        catch (Exception e) when (e is SocketException
            || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            // No answer.
        }

        return null;
    }

    private static string Describe(string reply)
    {
        var start = reply.IndexOf("PacketSize=", StringComparison.Ordinal) + "PacketSize=".Length;
        var digits = new string([.. reply[start..].TakeWhile(char.IsAsciiHexDigit)]);
        var size = int.TryParse(digits, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var value) ? value : 0;
        return $"packets of {size} bytes" + (reply.Contains("ReverseStep+", StringComparison.Ordinal) ? ", steps backwards" : "");
    }
}
