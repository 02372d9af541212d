using System.Buffers.Binary;
using System.Diagnostics;
using KTrace.Debugger;
using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Tests.Cli;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Faults;

/// <summary>A guest that writes over the ring and its counters, at any time: what is there is hostile input.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class ScribbledRingTests(ITestOutputHelper output)
{
    private const int Page = 2 << 20;

    private static readonly string[] Places = ["vfs_*", "kmem_cache_*", "d_*", "@irq"];

    [Theory]
    [InlineData(Victim.Records)]
    [InlineData(Victim.Head)]
    [InlineData(Victim.Counters)]
    public async Task Garbage_in_the_ring_is_an_error_or_is_counted_and_the_hits_before_it_stay(Victim victim)
    {
        await using var guest = await RecordedGuest.BootAsync(OracleKernels.Open("stock"), "ls -lR /sys > /dev/null", cpus: 2);
        using var stop = new CancellationTokenSource();
        var scribbling = Task.Run(() => Scribble(guest.Target.Memory.Ram!, victim, stop.Token));
        TargetException? error = null;
        try
        {
            await guest.RecordAsync(Places, CaptureOptions.Default);
        }
        catch (TargetException e)
        {
            error = e;
        }
        finally
        {
            await stop.CancelAsync();
        }

        var written = await scribbling;
        var trace = guest.Trace;
        output.WriteLine($"{victim}: {written} times; {error?.Message ?? "no error"}; {trace.HitCount} hits, {trace.NonStop!.Broken} broken; {trace.End!.Reason}");
        Assert.True(written > 0);
        Assert.True(trace.HitCount > 0);
        if (victim == Victim.Counters)
        {
            // Nobody goes by them.
            Assert.Null(error);
        }
        else
        {
            Assert.True(error is not null || trace.NonStop.Broken > 0, "nobody noticed");
        }

        if (error is not null)
        {
            Assert.Contains("the guest has written over the ring", error.Message, StringComparison.Ordinal);
            Assert.StartsWith("error: the guest has written over the ring", trace.End.Reason, StringComparison.Ordinal);
        }
    }

    /// <summary>What is written over.</summary>
    public enum Victim
    {
        Records,
        Head,
        Counters,
    }

    /// <summary>Waits until there is a ring, then writes random words, some bytes every millisecond.</summary>
    private static int Scribble(MappedRam ram, Victim victim, CancellationToken cancellationToken)
    {
        var random = new Random(5);
        ulong? code = null;
        for (; code is null && !cancellationToken.IsCancellationRequested; Thread.Sleep(50))
        {
            code = CodePage(ram);
        }

        var word = new byte[8];
        var since = Stopwatch.StartNew();
        var written = 0;
        for (; !cancellationToken.IsCancellationRequested; Thread.Sleep(1))
        {
            var control = code!.Value + Page;
            if (since.Elapsed < TimeSpan.FromSeconds(2))
            {
                continue;
            }

            switch (victim)
            {
                case Victim.Records:
                    // Behind the tail is what the reader comes to next.
                    Assert.True(ram.TryRead(control + ControlBlock.Tail, word));
                    var place = control + Page + ((BinaryPrimitives.ReadUInt64LittleEndian(word) + (ulong)random.Next(0, 64)) % (16 << 20));
                    random.NextBytes(word);
                    written += ram.TryWrite(place, word) ? 1 : 0;
                    break;
                case Victim.Head when written == 0:
                    random.NextBytes(word);
                    written += ram.TryWrite(control + ControlBlock.Head, word) ? 1 : 0;
                    break;
                case Victim.Counters:
                    random.NextBytes(word);
                    written += ram.TryWrite(control + (ulong)(random.Next(2) == 0 ? ControlBlock.Dropped : ControlBlock.Waits), word) ? 1 : 0;
                    break;
            }
        }

        return written;
    }

    /// <summary>The large page that begins with a trampoline (pushf, cli) and ends with what fills the rest.</summary>
    private static ulong? CodePage(MappedRam ram)
    {
        var start = new byte[2];
        var end = new byte[16];
        for (var page = 0UL; page < 512 << 20; page += Page)
        {
            if (ram.TryRead(page, start) && start is [0x9c, 0xfa] && ram.TryRead(page + Page - 16, end) && end.All(b => b == 0xcc))
            {
                return page;
            }
        }

        return null;
    }
}
