// QMP, QEMU's control protocol: one JSON object a line (docs/interop/qmp-spec). The server greets, the client sends
// qmp_capabilities, then commands; events come in between. Used to know that QEMU is ready, why it shut down, and to start a
// guest without a debugger.
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace KTrace.Boot.Qemu;

/// <summary>A QMP connection to a QEMU that ktrace started.</summary>
internal sealed class QmpConnection : IDisposable
{
    private const int LineLimit = 4 << 20;

    private readonly Socket socket;
    private readonly SemaphoreSlim turn = new(1, 1);
    private TaskCompletionSource<JsonElement>? answer;
    private string? closed;

    public QmpConnection(Socket socket)
    {
        this.socket = socket;
        Completed = Task.Run(ReadAsync);
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
            await socket.SendAsync(new ArraySegment<byte>([.. bytes, (byte)'\n']), SocketFlags.None).ConfigureAwait(false);
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
        var reason = "end of stream";
        try
        {
            using var lines = new StreamReader(new NetworkStream(socket, ownsSocket: false), Encoding.UTF8);
            var line = new StringBuilder();
            var buffer = new char[4096];
            int read;
            while ((read = await lines.ReadAsync(buffer.AsMemory()).ConfigureAwait(false)) > 0)
            {
                foreach (var character in buffer.AsSpan(0, read))
                {
                    if (character == '\n')
                    {
                        Take(line.ToString());
                        line.Clear();
                    }
                    else if (line.Length < LineLimit)
                    {
                        line.Append(character);
                    }
                }
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or JsonException
            or InvalidOperationException)
        {
            reason = e.Message;
        }

        Volatile.Write(ref closed, reason);
        Volatile.Read(ref answer)?.TrySetException(new BootException($"QEMU has closed its control connection ({reason})"));
    }

    private void Take(string line)
    {
        if (string.IsNullOrWhiteSpace(line))
        {
            return;
        }

        using var document = JsonDocument.Parse(line);
        var root = document.RootElement.Clone();
        if (root.TryGetProperty("QMP", out var greeting))
        {
            var version = greeting.GetProperty("version").GetProperty("qemu");
            Version = $"{version.GetProperty("major")}.{version.GetProperty("minor")}.{version.GetProperty("micro")}";
        }
        else if (root.TryGetProperty("event", out var name))
        {
            if (name.GetString() == "SHUTDOWN" && root.TryGetProperty("data", out var data)
                && data.TryGetProperty("reason", out var reason))
            {
                ShutdownReason = reason.GetString();
            }
        }
        else
        {
            Volatile.Read(ref answer)?.TrySetResult(root);
        }
    }
}
