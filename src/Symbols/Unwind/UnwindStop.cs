namespace KTrace.Symbols.Unwind;

/// <summary>Why a stack ended. A sum type: exactly one of the nested records.</summary>
public abstract record UnwindStop
{
    private UnwindStop()
    {
    }

    /// <summary>The next frame is user space: a system call, or an interrupt or exception that came from there.</summary>
    /// <param name="Registers">The user's registers as saved in pt_regs (pc is always known; sp too, except in the two instructions between SYSCALL and its push).</param>
    /// <param name="SystemCallNumber">pt_regs.orig_ax when it came in by a system call; null for interrupts and exceptions.</param>
    /// <param name="IsCompat">A 32-bit program on a 64-bit kernel: the number is an i386 one.</param>
    public sealed record UserSpace(RegisterSet Registers, long? SystemCallNumber, bool IsCompat) : UnwindStop;

    /// <summary>The function that starts every kernel thread (ret_from_fork).</summary>
    public sealed record KernelThreadStart : UnwindStop;

    /// <summary>The first code that a CPU ran (secondary_startup_64, startup_32_smp, …).</summary>
    /// <param name="What">For people, where that is not the kernel's own code yet: the boot loader, the decompressor.</param>
    public sealed record BootEntry(string? What = null) : UnwindStop;

    /// <summary>The unwind table itself says that the stack ends here, at a place that is none of the above.</summary>
    /// <param name="What">Why, for people, where it is known.</param>
    public sealed record EndOfStack(string? What = null) : UnwindStop;

    /// <summary>Bytes are needed that were not fetched; fetch [Address, Address+Length) and unwind again.</summary>
    public sealed record MemoryMissing(ulong Address, int Length) : UnwindStop;

    /// <summary>The target has no memory there.</summary>
    public sealed record BadMemory(ulong Address) : UnwindStop;

    /// <summary>No CFI, no ORC entry and no frame pointer covers this pc; frames beyond would be invented.</summary>
    /// <param name="What">What kind of code it is, for people, where that is known.</param>
    public sealed record NoUnwindRow(ulong ProgramCounter, string? What = null) : UnwindStop;

    /// <summary>What was found cannot be a stack (the stack pointer did not move up, a return address is no code).</summary>
    public sealed record Corrupt(string What) : UnwindStop;

    /// <summary>The walk's own limit.</summary>
    public sealed record TooDeep(int Limit) : UnwindStop;
}
