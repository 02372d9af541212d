using System.Threading.Channels;

namespace KTrace.Tui.App;

/// <summary>
/// One channel as seen by the loop's own thread: takes what is there, and rings a bell when something comes. The bell is rung by the thread that writes, where
/// the channel allows it: a thread pool that is busy loading symbols does not hold a key back.
/// </summary>
internal sealed class EventSource<T>(ChannelReader<T> reader, EventWaitHandle bell)
{
    private Task<bool>? _waiting;

    /// <summary>Completed and empty.</summary>
    public bool IsOver { get; private set; }

    /// <summary>Something is there to be taken.</summary>
    public bool HasMore => reader.TryPeek(out _);

    /// <summary>Takes the next one.</summary>
    public bool TryTake(out T item) => reader.TryRead(out item!);

    /// <summary>Makes the bell ring as soon as there is something to take, or the source is over. At once where it is so already.</summary>
    public void RingForNext()
    {
        if (IsOver || _waiting is { IsCompleted: false })
        {
            return;
        }

        if (_waiting is { IsCompletedSuccessfully: true, Result: false } or { IsFaulted: true } or { IsCanceled: true })
        {
            // A source that failed has nothing more to say; its owner says why by other ways.
            IsOver = true;
            _ = _waiting.Exception;
            bell.Set();
            return;
        }

        _waiting = reader.WaitToReadAsync().AsTask();
        _ = _waiting.ContinueWith(_ => bell.Set(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }
}
