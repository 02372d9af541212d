using System.Collections.Immutable;
using KTrace.Tracing.Interrupts;

namespace KTrace.Tracing;

/// <summary>
/// One record of a trace, live or from a file. A sum type: exactly one of the nested records. All are immutable and hold no handle
/// on the target. The file has two more kinds of line, <c>frame</c> and <c>path</c>, which reader and writer keep to themselves.
/// </summary>
public abstract record TraceRecord
{
    private TraceRecord()
    {
    }

    /// <summary>The first record: what was booted, and what was asked of it.</summary>
    public sealed record Header : TraceRecord
    {
        /// <summary><see cref="TraceFormat.Compact"/> where hits without stops may follow, <see cref="TraceFormat.First"/> otherwise, so that an older ktrace reads it.</summary>
        public int Format { get; init; } = TraceFormat.First;

        /// <summary>Program and version, such as <c>ktrace 0.1.0</c>.</summary>
        public required string Tool { get; init; }

        /// <summary>As <see cref="Symbols.Arch.Architecture.Name"/>.</summary>
        public required string Arch { get; init; }

        public TraceKernel Kernel { get; init; } = new(null, null, null);

        /// <summary>KASLR's displacement in bytes; 0 without KASLR, null when it is not known (yet).</summary>
        public ulong? Slide { get; init; }

        public TraceBoot Boot { get; init; } = TraceBoot.Empty;

        public ImmutableArray<TraceTracepoint> Tracepoints { get; init; } = [];

        /// <summary>What orders hits in guest time: <c>jiffies</c> or <c>instructions</c>.</summary>
        public string Clock { get; init; } = "jiffies";

        /// <summary>CONFIG_HZ: jiffies per second, when known.</summary>
        public int? JiffiesPerSecond { get; init; }

        /// <summary>Hits say in which context they were: one that says nothing was in <see cref="TraceContext.Plain"/>.</summary>
        public bool HasContexts { get; init; }
    }

    /// <summary>How fast <see cref="TraceClock.Ticks"/> count; the latest holds for the whole trace.</summary>
    /// <param name="Uptime">Seconds that the kernel had counted (by jiffies) when ticks were 0, as nearly as that can be told.</param>
    public sealed record ClockRate(double TicksPerSecond, double Uptime = 0) : TraceRecord;

    /// <summary>A recording without stops in numbers: at its end, or as they stood so far; the latest holds.</summary>
    public sealed record NonStop : TraceRecord
    {
        /// <summary>Hits that were taken without a stop.</summary>
        public long Hits { get; init; }

        /// <summary>Records that found no room and were given up (--lossy).</summary>
        public long Dropped { get; init; }

        /// <summary>How often a CPU of the guest waited for room.</summary>
        public long Waits { get; init; }

        /// <summary>Calls whose return is not recorded: too many were open.</summary>
        public long ReturnsMissed { get; init; }

        /// <summary>Records that could not be true.</summary>
        public long Broken { get; init; }

        /// <summary>Hits whose path the bound on stack copies cut.</summary>
        public long Cut { get; init; }

        /// <summary>How often the machine was stopped until the ring was read.</summary>
        public long Pauses { get; init; }

        /// <summary>Wall-clock seconds that it stood still for that.</summary>
        public double PausedSeconds { get; init; }

        /// <summary>Bytes.</summary>
        public long RingSize { get; init; }

        /// <summary>By the guest's clock, from boot to the end; null when it is not known.</summary>
        public double? GuestSeconds { get; init; }

        /// <summary>The same of a boot without tracepoints; null when it is not known.</summary>
        public double? BaselineGuestSeconds { get; init; }
    }

    /// <summary>A module was loaded.</summary>
    /// <param name="Name">As the kernel has it, with underscores.</param>
    /// <param name="Base">Address of its text at run time.</param>
    /// <param name="BuildId">Lower-case hexadecimal, or null.</param>
    /// <param name="File">The file whose symbols are used, or null when there is none.</param>
    public sealed record Module(string Name, ulong Base, string? BuildId = null, string? File = null) : TraceRecord;

    /// <summary>A tracepoint of the header changed its state: a pending one was armed when its module came.</summary>
    public sealed record TracepointResolved(TraceTracepoint Tracepoint) : TraceRecord;

    /// <summary>One stop at a tracepoint.</summary>
    public sealed record Hit : TraceRecord
    {
        /// <summary>Grows from hit to hit; the first is 1. <c>FILE#12</c> means this number.</summary>
        public required long Sequence { get; init; }

        /// <summary>Id of a tracepoint that the header (or a later <see cref="TracepointResolved"/>) names.</summary>
        public required int Tracepoint { get; init; }

        public int Cpu { get; init; }

        public TraceTask? Task { get; init; }

        /// <summary>Interrupt levels, and what was disabled; null when it was not recorded.</summary>
        public TraceContext? Context { get; init; }

        public TraceClock? Clock { get; init; }

        public CallPath Path { get; init; } = CallPath.Empty;

        /// <summary>One address per physical frame, innermost first: the pc of the hit, then return addresses. Empty when not recorded.</summary>
        public ImmutableArray<ulong> Pcs { get; init; } = [];

        /// <summary>
        /// One address per frame that was left by a tail call, in the path's order: the one behind its jump. Empty when not recorded, or when there
        /// is no such frame.
        /// </summary>
        public ImmutableArray<ulong> TailPcs { get; init; } = [];

        /// <summary>General registers in the architecture's order. Empty when not recorded.</summary>
        public ImmutableArray<TraceRegister> Registers { get; init; } = [];

        /// <summary>The arguments of each frame, in the path's order. Empty when none were recorded.</summary>
        public ImmutableArray<ArgumentList> Arguments { get; init; } = [];

        /// <summary>What the tracepoint was asked to print, in order. Empty when nothing was.</summary>
        public ImmutableArray<TracePrint> Prints { get; init; } = [];

        /// <summary>The arguments of a frame of the path; empty when none were recorded.</summary>
        public ArgumentList ArgumentsOf(int frame) => (uint)frame < (uint)Arguments.Length ? Arguments[frame] : ArgumentList.Empty;

        /// <summary>Why the path ends.</summary>
        public required TraceEnd PathEnd { get; init; }

        /// <summary>
        /// The path with the address of each frame, as backtraces are printed: on the first of the functions that share it, null on the others (those
        /// that it was inlined into) and where none was recorded.
        /// </summary>
        public IEnumerable<(TraceFrame Frame, ulong? Address)> FramesWithAddresses()
        {
            (int pc, int tailPc) = (0, 0);
            for (int first = 0; first < Path.Frames.Length;)
            {
                int last = first;
                while (last < Path.Frames.Length - 1 && Path.Frames[last].IsInline)
                {
                    last++;
                }

                (ImmutableArray<ulong> from, int index) = Path.Frames[last].IsTailCall ? (TailPcs, tailPc++) : (Pcs, pc++);
                for (int i = first; i <= last; i++)
                {
                    yield return (Path.Frames[i], i == first && index < from.Length ? from[index] : null);
                }

                first = last + 1;
            }
        }
    }

    /// <summary>A function that was hit has returned, to a tracepoint that asked for it.</summary>
    public sealed record Return : TraceRecord
    {
        /// <summary>The hit at its entry.</summary>
        public required long HitSequence { get; init; }

        public int Cpu { get; init; }

        public TraceClock? Clock { get; init; }

        /// <summary>What was asked to be printed, <c>$ret</c> when nothing else was.</summary>
        public ImmutableArray<TracePrint> Prints { get; init; } = [];

        /// <summary>The time inside, in the ticks of <see cref="TraceClock.Ticks"/>; null where it is not known.</summary>
        public ulong? Duration { get; init; }

        /// <summary>How many calls of the same task were open whose return was awaited; null where it is not known.</summary>
        public int? Depth { get; init; }
    }

    /// <summary>The interrupt hardware and the kernel's irq descriptors at a hit that asked for them, or at the end of the recording.</summary>
    public sealed record Interrupts : TraceRecord
    {
        /// <summary>The hit; null at the end.</summary>
        public long? HitSequence { get; init; }

        /// <summary>Taken when the function of the hit returned.</summary>
        public bool AtReturn { get; init; }

        public TraceClock? Clock { get; init; }

        /// <summary>Ascending by number.</summary>
        public ImmutableArray<IrqDescription> Irqs { get; init; } = [];

        public ImmutableArray<LocalApic> LocalApics { get; init; } = [];

        public ImmutableArray<IoApic> IoApics { get; init; } = [];

        public ImmutableArray<Pic> Pics { get; init; } = [];
    }

    /// <summary>One line of the guest's console, without its line feed.</summary>
    public sealed record Console(TraceClock? Clock, string Text) : TraceRecord;

    /// <summary>Something that the reader of the trace should know.</summary>
    public sealed record Note(string Text) : TraceRecord;

    /// <summary>Something that makes the trace poorer than it could be: a module's symbols are missing.</summary>
    public sealed record Warning(string Text) : TraceRecord;

    /// <summary>The last record of a recording that was closed properly.</summary>
    /// <param name="Hits">How many hits were recorded.</param>
    /// <param name="Reason">Why the recording ended, for people: <c>guest powered off</c>.</param>
    /// <param name="Seconds">Wall-clock seconds from the guest's first instruction to the end.</param>
    public sealed record End(long Hits, string Reason, double Seconds) : TraceRecord
    {
        /// <summary>Wall-clock seconds from the first hit to the last; null with fewer than two. Hits per second are counted over these.</summary>
        public double? ActiveSeconds { get; init; }
    }
}

/// <param name="Release">uname -r.</param>
/// <param name="BuildId">Lower-case hexadecimal.</param>
/// <param name="Banner">The kernel's linux_banner.</param>
public sealed record TraceKernel(string? Release, string? BuildId, string? Banner);

/// <summary>Words for <see cref="TraceTracepoint.State"/>; an open set.</summary>
public static class TracepointState
{
    /// <summary>Set in the guest.</summary>
    public const string Armed = "armed";

    /// <summary>Waits for the module that has the symbol.</summary>
    public const string Pending = "pending";
}

/// <summary>Words for <see cref="TraceTracepoint.Way"/>; an open set.</summary>
public static class TracepointWay
{
    public const string Stop = "stop";
    public const string NonStop = "non-stop";

    /// <summary>It has places of both kinds.</summary>
    public const string Both = "both";
}

/// <param name="Id">What hits refer to.</param>
/// <param name="Requested">The user's words.</param>
/// <param name="Symbol">The symbol that was really armed, or null while there is none.</param>
/// <param name="State">One of <see cref="TracepointState"/>, or a word of a newer format.</param>
/// <param name="Note">For people: <c>irq_msi_compose_msg is x86_vector_msi_compose_msg in this kernel</c>.</param>
/// <param name="Address">Where it was armed, at run time.</param>
public sealed record TraceTracepoint(
    int Id, string Requested, string? Symbol, string State = TracepointState.Armed, string? Note = null, ulong? Address = null)
{
    /// <summary>How it is traced: one of <see cref="TracepointWay"/>, or null where the trace does not tell (it stops).</summary>
    public string? Way { get; init; }

    /// <summary>Why that way, in words for people.</summary>
    public string? WayReason { get; init; }

    /// <summary>How many functions the requested set has; null for a single place.</summary>
    public int? Functions { get; init; }

    /// <summary>The user's words for the place, without conditions and prints; the function's name where the words are a pattern or a set, which several tracepoints share.</summary>
    public string Place => IsGroup && Symbol is not null ? Symbol : Requested.Split(' ', 2)[0];

    /// <summary>The words mean many functions, and this is one of them: <c>irq_*</c>, <c>/^irq_/</c>, <c>@irq</c>.</summary>
    public bool IsGroup => Requested.StartsWith('@') || (Requested.Split(' ', 2)[0] is var place && (place.AsSpan().ContainsAny('*', '?') || (place.Length > 2 && place.EndsWith('/'))));
}

/// <summary>Who ran.</summary>
/// <param name="Pid">As the kernel's initial pid namespace has it; every CPU's idle task has 0.</param>
/// <param name="Comm">task_struct.comm: at most 15 bytes, of any kind.</param>
public sealed record TraceTask(int Pid, string Comm)
{
    /// <summary>task_struct.tgid: the pid of the process that the thread belongs to.</summary>
    public int ThreadGroup { get; init; } = Pid;

    /// <summary>It has no user space. False in traces that do not tell (<see cref="TraceRecord.Header.HasContexts"/>).</summary>
    public bool IsKernelThread { get; init; }

    public override string ToString() => $"{Comm} pid {Pid}";
}

/// <summary>The guest's own time, as far as it is known.</summary>
/// <param name="Jiffies">jiffies_64: starts 300 seconds before the 32-bit counter wraps.</param>
/// <param name="Nanoseconds">printk's clock: nanoseconds since boot.</param>
/// <param name="Instructions">Instructions executed, where QEMU counts them.</param>
/// <param name="Ticks">The CPU's time-stamp counter: since the machine was switched on.</param>
public sealed record TraceClock(ulong? Jiffies = null, ulong? Nanoseconds = null, ulong? Instructions = null, ulong? Ticks = null)
{
    /// <summary>How fast ticks count; null when the trace does not tell, or there are none.</summary>
    public TraceRecord.ClockRate? Rate { get; init; }

    /// <summary>Seconds since the kernel started counting, or null when nothing tells.</summary>
    /// <param name="jiffiesPerSecond">CONFIG_HZ, or null.</param>
    public double? Seconds(int? jiffiesPerSecond)
    {
        if (Nanoseconds is { } ns)
        {
            return ns / 1e9;
        }

        if (Ticks is { } ticks && Rate is { } rate)
        {
            return Math.Max(0, rate.Uptime + (ticks / rate.TicksPerSecond));
        }

        // include/linux/jiffies.h (6.1): INITIAL_JIFFIES is ((unsigned long)(unsigned int)(-300*HZ)).
        return Jiffies is { } jiffies && jiffiesPerSecond is > 0 and { } hz
            ? (double)(long)(jiffies - unchecked((uint)(-300 * hz))) / hz
            : null;
    }
}

public readonly record struct TraceRegister(string Name, ulong Value);
