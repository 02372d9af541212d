using System.Collections.Immutable;
using System.Globalization;
using KTrace.Symbols.Unwind;

namespace KTrace.Tracing;

/// <summary>Words for <see cref="TraceEnd.Reason"/>. The set is open: a newer file may say something else, and it is shown as it is.</summary>
public static class TraceEndReason
{
    public const string User = "user";
    public const string KernelThread = "kernel-thread";
    public const string BootCpu = "boot-cpu";
    public const string Idle = "idle";
    public const string EndOfStack = "end-of-stack";
    public const string NoUnwindRow = "no-unwind-row";
    public const string BadMemory = "bad-memory";
    public const string Corrupt = "corrupt";
    public const string TooDeep = "too-deep";

    /// <summary>The stack goes on, and the bound on what is copied of it cut it off (hits without a stop).</summary>
    public const string Cut = "cut";

    /// <summary>Every word above; the reader gives out these very strings instead of copies.</summary>
    public static ImmutableArray<string> All { get; } =
        [User, KernelThread, BootCpu, Idle, EndOfStack, NoUnwindRow, BadMemory, Corrupt, TooDeep, Cut];
}

/// <summary>A system call as its entry saved it.</summary>
/// <param name="Name">Without prefix (<c>ioctl</c>), or null when only the number is known.</param>
/// <param name="Number">pt_regs.orig_ax; an i386 number in a 32-bit program.</param>
/// <param name="Arguments">Raw argument registers in order: six on x86.</param>
/// <param name="ArgumentTexts">What is known of the first arguments in words (<c>3</c>, <c>SIOCSIFFLAGS</c>); an entry may be null; may be shorter.</param>
public sealed record TraceSyscall(
    string? Name, long Number, ImmutableArray<ulong> Arguments, ImmutableArray<string?> ArgumentTexts = default)
{
    private const int ArgumentsWithoutText = 3;

    /// <summary><c>ioctl(3, SIOCSIFFLAGS, …)</c>: known arguments in words, those before them in hexadecimal, the rest as one ellipsis.</summary>
    public override string ToString()
    {
        ImmutableArray<string?> texts = ArgumentTexts.IsDefault ? [] : ArgumentTexts;
        int shown = texts.Length;
        while (shown > 0 && texts[shown - 1] is null)
        {
            shown--;
        }

        int count = Math.Max(Arguments.Length, shown);
        if (shown == 0)
        {
            shown = Math.Min(ArgumentsWithoutText, count);
        }

        IEnumerable<string> parts = Enumerable.Range(0, shown).Select(i =>
            i < texts.Length && texts[i] is { } text ? text : i < Arguments.Length ? TraceHex.Format(Arguments[i]) : "?");
        if (shown < count)
        {
            parts = parts.Append("…");
        }

        string name = Name ?? string.Create(CultureInfo.InvariantCulture, $"system call {Number}");
        return $"{name}({string.Join(", ", parts)})";
    }
}

/// <summary>Why a hit's call path ends where it ends.</summary>
/// <param name="Reason">One of <see cref="TraceEndReason"/>, or a word of a newer format.</param>
/// <param name="Pc">The user's program counter (<c>user</c>), or the one without an unwind row.</param>
/// <param name="Sp">The user's stack pointer.</param>
/// <param name="Syscall">The system call that led here, when it was one.</param>
/// <param name="Address">The address that could not be read (<c>bad-memory</c>).</param>
/// <param name="Detail">Anything more, for people.</param>
public sealed record TraceEnd(
    string Reason, ulong? Pc = null, ulong? Sp = null, TraceSyscall? Syscall = null, ulong? Address = null, string? Detail = null)
{
    /// <param name="stop">What the unwinder said.</param>
    /// <param name="cpu">The CPU of the hit: only CPU 0 is the boot CPU, the others' first code leads to their idle task.</param>
    /// <param name="syscall">The decoded system call, when the stop is user space and came by one.</param>
    public static TraceEnd From(UnwindStop stop, int cpu = 0, TraceSyscall? syscall = null) => stop switch
    {
        UnwindStop.UserSpace user => new(
            TraceEndReason.User, user.Registers.ProgramCounter, user.Registers.StackPointer, syscall,
            Detail: user.IsCompat ? "32-bit program" : null),
        UnwindStop.KernelThreadStart => new(TraceEndReason.KernelThread),
        UnwindStop.BootEntry boot => new(cpu == 0 ? TraceEndReason.BootCpu : TraceEndReason.Idle, Detail: boot.What),
        UnwindStop.EndOfStack end => new(TraceEndReason.EndOfStack, Detail: end.What),
        UnwindStop.MemoryMissing missing => new(TraceEndReason.BadMemory, Address: missing.Address, Detail: "not fetched"),
        UnwindStop.BadMemory bad => new(TraceEndReason.BadMemory, Address: bad.Address),
        UnwindStop.NoUnwindRow none => new(TraceEndReason.NoUnwindRow, none.ProgramCounter, Detail: none.What),
        UnwindStop.Corrupt corrupt => new(TraceEndReason.Corrupt, Detail: corrupt.What),
        UnwindStop.TooDeep deep => new(
            TraceEndReason.TooDeep, Detail: string.Create(CultureInfo.InvariantCulture, $"more than {deep.Limit} frames")),
        _ => throw new ArgumentOutOfRangeException(nameof(stop), stop, "an unwind stop that the trace format has no word for"),
    };

    /// <summary>One line for people, such as <c>user space: ifconfig pid 62, ioctl(3, SIOCSIFFLAGS, …) at 0x5de750</c>.</summary>
    public string Describe(TraceTask? task)
    {
        string who = task is null ? "a task" : task.ToString();
        string text = Reason switch
        {
            TraceEndReason.User => $"user space: {who}, {Syscall?.ToString() ?? "interrupted"}{At(Pc)}",
            TraceEndReason.KernelThread => $"start of kernel thread: {who}",
            TraceEndReason.BootCpu => $"start of the boot CPU: {who}",
            TraceEndReason.Idle => $"start of an idle task: {who}",
            TraceEndReason.EndOfStack => "end of the stack",
            TraceEndReason.NoUnwindRow => $"unwinding stopped: no unwind row for {Hex(Pc)}",
            TraceEndReason.BadMemory => $"unwinding stopped: no memory at {Hex(Address)}",
            TraceEndReason.Corrupt => "unwinding stopped: corrupt stack",
            TraceEndReason.TooDeep => "unwinding stopped: too deep",
            TraceEndReason.Cut => "the stack goes on: no more of it was copied",
            _ => Reason + At(Pc),
        };
        return Detail is null ? text : $"{text} ({Detail})";
    }

    private static string At(ulong? address) => address is null ? "" : " at " + Hex(address);

    private static string Hex(ulong? address) => address is { } value ? TraceHex.Format(value) : "an unknown address";
}
