// What the guest's trampolines and the host agree on: where the counters lie, and what a record looks like. All little-endian; on i386 words are 32 bits wide and lie in the low half of
// their 64-bit field, whose high half stays 0 because the reader clears what it has read.
//
// Reserving: a record's bytes are reserved with one compare-and-exchange on Head, and only when they fit behind Tail. A context that interrupts another one between its reservation and
// its commit therefore never waits for that commit: whoever holds reserved bytes never waits. The commit word is written last (x86 keeps stores in order, and TCG on x86 too); the reader
// takes a record when its commit word is not 0, clears all its bytes, and only then moves Tail on. Records are aligned to 64 bytes, and the ring is mapped twice in a row in the guest, so that
// one is always contiguous there.
namespace KTrace.Debugger.NonStop.Ring;

/// <summary>Offsets in the control block. Each counter has a cache line of its own.</summary>
public static class ControlBlock
{
    /// <summary>u64: bytes reserved since the beginning; the record's place is Head modulo the ring's size. Written by the guest.</summary>
    public const int Head = 0x000;

    /// <summary>u64: bytes read since the beginning. Written by the host.</summary>
    public const int Tail = 0x040;

    /// <summary>u64: records that found no room and were given up (lossy). Written by the guest.</summary>
    public const int Dropped = 0x080;

    /// <summary>u64: how often a CPU began to wait for room. Written by the guest.</summary>
    public const int Waits = 0x0c0;

    /// <summary>u32: not 0: record nothing and wait for nothing. Written by the host when it stops reading; returns that were replaced before are still led home.</summary>
    public const int Closed = 0x100;

    /// <summary>u64: calls whose return is not recorded because no <see cref="ReturnEntry"/> was free. Written by the guest.</summary>
    public const int ReturnsMissed = 0x140;

    /// <summary>u64: where the search for a free return entry goes on. Written by the guest.</summary>
    public const int NextReturn = 0x180;

    /// <summary>First of <see cref="MaximumPrograms"/> blocks of <see cref="ProgramStride"/> bytes: counters of the programs.</summary>
    public const int Programs = 0x1000;

    public const int ProgramStride = 64;
    public const int MaximumPrograms = 1024;

    /// <summary>In a program's block, u64: calls for which the condition was true, for sampling. Written by the guest.</summary>
    public const int ProgramCalls = 0;

    /// <summary>In a program's block, u64: records that were taken, for "the first N". Written by the guest.</summary>
    public const int ProgramTaken = 8;

    /// <summary>In a program's block, u64: calls at which the condition could not be asked, as memory that it needs cannot be read. Written by the guest.</summary>
    public const int ProgramUnreadable = 16;

    /// <summary>First of <see cref="ReturnEntry.Count"/> entries.</summary>
    public const int Returns = 0x20000;

    /// <summary>From here to the block's end: page tables of conditions' own view of the guest's memory.</summary>
    public const int Tables = 0x100000;
}

/// <summary>One function that was entered with its return address replaced.</summary>
public static class ReturnEntry
{
    public const int Count = 16384;
    public const int Stride = 32;

    /// <summary>u32: 0 free, 1 in use. Taken with compare-and-exchange by the guest, freed by the guest's return; by the host where the frame is known to be dead.</summary>
    public const int State = 0;

    /// <summary>u64: where the function returns to.</summary>
    public const int ReturnAddress = 8;

    /// <summary>u64: the trampoline's program, whose return actions apply (index).</summary>
    public const int Program = 16;
}

/// <summary>What a record is.</summary>
public enum RingRecordKind : byte
{
    /// <summary>A function was entered.</summary>
    Call = 1,

    /// <summary>A function whose return address had been replaced returned.</summary>
    Return = 2,
}

/// <summary>Offsets in a record.</summary>
public static class RecordFormat
{
    /// <summary>Records begin at multiples of it, and their sizes are multiples of it.</summary>
    public const int Alignment = 64;

    /// <summary>Bytes of a call's record before its stack windows.</summary>
    public const int CallHeader = 256;

    /// <summary>Bytes of a return's record.</summary>
    public const int ReturnSize = 192;

    /// <summary>u64, written last: size in bytes (bits 0–31), <see cref="RingRecordKind"/> (bits 32–39), <see cref="Magic"/> (bits 48–63).</summary>
    public const int Commit = 0;

    public const ulong Magic = 0x4b54;

    /// <summary>u64. Call: where the trampoline returns to, behind the call that was written over the function's no-op (or in the relocated code). Return: index of the return entry.</summary>
    public const int Site = 8;

    /// <summary>u64: time-stamp counter.</summary>
    public const int Clock = 16;

    /// <summary>u64: address of the current task_struct; 0 where it is not known.</summary>
    public const int Task = 24;

    /// <summary>Word. Call: the stack pointer at the function's entry, where its return address is. Return: the stack pointer behind the return, where the return address was less a word.</summary>
    public const int StackPointer = 32;

    /// <summary>u32: EFLAGS.</summary>
    public const int Flags = 40;

    /// <summary>u32: number of the CPU.</summary>
    public const int Cpu = 44;

    /// <summary>u32: __preempt_count.</summary>
    public const int PreemptCount = 48;

    /// <summary>u32: task_struct.pid.</summary>
    public const int Pid = 52;

    /// <summary>u32: task_struct.tgid.</summary>
    public const int ThreadGroup = 56;

    /// <summary>u32: task_struct.flags.</summary>
    public const int TaskFlags = 60;

    /// <summary>16 bytes: task_struct.comm.</summary>
    public const int Comm = 64;

    public const int CommLength = 16;

    /// <summary>First of sixteen u64, in the order of the instruction set's numbers: ax cx dx bx sp bp si di r8 … r15; sp is that of <see cref="StackPointer"/>. Returns have ax, cx and dx only.</summary>
    public const int Registers = 80;

    public const int RegisterCount = 16;

    /// <summary>u32: 1 + the index of the return entry that was taken; 0: the return is not awaited.</summary>
    public const int ReturnIndex = 208;

    /// <summary>u32, 0 to <see cref="MaximumWindows"/>: parts of stacks that follow the header, one behind the other. The first begins at the function's <see cref="StackPointer"/>.</summary>
    public const int WindowCount = 212;

    /// <summary>First of <see cref="MaximumWindows"/> addresses (u64), then as many lengths (u32: bytes, a multiple of 8).</summary>
    public const int WindowAddresses = 216;

    /// <summary>u32 each; bit 31 says that the stack goes on behind the window, and the limit cut it.</summary>
    public const int WindowLengths = 240;

    public const uint WindowIsCut = 0x8000_0000;

    /// <summary>u32. Call: index of the trampoline's program; a function may lead through several, and each writes a record of its own.</summary>
    public const int Program = 252;

    /// <summary>The exception's stack, the interrupt's stack, the task's stack.</summary>
    public const int MaximumWindows = 3;
}
