// The measurements that no command of ktrace makes alone: benchmarks/run starts them, docs/benchmarks.md explains them.
//
//   ktrace-benchmarks core CAPTURE KERNEL OUT      a captured stop as a core file for gdb
//   ktrace-benchmarks backtrace CAPTURE KERNEL     one backtrace with arguments, from a cold start
//   ktrace-benchmarks warm CAPTURE KERNEL          the same over and over: "frames names arguments ns-names ns-arguments bytes-names bytes-arguments retained ns-text bytes-text"
//   ktrace-benchmarks steps SOCKET N               single steps per second of the machine behind a stub
//   ktrace-benchmarks memory KERNEL                the memory of a booted guest, mapped and through the stub: "what ns-stub ns-mapped" lines
//   ktrace-benchmarks screen TRACE MB/S N          the terminal UI: N keys to their frames at 200x50, while the console writes so much
//
// CAPTURE is a stop of the tests' fixtures, KERNEL the unpacked root of its kernel.
using System.Diagnostics;
using System.Globalization;
using KTrace.Benchmarks;
using KTrace.Rsp;

switch (args)
{
    case ["core", var capture, var kernel, var output]:
        new CapturedStop(capture, kernel).WriteCore(output);
        return 0;
    case ["backtrace", var capture, var kernel]:
        new CapturedStop(capture, kernel).Print(Console.Out);
        return 0;
    case ["warm", var capture, var kernel]:
        Warm(new CapturedStop(capture, kernel));
        return 0;
    case ["memory", var kernel]:
        await MemoryReads.RunAsync(kernel);
        return 0;
    case ["screen", var trace, var megabytes, var keys]:
        await ScreenLatency.RunAsync(trace, int.Parse(megabytes, CultureInfo.InvariantCulture), int.Parse(keys, CultureInfo.InvariantCulture));
        return 0;
    case ["steps", var socket, var count]:
        await StepAsync(socket, int.Parse(count, CultureInfo.InvariantCulture));
        return 0;
    default:
        Console.Error.WriteLine("usage: ktrace-benchmarks steps SOCKET N | core CAPTURE KERNEL OUT | backtrace CAPTURE KERNEL | warm CAPTURE KERNEL | memory KERNEL | screen TRACE MB/S N");
        return 2;
}

static async Task StepAsync(string socket, int count)
{
    await using var client = await RspClient.ConnectAsync(RspEndpoint.Parse("unix:" + socket));
    var started = Stopwatch.GetTimestamp();
    for (var i = 0; i < count; i++)
    {
        await client.StepAsync();
        await client.WaitForStopAsync();
    }

    Console.WriteLine((count / Stopwatch.GetElapsedTime(started).TotalSeconds).ToString("F1", CultureInfo.InvariantCulture));
}

static void Warm(CapturedStop stop)
{
    var names = stop.Name(out var stack);
    var arguments = stop.NameWithArguments();
    var (named, bytesOfNames, kept) = Measure(() => stop.Name(out _), 200);
    var (argued, bytesOfArguments, keptByArguments) = Measure(() => stop.NameWithArguments(), 20);
    var (printed, bytesOfText, keptByText) = Measure(() => stop.NameAndPrint(), 20);
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"{stack.Frames.Length} {names} {arguments} {named:F0} {argued:F0} {bytesOfNames} {bytesOfArguments} {Math.Max(Math.Max(kept, keptByArguments), keptByText)} {printed:F0} {bytesOfText}"));
}

// Nanoseconds and bytes allocated per repetition (median of rounds), and bytes that stay behind over all rounds: what grows with the number of hits.
static (double Nanoseconds, long Bytes, long Retained) Measure(Action work, int repetitions)
{
    const int WarmUp = 30, Rounds = 101;
    var nanoseconds = new double[Rounds];
    var bytes = new long[Rounds];
    for (var round = 0; round < WarmUp; round++)
    {
        Repeat(work, repetitions);
    }

    var before = GC.GetTotalMemory(forceFullCollection: true);
    for (var round = 0; round < Rounds; round++)
    {
        var allocated = GC.GetAllocatedBytesForCurrentThread();
        var started = Stopwatch.GetTimestamp();
        Repeat(work, repetitions);
        nanoseconds[round] = Stopwatch.GetElapsedTime(started).TotalNanoseconds / repetitions;
        bytes[round] = (GC.GetAllocatedBytesForCurrentThread() - allocated) / repetitions;
    }

    var retained = GC.GetTotalMemory(forceFullCollection: true) - before;
    Array.Sort(nanoseconds);
    Array.Sort(bytes);
    return (nanoseconds[Rounds / 2], bytes[Rounds / 2], retained);
}

static void Repeat(Action work, int times)
{
    for (var i = 0; i < times; i++)
    {
        work();
    }
}
