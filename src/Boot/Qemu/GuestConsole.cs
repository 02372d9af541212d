// The guest's first serial port. A pump reads it as fast as QEMU writes, whoever looks at the text or not: QEMU's serial port
// waits for a reader that is slow (hw/char/serial.c), and a guest that waits is a guest that runs differently. What nobody
// fetches is forgotten from the old end.
using System.Net.Sockets;
using System.Text;
using System.Threading.Channels;

namespace KTrace.Boot.Qemu;

/// <summary>A piece of console output: a line, or a part of one that has no end yet (a prompt).</summary>
/// <param name="Text">Decoded UTF-8 (U+FFFD for what is none) without the line end; it may hold any control character.</param>
/// <param name="EndsLine">False if the rest of the line comes with the next piece.</param>
/// <param name="Bytes">Exactly what the guest sent, line end included.</param>
public sealed record ConsolePiece(string Text, bool EndsLine, ReadOnlyMemory<byte> Bytes);

/// <summary>Reads and writes the guest's console.</summary>
public sealed class GuestConsole : IDisposable
{
    private const int LineLimit = 4096;
    private const int TailLimit = 64 << 10;
    private const int PieceLimit = 16384;
    private static readonly TimeSpan PartialAfter = TimeSpan.FromMilliseconds(100);

    // Some 270 bytes, each sent alone, fill the socket.
    private static readonly TimeSpan Settle = TimeSpan.FromMilliseconds(1);

    private readonly Socket socket;
    private readonly Channel<ConsolePiece> pieces;
    private readonly Lock gate = new();
    private readonly StringBuilder tail = new();
    private readonly List<(string Text, TaskCompletionSource<bool> Found)> waiting = [];
    private readonly Decoder decoder = Encoding.UTF8.GetDecoder();
    private readonly MemoryStream line = new();
    private string lastLine = "";
    private string partial = "";
    private bool ended;
    private long forgotten;

    internal GuestConsole(Socket socket)
    {
        this.socket = socket;
        pieces = Channel.CreateBounded<ConsolePiece>(
            new BoundedChannelOptions(PieceLimit) { FullMode = BoundedChannelFullMode.DropOldest, SingleWriter = true },
                dropped => Interlocked.Add(ref forgotten, dropped.Bytes.Length));
        Completed = PumpAsync();
    }

    /// <summary>The pieces in order, for one consumer. Completes when QEMU has ended and all has been read.</summary>
    public ChannelReader<ConsolePiece> Output => pieces.Reader;

    /// <summary>Ends when QEMU has closed the console and every piece is in <see cref="Output"/>. Never fails.</summary>
    public Task Completed { get; }

    /// <summary>Bytes that were dropped from <see cref="Output"/> because nobody fetched them.</summary>
    public long Forgotten => Interlocked.Read(ref forgotten);

    /// <summary>The last line that is not blank, finished or not.</summary>
    public string LastLine
    {
        get
        {
            lock (gate)
            {
                return string.IsNullOrWhiteSpace(partial) ? lastLine : partial;
            }
        }
    }

    /// <summary>The last text, at most 64 Ki characters.</summary>
    public string Tail
    {
        get
        {
            lock (gate)
            {
                return tail.ToString();
            }
        }
    }

    /// <summary>Waits until the text has been on the console (also if it is there already, in <see cref="Tail"/>). It may span
    /// pieces, not only a line.</summary>
    /// <returns>False if the console ended without it.</returns>
    public Task<bool> WaitForAsync(string text, CancellationToken cancellationToken = default)
    {
        var found = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (gate)
        {
            if (tail.ToString().Contains(text, StringComparison.Ordinal))
            {
                return Task.FromResult(true);
            }

            if (ended)
            {
                return Task.FromResult(false);
            }

            waiting.Add((text, found));
        }

        return found.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Types text into the guest.</summary>
    /// <exception cref="BootException">The console is closed.</exception>
    public async Task WriteAsync(string text, CancellationToken cancellationToken = default)
    {
        try
        {
            // A blocking write: see BurstReader.
            var bytes = Encoding.UTF8.GetBytes(text);
            await Task.Run(() => socket.Send(bytes), cancellationToken).WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw new BootException("the guest's console is closed", inner: e);
        }
    }

    public void Dispose() => socket.Dispose();

    private async Task PumpAsync()
    {
        await BurstReader.RunAsync(socket, Settle, PartialAfter, Take, () => Flush(endsLine: false)).ConfigureAwait(false);

        // QEMU is gone: what came before counts.
        Flush(endsLine: false);
        lock (gate)
        {
            ended = true;
            waiting.ForEach(wait => wait.Found.TrySetResult(false));
            waiting.Clear();
        }

        pieces.Writer.Complete();
    }

    private void Take(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var end = bytes.IndexOf((byte)'\n');
            var part = end < 0 ? bytes : bytes[..(end + 1)];
            part = part[..Math.Min(part.Length, LineLimit - (int)line.Length)];
            line.Write(part);
            bytes = bytes[part.Length..];
            if (part[^1] == '\n')
            {
                Flush(endsLine: true);
            }
            else if (line.Length == LineLimit)
            {
                Flush(endsLine: false);
            }
        }
    }

    private void Flush(bool endsLine)
    {
        if (line.Length == 0)
        {
            return;
        }

        var bytes = line.ToArray();
        line.SetLength(0);
        // The decoder keeps a character that is cut at the end of a piece; a line's end completes or replaces it.
        var characters = new char[decoder.GetCharCount(bytes, endsLine)];
        var text = new string(characters, 0, decoder.GetChars(bytes, characters, endsLine));
        var content = endsLine ? text.TrimEnd('\n').TrimEnd('\r') : text;
        lock (gate)
        {
            tail.Append(text);
            if (tail.Length > TailLimit * 2)
            {
                tail.Remove(0, tail.Length - TailLimit);
            }

            partial += content;
            partial = partial.Length > LineLimit ? partial[^LineLimit..] : partial;
            if (endsLine)
            {
                lastLine = string.IsNullOrWhiteSpace(partial) ? lastLine : partial;
                partial = "";
            }

            FindWaiting(text.Length);
        }

        pieces.Writer.TryWrite(new ConsolePiece(content, endsLine, bytes));
    }

    private void FindWaiting(int added)
    {
        for (var i = waiting.Count - 1; i >= 0; i--)
        {
            var (text, found) = waiting[i];
            var length = Math.Min(tail.Length, added + text.Length);
            if (tail.ToString(tail.Length - length, length).Contains(text, StringComparison.Ordinal))
            {
                waiting.RemoveAt(i);
                found.TrySetResult(true);
            }
        }
    }
}
