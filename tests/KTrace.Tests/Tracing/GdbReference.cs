// gdb 13.1's backtraces of a real boot (Fixtures/), turned into the trace that KTrace would have recorded of it. What the text does not have is
// made up here: tasks, clocks, registers, the user's pc and sp. gdb's frames below the system call entry are the saved user registers, read as if
// they were return addresses; they are left out, as a trace has none of them.
using System.Collections.Immutable;
using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Tests.Tracing;

internal static partial class GdbReference
{
    /// <summary>Address of x86_vector_msi_compose_msg in that kernel: gdb prints none for frame 0.</summary>
    public const ulong TracepointAddress = 0xffffffff81070a60;

    private const ulong FirstModuleAddress = 0xffffffffc0000000;

    private static readonly string[] Roots = ["secondary_startup_64", "ret_from_fork", "entry_SYSCALL_64"];

    private static readonly Lazy<ImmutableArray<ImmutableArray<string>>> LazyBacktraces = new(Parse);

    /// <summary>The lines of each hit, up to where the kernel's stack really ends.</summary>
    public static ImmutableArray<ImmutableArray<string>> Backtraces => LazyBacktraces.Value;

    public static TraceRecord.Header Header { get; } = new()
    {
        Tool = "ktrace 0.1.0",
        Arch = "x86-64",
        Kernel = new TraceKernel(
            "6.1.0-56-amd64",
            "eb4fbcd037e7253717950bf2b93bd5566f47c56f",
            "Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)"),
        Slide = 0,
        Boot = TraceBoot.From(new Dictionary<string, object?>
        {
            ["scenario"] = "e1000e-msix",
            ["kernel"] = new Dictionary<string, object?> { ["path"] = "vmlinuz-6.1.0-56-amd64", ["sha256"] = new string('a', 64) },
            ["initrd"] = new Dictionary<string, object?> { ["path"] = "e1000e-msix.cpio.gz", ["sha256"] = new string('b', 64) },
            ["append"] = "console=ttyS0 nokaslr",
            ["qemu"] = new Dictionary<string, object?> { ["version"] = "7.2.22", ["arguments"] = new[] { "-machine", "q35", "-m", "512" } },
        }),
        Tracepoints =
        [
            new TraceTracepoint(
                1, "irq_msi_compose_msg", "x86_vector_msi_compose_msg", TracepointState.Armed,
                "irq_msi_compose_msg is x86_vector_msi_compose_msg in this kernel", TracepointAddress),
            new TraceTracepoint(2, "e1000e_open", null, TracepointState.Pending, "waits for its module"),
        ],
        JiffiesPerSecond = 250,
    };

    public static ImmutableArray<TraceRecord.Hit> Hits { get; } = [.. Enumerable.Range(0, Backtraces.Length).Select(Hit)];

    /// <summary>All records of the trace, in order.</summary>
    public static IEnumerable<TraceRecord> Records()
    {
        yield return Header;
        yield return new TraceRecord.Console(new TraceClock(Nanoseconds: 0), Header.Kernel.Banner!);
        foreach (TraceRecord.Hit hit in Hits)
        {
            if (hit.Sequence == 14)
            {
                yield return new TraceRecord.Module("e1000e", 0xffffffffc0212000, "0c1d", "e1000e.ko");
                yield return new TraceRecord.TracepointResolved(
                    new TraceTracepoint(2, "e1000e_open", "e1000e_open", TracepointState.Armed, null, 0xffffffffc0220600));
            }

            yield return hit;
        }

        yield return new TraceRecord.Warning("module psmouse: no debug file, its functions are named from its symbol table");
        yield return new TraceRecord.Console(new TraceClock(Nanoseconds: 3_000_000_000), "reboot: Power down");
        yield return new TraceRecord.End(Hits.Length, "guest powered off", 7.6);
    }

    public static void Write(string path, IEnumerable<TraceRecord>? records = null)
    {
        using var writer = new TraceWriter(path);
        foreach (TraceRecord record in records ?? Records())
        {
            writer.Write(record);
        }
    }

    private static ImmutableArray<ImmutableArray<string>> Parse()
    {
        string file = Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "Fixtures"), "gdb-*-by-hand.txt").Single();
        var hits = new List<List<string>>();
        bool done = true;
        foreach (string line in File.ReadLines(file))
        {
            if (line == "=== hit")
            {
                hits.Add([]);
                done = false;
            }
            else if (!done)
            {
                hits[^1].Add(line);
                done = Roots.Any(root => line.Contains($" in {root} (", StringComparison.Ordinal));
            }
        }

        return [.. hits.Select(lines => lines.ToImmutableArray())];
    }

    private static TraceRecord.Hit Hit(int index)
    {
        (string Function, ulong? Pc, string? File, int? Line)[] lines = [.. Backtraces[index].Select(line =>
        {
            Match match = FrameLine().Match(line);
            Assert.True(match.Success, line);
            ulong? pc = match.Groups["pc"].Success ? ulong.Parse(match.Groups["pc"].Value, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture) : null;
            return (match.Groups["function"].Value, pc, match.Groups["file"].Value, (int?)int.Parse(match.Groups["line"].Value, CultureInfo.InvariantCulture));
        })];
        lines[0].Pc = TracepointAddress;
        var frames = new List<TraceFrame>();
        var pcs = new List<ulong>();
        for (int i = 0; i < lines.Length; i++)
        {
            // A line with an address begins a physical frame; the lines without one that follow are the functions it was inlined into.
            if (lines[i].Pc is { } pc)
            {
                pcs.Add(pc);
            }

            bool isInline = i + 1 < lines.Length && lines[i + 1].Pc is null;
            frames.Add(new TraceFrame(
                lines[i].Function,
                pcs[^1] & 0xff,
                pcs[^1] >= FirstModuleAddress ? "e1000e" : null,
                lines[i].File,
                lines[i].Line,
                isInline,
                isInline ? null : pcs.Count == 1 ? UnwindRule.Registers : lines[i].File!.EndsWith(".S", StringComparison.Ordinal) ? UnwindRule.Orc : UnwindRule.Cfi));
        }

        (TraceTask task, TraceEnd end) = Ending(frames);
        return new TraceRecord.Hit
        {
            Sequence = index + 1,
            Tracepoint = 1,
            Task = task,
            Clock = new TraceClock(4294892296 + ((ulong)index * 30), (ulong)index * 120_000_123),
            Path = new CallPath([.. frames]),
            Pcs = [.. pcs],
            Registers = [.. X86_64.Instance.GeneralRegisters.Select(register => new TraceRegister(
                X86_64.Instance.RegisterNames[register],
                register == X86_64.Rip ? TracepointAddress : register == X86_64.Eflags ? 0x46 : 0xffff888004900000 + ((ulong)register * 0x11)))],
            PathEnd = end,
        };
    }

    private static (TraceTask Task, TraceEnd End) Ending(List<TraceFrame> frames)
    {
        bool Has(string function) => frames.Any(frame => frame.Function == function);
        return frames[^1].Function switch
        {
            "secondary_startup_64" => (new TraceTask(0, "swapper/0"), new TraceEnd(TraceEndReason.BootCpu)),
            "ret_from_fork" => (new TraceTask(1, "swapper/0"), new TraceEnd(TraceEndReason.KernelThread)),
            _ when Has("__do_sys_ioctl") => (new TraceTask(62, "ifconfig"), new TraceEnd(
                TraceEndReason.User, 0x5de750, 0x7fffb1141dc8,
                new TraceSyscall("ioctl", 16, [3, 0x8914, 0x7fffb1141dd0, 0, 0, 0], ["3", "SIOCSIFFLAGS"]))),
            _ when Has("__do_sys_finit_module") => (new TraceTask(55, "modprobe"), new TraceEnd(
                TraceEndReason.User, 0x47dbbb, 0x7fffb1141d00, new TraceSyscall("finit_module", 313, [3, 0x21cf4c80, 0, 0, 0, 0], ["3"]))),
            var other => throw new InvalidOperationException($"a path that ends at {other}"),
        };
    }

    [GeneratedRegex(@"^#\d+ +(?:0x(?<pc>[0-9a-f]+) in )?(?<function>\S+) \(.*\) at (?<file>\S+):(?<line>\d+)$")]
    private static partial Regex FrameLine();
}
