// A transcript is text, one line a packet, so that a session can be read, kept in git and replayed as a stub:
//   # ktrace rsp transcript 1
//   > qSupported:multiprocess+          client → stub, payload with escapes undone by nobody: as it went out
//   < PacketSize=1000;…                 stub → client, payload after runs and escapes were undone
//   ! interrupt                         client → stub, a bare 0x03
//   % Stop:T05…                         stub → client, a notification
//   # ended: the stub closed …          why the connection ended; a comment to readers, as any line that begins with #
// Bytes outside printable ASCII and the backslash are \xNN. Acknowledgements are left out: they are the connection's business.
//
// A transcript must not harm the session that it is of: one that cannot be written any more (a full disk) ends there and says why in Failure.
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

/// <summary>
/// Writes what goes over a connection as text lines; and reads such text back. Safe for concurrent use. It is flushed every second while packets come, when the
/// connection ends, and on disposing.
/// </summary>
/// <param name="writer">Takes the lines; disposed with the transcript.</param>
/// <param name="maxCharacters">After so many the transcript ends with a line that says so.</param>
public sealed class RspTranscript(TextWriter writer, long maxCharacters = long.MaxValue) : IDisposable
{
    private const string Header = "# ktrace rsp transcript 1";
    private const int FlushMilliseconds = 1000;

    private readonly Lock _lock = new();
    private long _written;
    private long _flushed = Environment.TickCount64;

    /// <summary>Why the transcript is not complete, or null: the limit was reached, or the writer failed.</summary>
    public string? Failure { get; private set; }

    /// <summary>Writes to a file, which is made anew.</summary>
    /// <param name="maxCharacters">The file ends there; 1 GiB unless told.</param>
    /// <exception cref="IOException">It cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be made.</exception>
    public static RspTranscript Create(string path, long maxCharacters = 1L << 30) => new(new StreamWriter(path), maxCharacters);

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

    /// <summary>The connection broke or was closed.</summary>
    internal void Ended(string reason) => Line("# ended: ", reason.ReplaceLineEndings(" "), flush: true);

    /// <summary>Writes through what is buffered.</summary>
    public void Flush()
    {
        lock (_lock)
        {
            Try(writer.Flush);
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            Try(writer.Dispose);
            Failure ??= "the transcript was closed";
        }
    }

    private void Line(string mark, string text, bool flush = false)
    {
        lock (_lock)
        {
            if (Failure is not null)
            {
                return;
            }

            Try(() =>
            {
                if (_written == 0)
                {
                    writer.WriteLine(Header);
                    _written += Header.Length + 1;
                }

                _written += mark.Length + text.Length + 1;
                if (_written > maxCharacters)
                {
                    Failure = $"the transcript was cut after {maxCharacters} characters";
                    writer.WriteLine($"# cut: {Failure}");
                    writer.Flush();
                    return;
                }

                writer.Write(mark);
                writer.WriteLine(text);
                var now = Environment.TickCount64;
                if (flush || now - _flushed >= FlushMilliseconds)
                {
                    writer.Flush();
                    _flushed = now;
                }
            });
        }
    }

    private void Try(Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            Failure ??= $"the transcript could not be written: {e.Message}";
        }
    }
}
