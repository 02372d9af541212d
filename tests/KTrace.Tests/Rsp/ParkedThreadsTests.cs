using System.Collections.Concurrent;
using KTrace.Rsp;

namespace KTrace.Tests.Rsp;

public sealed class ParkedThreadsTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(5);

    [Fact]
    public async Task Work_that_follows_other_work_runs_on_the_thread_that_was_parked()
    {
        var threads = new ParkedThreads(s_long);
        var seen = new HashSet<int>();
        for (var i = 0; i < 20; i++)
        {
            await threads.RunAsync(() => seen.Add(Environment.CurrentManagedThreadId));
            await ParkedAsync(threads, 1);
        }

        Assert.Single(seen);
    }

    [Fact]
    public async Task Work_at_the_same_time_has_threads_of_its_own_and_what_follows_runs_on_them()
    {
        var threads = new ParkedThreads(s_long);
        using var together = new Barrier(3);
        using var awaited = new ManualResetEventSlim();
        var before = new ConcurrentDictionary<int, int>();
        var after = new ConcurrentBag<bool>();
        async Task OneAsync(int which)
        {
            await threads.RunAsync(() =>
            {
                before[which] = Environment.CurrentManagedThreadId;
                together.SignalAndWait();
                awaited.Wait();
            }).ConfigureAwait(false);
            after.Add(before[which] == Environment.CurrentManagedThreadId);
        }

        Task[] all = [OneAsync(0), OneAsync(1), OneAsync(2)];
        awaited.Set();
        await Task.WhenAll(all);
        Assert.Equal(3, before.Values.Distinct().Count());
        Assert.Equal([true, true, true], after);
        await ParkedAsync(threads, 3);
    }

    [Fact]
    public async Task Errors_and_cancelling_reach_who_waits_and_the_thread_is_used_again()
    {
        var threads = new ParkedThreads(s_long);
        var thread = 0;
        await Assert.ThrowsAsync<IOException>(() => threads.RunAsync(() =>
        {
            thread = Environment.CurrentManagedThreadId;
            throw new IOException("lost");
        }));
        await ParkedAsync(threads, 1);
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        var task = threads.RunAsync(() => cancelled.Token.ThrowIfCancellationRequested());
        await Assert.ThrowsAsync<TaskCanceledException>(() => task);
        Assert.True(task.IsCanceled);
        await ParkedAsync(threads, 1);
        await threads.RunAsync(() => Assert.Equal(thread, Environment.CurrentManagedThreadId));
    }

    [Fact]
    public async Task A_thread_without_work_leaves()
    {
        var threads = new ParkedThreads(TimeSpan.FromMilliseconds(1));
        Thread? first = null;
        await threads.RunAsync(() => first = Thread.CurrentThread);
        Assert.True(first!.Join(s_long));
        Assert.Equal(0, threads.Count);
        await threads.RunAsync(() => Assert.NotSame(first, Thread.CurrentThread));
    }

    private static async Task ParkedAsync(ParkedThreads threads, int count)
    {
        while (threads.Count < count)
        {
            await Task.Delay(1);
        }
    }
}
