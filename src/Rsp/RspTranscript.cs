// A transcript is text, one line a packet, so that a session can be read, kept in git and replayed as a stub:
//   # ktrace rsp transcript 1
//   > qSupported:multiprocess+          client → stub, payload with escapes undone by nobody: as it went out
//   < PacketSize=1000;…                 stub → client, payload after runs and escapes were undone
//   ! interrupt                         client → stub, a bare 0x03
//   % Stop:T05…                         stub → client, a notification
// Bytes outside printable ASCII and the backslash are \xNN. Acknowledgements are left out: they are the connection's business.
namespace KTrace.Rsp;

public enum TranscriptEntryKind
{
    Request,
    Reply,
    Interrupt,
    Notification,
}

/// <param name="Payload">Empty for an interrupt.</param>
public sealed record TranscriptEntry(TranscriptEntryKind Kind, ReadOnlyMemory<byte> Payload);

/// <summary>Writes what goes over a connection as text lines; and reads such text back. Safe for concurrent use.</summary>
public sealed class RspTranscript(TextWriter writer)
{
    private const string Header = "# ktrace rsp transcript 1";

    private readonly Lock _lock = new();
    private bool _begun;

    /// <summary>Reads a transcript back. Empty lines and lines that begin with `#` are comments.</summary>
    /// <exception cref="FormatException">A line is of another form; the message names it.</exception>
    public static IEnumerable<TranscriptEntry> Read(TextReader reader)
    {
        for (var number = 1; reader.ReadLine() is { } line; number++)
        {
            if (line.Length == 0 || line[0] == '#')
            {
                continue;
            }

            if (line == "! interrupt")
            {
                yield return new TranscriptEntry(TranscriptEntryKind.Interrupt, default);
                continue;
            }

            TranscriptEntryKind? kind = line[0] switch
            {
                '>' => TranscriptEntryKind.Request,
                '<' => TranscriptEntryKind.Reply,
                '%' => TranscriptEntryKind.Notification,
                _ => null,
            };
            if (kind is null || line.Length < 2 || line[1] != ' ' || !PacketText.TryUnescape(line.AsSpan(2), out var payload))
            {
                throw new FormatException($"line {number} of the transcript is of no known form");
            }

            yield return new TranscriptEntry(kind.Value, payload);
        }
    }

    internal void Request(ReadOnlySpan<byte> payload) => Line("> ", PacketText.Escape(payload));

    internal void Reply(ReadOnlySpan<byte> payload) => Line("< ", PacketText.Escape(payload));

    internal void Notification(ReadOnlySpan<byte> payload) => Line("% ", PacketText.Escape(payload));

    internal void Interrupt() => Line("! ", "interrupt");

    private void Line(string mark, string text)
    {
        lock (_lock)
        {
            if (!_begun)
            {
                writer.WriteLine(Header);
                _begun = true;
            }

            writer.Write(mark);
            writer.WriteLine(text);
        }
    }
}
