using System.Threading.Channels;
using KTrace.Tracing;

namespace KTrace.Debugger.Recording;

/// <summary>
/// Writes the guest's console into the trace, on a task of its own: the recording's own task belongs to the stub, which has a hit every millisecond.
/// </summary>
/// <param name="console">Bytes as they come; completes when there will be no more.</param>
/// <param name="until">A text to watch for, or null.</param>
/// <param name="clock">The guest's clock as it was last seen.</param>
/// <param name="wake">Called when the text was seen, or when the trace could not be written.</param>
internal sealed class ConsoleRecording(ChannelReader<ReadOnlyMemory<byte>> console, TraceWriter writer, string? until, Func<TraceClock?> clock, Action wake)
{
    private readonly ConsoleMatcher? _until = until is null ? null : new ConsoleMatcher(until);
    private readonly CancellationTokenSource _stop = new();
    private Task _task = Task.CompletedTask;

    /// <summary>The text was on the console.</summary>
    public bool Seen { get; private set; }

    public void Start() => _task = Task.Run(PumpAsync);

    /// <summary>Writes what is there, and for a guest that has ended waits a little for what it said last; then no more is written.</summary>
    /// <exception cref="TraceWriteException">The trace could not be written, now or earlier.</exception>
    public async Task FinishAsync(TimeSpan patience)
    {
        await Task.WhenAny(_task, Task.Delay(patience));
        await _stop.CancelAsync();
        await _task;
        Drain();
    }

    private async Task PumpAsync()
    {
        try
        {
            while (await console.WaitToReadAsync(_stop.Token))
            {
                Drain();
            }
        }
        catch (OperationCanceledException)
        {
            // FinishAsync drains the rest.
        }
        catch (TraceWriteException)
        {
            wake();
            throw;
        }
    }

    private void Drain()
    {
        while (console.TryRead(out var bytes))
        {
            writer.WriteConsole(bytes.Span, clock());
            if (!Seen && _until?.Feed(bytes.Span) == true)
            {
                Seen = true;
                wake();
            }
        }
    }
}
