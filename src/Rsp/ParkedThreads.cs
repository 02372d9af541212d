// A long wait for a stub takes a thread of its own, and where the guest has to share its processor every second hit waits long. A thread that is made for one wait costs some 100 µs
// of CPU time, one that was parked a tenth of that.
namespace KTrace.Rsp;

/// <summary>Threads for work that blocks, kept for a while after it.</summary>
/// <param name="patience">How long a thread without work stays.</param>
internal sealed class ParkedThreads(TimeSpan patience)
{
    private readonly List<Parked> _parked = [];

    /// <summary>For all connections of the process.</summary>
    public static ParkedThreads Shared { get; } = new(TimeSpan.FromSeconds(5));

    /// <summary>How many threads wait for work.</summary>
    public int Count
    {
        get
        {
            lock (_parked)
            {
                return _parked.Count;
            }
        }
    }

    /// <summary>Runs work that blocks, away from the caller. Who awaits the task without a context goes on in the very thread: waking another would cost as much again.</summary>
    public Task RunAsync(Action work)
    {
        var job = new Job(work, new TaskCompletionSource());
        if (TryUnpark() is { } parked)
        {
            parked.Next = job;
            parked.Wakes.Set();
        }
        else
        {
            new Thread(() => Live(job)) { IsBackground = true, Name = "ktrace wait" }.UnsafeStart();
        }

        return job.Done.Task;
    }

    private Parked? TryUnpark()
    {
        lock (_parked)
        {
            var last = _parked.Count - 1;
            if (last < 0)
            {
                return null;
            }

            var parked = _parked[last];
            _parked.RemoveAt(last);
            return parked;
        }
    }

    private void Live(Job? job)
    {
        using var self = new Parked();
        for (; job is not null; job = Park(self))
        {
            job.Run();
        }
    }

    /// <returns>What to do next; null when nothing came for too long.</returns>
    private Job? Park(Parked self)
    {
        // A parked thread must not keep alive what it did last.
        self.Next = null;
        lock (_parked)
        {
            _parked.Add(self);
        }

        if (!self.Wakes.WaitOne(patience))
        {
            lock (_parked)
            {
                if (_parked.Remove(self))
                {
                    return null;
                }
            }

            // Taken at the last moment: it is being woken.
            self.Wakes.WaitOne();
        }

        return self.Next;
    }

    private sealed class Parked : IDisposable
    {
        public AutoResetEvent Wakes { get; } = new(false);

        public Job? Next { get; set; }

        public void Dispose() => Wakes.Dispose();
    }

    private sealed record Job(Action Work, TaskCompletionSource Done)
    {
        public void Run()
        {
            try
            {
                Work();
            }
            catch (OperationCanceledException e)
            {
                Done.SetCanceled(e.CancellationToken);
                return;
            }
            catch (Exception e)
            {
                Done.SetException(e);
                return;
            }

            Done.SetResult();
        }
    }
}
