using KTrace.Symbols.Unwind;
using KTrace.Tests.Boot;
using KTrace.Tracing;
using KTrace.Tui.Views;

namespace KTrace.Tests.Tui;

/// <summary>Calls nested in calls, out of hits and returns.</summary>
public sealed class FunctionGraphViewTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private long _sequence;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Calls_nest_by_task_interrupts_stay_apart_and_durations_have_the_unit_that_is_known()
    {
        Write(writer =>
        {
            var outer = Enter(writer, 1, 1, 1_000);
            var leaf = Enter(writer, 2, 1, 2_000);
            Leave(writer, leaf, 2_500, 500, -22);

            // Another task on another CPU, meanwhile.
            var other = Enter(writer, 1, 2, 3_000, cpu: 1);
            Leave(writer, other, 2_003_000, 2_000_000, 0);
            var inner = Enter(writer, 1, 1, 4_000);
            Enter(writer, 3, 1, 4_100);
            Leave(writer, inner, 3_000_004_000, 3_000_000_000, 0);
            Leave(writer, outer, 3_000_005_000, 3_000_004_000, 0);
        });

        Assert.Equal(
            """
                HIT  CPU    DURATION  CALLS
                       0              ------ a-1 ------
                  1    0              outer() {
                  2    0    0.500 us    leaf(); = -22
                       1              ------ b-2 ------
                  3    1    2.000 ms  outer(); = 0
                  4    0                outer() {
                  5    0                  plain();
                       0    3.000 s     } = 0 /* outer */
                       0    3.000 s   } = 0 /* outer */
            """.Split('\n').Select(l => l.TrimEnd()),
            Lines());
    }

    [Fact]
    public void Without_a_rate_durations_are_ticks_and_say_so()
    {
        Write(writer => Leave(writer, Enter(writer, 2, 1, 1_000), 13_345, 12_345, 0), rate: false);
        Assert.Contains(Lines(), l => l.Contains("12.3 k  leaf(); = 0", StringComparison.Ordinal));
        Assert.Equal("durations are ticks of the CPU's time-stamp counter", Lines()[^1]);
    }

    private string File => Path.Combine(_folder.Path, "graph.ktrace");

    private string[] Lines()
    {
        using var reader = TraceReader.Open(File, keepRegisters: false);
        var graph = FunctionGraph.Read(reader, HitFilter.All);
        return [.. new FunctionGraphView(graph).Lines(null).Select(l => l.ToString())];
    }

    private void Write(Action<TraceWriter> records, bool rate = true)
    {
        using var writer = new TraceWriter(File);
        writer.Write(new TraceRecord.Header
        {
            Format = TraceFormat.Compact, Tool = "test", Arch = "x86-64", HasContexts = true,
            Tracepoints = [new TraceTracepoint(1, "outer return", "outer"), new TraceTracepoint(2, "leaf return", "leaf"), new TraceTracepoint(3, "plain", "plain")],
        });
        if (rate)
        {
            writer.Write(new TraceRecord.ClockRate(1e9));
        }

        var end = new TraceEnd(TraceEndReason.KernelThread);
        writer.Compact.Task(1, new TraceTask(1, "a"), end);
        writer.Compact.Task(2, new TraceTask(2, "b"), end);
        writer.Compact.Result(1, "int", ValueForm.Signed);
        string[] names = ["outer", "leaf", "plain"];
        for (var i = 0; i < names.Length; i++)
        {
            writer.Compact.Stack(new TraceStack(i + 1, 0, 0x1000ul * (ulong)(i + 1), [new TraceFrame(names[i], 0, null, "a.c", 1, false, UnwindRule.Registers)], []) { Tracepoint = i + 1, Context = TraceContext.Plain });
        }

        records(writer);
        writer.Write(new TraceRecord.End(_sequence, "done", 1));
    }

    private long Enter(TraceWriter writer, int function, int task, ulong ticks, int cpu = 0)
    {
        writer.Compact.Hit(new CompactHit { Sequence = ++_sequence, Cpu = cpu, Task = task, Stack = function, Ticks = ticks });
        return _sequence;
    }

    private static void Leave(TraceWriter writer, long hit, ulong ticks, ulong duration, int result)
    {
        var value = new CompactValues();
        value.Add(unchecked((ulong)(long)result), true);
        writer.Compact.Return(new CompactReturn { Hit = hit, Ticks = ticks, Duration = duration, Result = 1, Value = value.Written });
    }
}
