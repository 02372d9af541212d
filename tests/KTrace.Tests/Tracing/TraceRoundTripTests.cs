using System.Text;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;
using KTrace.Tracing.Export;

namespace KTrace.Tests.Tracing;

public class TraceRoundTripTests
{
    [Fact]
    public void Every_record_comes_back_as_it_was_written()
    {
        TraceRecord[] records = TraceSamples.EveryRecord();

        using TraceReader reader = TraceSamples.Reader(TraceSamples.Bytes(records));
        List<TraceRecord> read = [.. reader.ReadAll()];

        Assert.Equal(records.Length, read.Count);
        for (int i = 0; i < records.Length; i++)
        {
            AssertSame(records[i], read[i]);
        }

        Assert.Null(reader.Incomplete);
    }

    [Fact]
    public void What_was_read_is_written_as_the_same_bytes()
    {
        byte[] first = TraceSamples.Bytes(TraceSamples.EveryRecord());
        using TraceReader reader = TraceSamples.Reader(first);

        byte[] second = TraceSamples.Bytes(reader.ReadAll());

        Assert.Equal(Encoding.UTF8.GetString(first), Encoding.UTF8.GetString(second));
    }

    [Fact]
    public async Task Reading_asynchronously_gives_the_same_records()
    {
        byte[] bytes = TraceSamples.Bytes(GdbReference.Records());
        using TraceReader synchronous = TraceSamples.Reader(bytes);
        using TraceReader asynchronous = TraceReader.Open(new DripStream(bytes), "drip");
        var read = new List<TraceRecord>();
        await foreach (TraceRecord record in asynchronous.ReadAllAsync())
        {
            read.Add(record);
        }

        Assert.Equal(Encoding.UTF8.GetString(TraceSamples.Bytes(synchronous.ReadAll())), Encoding.UTF8.GetString(TraceSamples.Bytes(read)));
        Assert.NotNull(asynchronous.End);
    }

    [Fact]
    public void Frames_and_paths_are_written_once()
    {
        TraceRecord[] records =
        [
            TraceSamples.Header(new TraceTracepoint(1, "a", "a")),
            TraceSamples.Hit(1, 1, TraceSamples.Path("a", "b")),
            TraceSamples.Hit(2, 1, TraceSamples.Path("a", "b")),
            TraceSamples.Hit(3, 1, TraceSamples.Path("b", "a")),
        ];

        string[] types = [.. Encoding.UTF8.GetString(TraceSamples.Bytes(records)).TrimEnd().Split('\n').Select(line => line.Split('"')[3])];

        Assert.Equal(["header", "frame", "frame", "path", "hit", "hit", "path", "hit"], types);
    }

    [Fact]
    public void Arguments_that_come_again_are_written_once()
    {
        ArgumentList outer = new([new TraceArgument("dev", "struct device *", 1, "0x1")]);
        TraceRecord.Hit Hit(long sequence, ulong value) => TraceSamples.Hit(sequence, 1, TraceSamples.Path("a", "b", "c")) with
        {
            Arguments = [new ArgumentList([new TraceArgument("irq", "int", value, null)]), ArgumentList.Empty, new ArgumentList([.. outer])],
        };

        string text = Encoding.UTF8.GetString(TraceSamples.Bytes([TraceSamples.Header(new TraceTracepoint(1, "a", "a")), Hit(1, 5), Hit(2, 6), Hit(3, 5)]));

        string[] lines = text.TrimEnd().Split('\n');
        Assert.Equal(3, lines.Count(l => l.StartsWith("{\"type\":\"values\"", StringComparison.Ordinal)));
        Assert.Contains("\"values\":[1,0,2]", lines.First(l => l.Contains("\"seq\":1,", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Contains("\"values\":[3,0,2]", lines.First(l => l.Contains("\"seq\":2,", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Contains("\"values\":[1,0,2]", lines.First(l => l.Contains("\"seq\":3,", StringComparison.Ordinal)), StringComparison.Ordinal);
    }

    [Fact]
    public void Ids_of_arguments_begin_anew_when_the_table_is_full_and_every_hit_keeps_its_own()
    {
        const int Hits = (TraceFormat.MaxValues / 2) + 100;
        TraceRecord[] records =
        [
            TraceSamples.Header(new TraceTracepoint(1, "a", "a")),
            .. Enumerable.Range(1, Hits).Select(i => TraceSamples.Hit(i, 1, TraceSamples.Path("a", "b")) with
            {
                Arguments = [new ArgumentList([new TraceArgument("n", "int", (ulong)i, null)]), new ArgumentList([new TraceArgument("m", "int", (ulong)i << 32, null)])],
            }),
        ];
        byte[] bytes = TraceSamples.Bytes(records);

        using TraceReader reader = TraceSamples.Reader(bytes);
        Assert.All(reader.ReadAll().OfType<TraceRecord.Hit>(), hit =>
        {
            Assert.Equal((ulong)hit.Sequence, hit.ArgumentsOf(0)[0].Value);
            Assert.Equal((ulong)hit.Sequence << 32, hit.ArgumentsOf(1)[0].Value);
        });

        // A selection of hits, whose ids were given twice, is a trace as well.
        using TraceReader again = TraceSamples.Reader(bytes);
        string[] chosen = [.. KTrace.Tracing.Export.JsonExport.Lines(again, (hit, _) => hit.Sequence is 1 or Hits).Select(line => Encoding.UTF8.GetString(line.Span))];
        using TraceReader few = TraceSamples.Reader(chosen);
        Assert.Equal([1UL, Hits], few.ReadAll().OfType<TraceRecord.Hit>().Select(hit => hit.ArgumentsOf(0)[0].Value!.Value));
    }

    [Fact]
    public void Console_text_in_pieces_becomes_lines()
    {
        using var folder = new TemporaryFolder();
        string file = folder["a.ktrace"];
        byte[] text = Encoding.UTF8.GetBytes("first\r\n\nümläut 漢\nlast");
        using (var writer = new TraceWriter(file))
        {
            writer.Write(TraceSamples.Header());
            for (int i = 0; i < text.Length; i++)
            {
                writer.WriteConsole(text.AsSpan(i, 1), new TraceClock(Nanoseconds: (ulong)i));
            }
        }

        using TraceReader reader = TraceReader.Open(file);
        TraceRecord.Console[] lines = [.. reader.ReadAll().OfType<TraceRecord.Console>()];
        Assert.Equal(["first", "", "ümläut 漢", "last"], lines.Select(line => line.Text));
        Assert.Equal([0UL, 7UL, 9UL], lines.Take(3).Select(line => line.Clock!.Nanoseconds!.Value));
    }

    [Fact]
    public void A_console_without_line_feeds_and_without_UTF_8_is_cut_into_records()
    {
        using var folder = new TemporaryFolder();
        string file = folder["a.ktrace"];
        using (var writer = new TraceWriter(file))
        {
            writer.Write(TraceSamples.Header());
            writer.WriteConsole(Enumerable.Repeat((byte)0xff, 10_000).ToArray());
            writer.Write(new TraceRecord.End(0, "done", 0));
        }

        using TraceReader reader = TraceReader.Open(file);
        TraceRecord[] records = [.. reader.ReadAll()];
        Assert.Equal([4096, 4096, 1808], records.OfType<TraceRecord.Console>().Select(line => line.Text.Length));
        Assert.IsType<TraceRecord.End>(records[^1]);
    }

    [Theory]
    [InlineData(250, 4294892296UL, 0.0)]
    [InlineData(250, 4294892296UL + 251, 1.004)]
    [InlineData(1000, 4294967296UL + 1000, 301.0)]
    public void Jiffies_count_from_five_minutes_before_their_32_bits_overflow(int hz, ulong jiffies, double seconds) =>
        Assert.Equal(seconds, new TraceClock(jiffies).Seconds(hz));

    private static void AssertSame(TraceRecord expected, TraceRecord actual)
    {
        switch (expected, actual)
        {
            case (TraceRecord.Header a, TraceRecord.Header b):
                Assert.Equal(a.Tracepoints.ToArray(), b.Tracepoints.ToArray());
                Assert.Equal(a with { Tracepoints = b.Tracepoints }, b);
                break;
            case (TraceRecord.Hit a, TraceRecord.Hit b):
                Assert.Equal(a.Pcs.ToArray(), b.Pcs.ToArray());
                Assert.Equal(a.Registers.ToArray(), b.Registers.ToArray());
                if (a.PathEnd.Syscall is { } syscall)
                {
                    TraceSyscall other = b.PathEnd.Syscall!;
                    Assert.Equal(syscall.Arguments.ToArray(), other.Arguments.ToArray());
                    Assert.Equal(syscall.ArgumentTexts.IsDefault ? [] : syscall.ArgumentTexts.ToArray(), other.ArgumentTexts.ToArray());
                    Assert.Equal((syscall.Name, syscall.Number), (other.Name, other.Number));
                    a = a with { PathEnd = a.PathEnd with { Syscall = other } };
                }

                Assert.Equal(a.Arguments.ToArray(), b.Arguments.ToArray());
                Assert.Equal(a.Prints.ToArray(), b.Prints.ToArray());
                Assert.Equal(a with { Pcs = b.Pcs, Registers = b.Registers, Arguments = b.Arguments, Prints = b.Prints }, b);
                break;
            case (TraceRecord.Return a, TraceRecord.Return b):
                Assert.Equal(a.Prints.ToArray(), b.Prints.ToArray());
                Assert.Equal(a with { Prints = b.Prints }, b);
                break;
            case (TraceRecord.Interrupts a, TraceRecord.Interrupts b):
                // As text: lists in lists are not compared by what is in them, and what is lost on the way is not in it.
                Assert.Equal(Encoding.UTF8.GetString(InterruptsJson.Of(a)), Encoding.UTF8.GetString(InterruptsJson.Of(b)));
                Assert.Equal((a.HitSequence, a.AtReturn, a.Clock), (b.HitSequence, b.AtReturn, b.Clock));
                break;
            default:
                Assert.Equal(expected, actual);
                break;
        }
    }

    [Fact]
    public void An_unwind_stop_becomes_an_end_with_its_facts()
    {
        var registers = new RegisterSet(KTrace.Symbols.Arch.X86_64.Instance);
        registers[registers.Architecture.ProgramCounter] = 0x5de750;
        registers[registers.Architecture.StackPointer] = 0x7000;
        var task = new TraceTask(62, "ifconfig");
        var syscall = new TraceSyscall("ioctl", 16, [3, 0x8914, 1, 0, 0, 0], ["3", "SIOCSIFFLAGS"]);

        Assert.Equal(
            "user space: ifconfig pid 62, ioctl(3, SIOCSIFFLAGS, …) at 0x5de750",
            TraceEnd.From(new UnwindStop.UserSpace(registers, 16, false), 0, syscall).Describe(task));
        Assert.Equal(
            "user space: ifconfig pid 62, interrupted at 0x5de750",
            TraceEnd.From(new UnwindStop.UserSpace(registers, null, false)).Describe(task));
        Assert.Equal(
            "user space: ifconfig pid 62, system call 999(0x1, 0x2, 0x3, …) at 0x5de750 (32-bit program)",
            TraceEnd.From(new UnwindStop.UserSpace(registers, 999, true), 0, new TraceSyscall(null, 999, [1, 2, 3, 4, 5, 6])).Describe(task));
        Assert.Equal(TraceEndReason.BootCpu, TraceEnd.From(new UnwindStop.BootEntry()).Reason);
        Assert.Equal(TraceEndReason.Idle, TraceEnd.From(new UnwindStop.BootEntry(), cpu: 1).Reason);
        Assert.Equal("unwinding stopped: no memory at 0x123", TraceEnd.From(new UnwindStop.BadMemory(0x123)).Describe(null));
        Assert.Equal("unwinding stopped: no unwind row for 0x5", TraceEnd.From(new UnwindStop.NoUnwindRow(5)).Describe(null));
        Assert.Equal("unwinding stopped: corrupt stack (why)", TraceEnd.From(new UnwindStop.Corrupt("why")).Describe(null));
    }

    /// <summary>Gives one byte at a time.</summary>
    private sealed class DripStream(byte[] bytes) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(1, buffer.Length)], cancellationToken);

        public override int Read(byte[] buffer, int offset, int count) => base.Read(buffer, offset, Math.Min(count, 1));

        public override int Read(Span<byte> buffer) => base.Read(buffer[..Math.Min(1, buffer.Length)]);
    }
}
