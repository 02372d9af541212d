// QMP, QEMU's control protocol: one JSON object a line (docs/interop/qmp-spec). The server greets, the client sends
// qmp_capabilities, then commands; events come in between. Used to know that QEMU is ready, why it shut down, and to start a
// guest without a debugger.
using System.Net.Sockets;
using System.Text.Json;

namespace KTrace.Boot.Qemu;

/// <summary>A QMP connection to a QEMU that ktrace started.</summary>
internal sealed class QmpConnection : IDisposable
{
    private const int LineLimit = 4 << 20;

    // Two events at each of a thousand stops a second; some 270 of them fill the socket, and what does not fit QEMU keeps.
    private static readonly TimeSpan Settle = TimeSpan.FromMilliseconds(10);

    private readonly Socket socket;
    private readonly MemoryStream line = new();
    private readonly SemaphoreSlim turn = new(1, 1);
    private TaskCompletionSource<JsonElement>? answer;
    private string? closed;

    public QmpConnection(Socket socket)
    {
        this.socket = socket;
        Completed = ReadAsync();
    }

    /// <summary>Ends when QEMU has closed the connection. Never fails.</summary>
    public Task Completed { get; }

    /// <summary>QEMU's version as it greets, such as 7.2.22.</summary>
    public string? Version { get; private set; }

    /// <summary>The reason of the SHUTDOWN event (ShutdownCause: guest-shutdown, guest-reset, guest-panic, host-qmp-quit …),
    /// once there was one.</summary>
    public string? ShutdownReason { get; private set; }

    /// <exception cref="BootException">QEMU refuses the command or has gone.</exception>
    public async Task<JsonElement> ExecuteAsync(string command, CancellationToken cancellationToken)
    {
        await turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            var waiting = new TaskCompletionSource<JsonElement>(TaskCreationOptions.RunContinuationsAsynchronously);
            Volatile.Write(ref answer, waiting);
            if (Volatile.Read(ref closed) is { } reason)
            {
                throw new BootException($"QEMU has closed its control connection ({reason})");
            }

            var bytes = JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, string> { ["execute"] = command });
            socket.Send([.. bytes, (byte)'\n']);
            var reply = await waiting.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
            if (reply.TryGetProperty("error", out var error))
            {
                throw new BootException(
                    $"QEMU refuses {command}: {(error.TryGetProperty("desc", out var text) ? text.ToString() : error.ToString())}");
            }

            return reply.GetProperty("return");
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw new BootException("QEMU has closed its control connection", inner: e);
        }
        finally
        {
            turn.Release();
        }
    }

    /// <summary>The file of the guest's RAM, which QEMU has made by its first answer; null when it is not found.</summary>
    public string? FindRamFile() => RamBackend.FindFile(socket);

    public void Dispose() => socket.Dispose();

    private async Task ReadAsync()
    {
        var reason = await BurstReader.RunAsync(socket, Settle, Timeout.InfiniteTimeSpan, Take).ConfigureAwait(false);
        Volatile.Write(ref closed, reason);
        Volatile.Read(ref answer)?.TrySetException(new BootException($"QEMU has closed its control connection ({reason})"));
    }

    private void Take(ReadOnlySpan<byte> bytes)
    {
        for (var end = bytes.IndexOf((byte)'\n'); end >= 0; end = bytes.IndexOf((byte)'\n'))
        {
            Append(bytes[..end]);
            TakeLine(new ReadOnlyMemory<byte>(line.GetBuffer(), 0, (int)line.Length));
            line.SetLength(0);
            bytes = bytes[(end + 1)..];
        }

        Append(bytes);
    }

    private void Append(ReadOnlySpan<byte> bytes) => line.Write(bytes[..Math.Min(bytes.Length, LineLimit - (int)line.Length)]);

    private void TakeLine(ReadOnlyMemory<byte> text)
    {
        // One of each at every stop of the debugger: not worth parsing.
        if (text.Span.IndexOf("\"event\": \"STOP\""u8) >= 0 || text.Span.IndexOf("\"event\": \"RESUME\""u8) >= 0)
        {
            return;
        }

        try
        {
            using var document = JsonDocument.Parse(text);
            Take(document.RootElement.Clone());
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            Volatile.Read(ref answer)?.TrySetException(new BootException($"QEMU's control connection says what is no answer: {e.Message}"));
        }
    }

    private void Take(JsonElement said)
    {
        if (said.TryGetProperty("QMP", out var greeting))
        {
            var version = greeting.GetProperty("version").GetProperty("qemu");
            Version = $"{version.GetProperty("major")}.{version.GetProperty("minor")}.{version.GetProperty("micro")}";
        }
        else if (said.TryGetProperty("event", out var name))
        {
            if (name.GetString() == "SHUTDOWN" && said.TryGetProperty("data", out var data) && data.TryGetProperty("reason", out var reason))
            {
                ShutdownReason = reason.GetString();
            }
        }
        else
        {
            Volatile.Read(ref answer)?.TrySetResult(said);
        }
    }
}
