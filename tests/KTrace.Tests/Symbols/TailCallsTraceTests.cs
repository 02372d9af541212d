using KTrace.Symbols;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Tracing;
using KTrace.Tracing;

namespace KTrace.Tests.Symbols;

/// <summary>Tail calls in a trace: a mark on the frame, an address of their own, and no stack frame.</summary>
public sealed class TailCallsTraceTests : IDisposable
{
    private static readonly TraceFrame Inner = new("leaf", 4, null, "a.c", 1, false, UnwindRule.Registers);
    private static readonly TraceFrame Inlined = new("inlined", 2, null, "a.c", 2, true);
    private static readonly TraceFrame Jumped = new("jumped", 9, null, "a.c", 3, false, null, IsTailCall: true);
    private static readonly TraceFrame Outer = new("outer", 7, null, "a.c", 4, false, UnwindRule.Cfi);

    private readonly string _folder = Directory.CreateTempSubdirectory("ktrace-tail-calls-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Pcs_are_those_of_stack_frames_and_tail_pcs_those_behind_the_jumps()
    {
        var hit = Hit([0x1004, 0x3007], [0x2009]);

        Assert.Equal((2, 1), (hit.Path.PhysicalCount, hit.Path.TailCallCount));
        Assert.Equal(
            [(Inner, 0x1004), (Inlined, 0x2009), (Jumped, null), (Outer, 0x3007)],
            hit.FramesWithAddresses().Select(entry => (entry.Frame, (int?)entry.Address)));
    }

    [Fact]
    public void A_trace_gives_back_what_was_written()
    {
        var hit = Hit([0x1004, 0x3007], [0x2009]);
        var read = Trace.Load(Write(hit), keepRegisters: true).Hits.Single();

        Assert.Equal(hit.Path, read.Path);
        Assert.Equal<ulong>(hit.Pcs, read.Pcs);
        Assert.Equal<ulong>(hit.TailPcs, read.TailPcs);
        Assert.Equal([false, false, true, false], read.Path.Frames.Select(frame => frame.IsTailCall));
    }

    [Fact]
    public void Addresses_that_do_not_fit_the_path_are_refused()
    {
        Assert.Throws<ArgumentException>(() => Write(Hit([0x1004, 0x3007], [0x2009, 0x2010])));
        var path = Write(Hit([0x1004, 0x3007], [0x2009]));
        File.WriteAllText(path, File.ReadAllText(path).Replace("\"tail_pcs\":[", "\"tail_pcs\":[\"0x1\",", StringComparison.Ordinal));

        Assert.Contains("tail_pcs", Assert.Throws<MalformedFileException>(() => Trace.Load(path, keepRegisters: true)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_function_that_jumped_is_the_same_step_of_the_path_as_one_that_called()
    {
        var called = new CallPath([Inner, Inlined, Jumped with { IsTailCall = false }, Outer]);

        Assert.True(PathDiff.Compare(new CallPath([Inner, Inlined, Jumped, Outer]), called).IsEqual);
        Assert.NotEqual(new CallPath([Inner, Inlined, Jumped, Outer]), called);
    }

    private static TraceRecord.Hit Hit(ulong[] pcs, ulong[] tailPcs) => new()
    {
        Sequence = 1,
        Tracepoint = 1,
        Path = new CallPath([Inner, Inlined, Jumped, Outer]),
        Pcs = [.. pcs],
        TailPcs = [.. tailPcs],
        PathEnd = new TraceEnd(TraceEndReason.KernelThread),
    };

    private string Write(TraceRecord.Hit hit)
    {
        var path = Path.Combine(_folder, "a.ktrace");
        using var writer = new TraceWriter(path);
        writer.Write(GdbReference.Header);
        writer.Write(hit);
        writer.Write(new TraceRecord.End(1, "done", 1));
        return path;
    }
}
