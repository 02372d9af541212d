// What code inside the guest needs to know of its kernel. Per-cpu variables: arch/x86/include/asm/percpu.h: on SMP kernels behind gs (x86-64) or fs (i386), on others plain variables;
// in 6.2 to 6.14 members of pcpu_hot. Stacks: arch/x86/include/asm/irq_stack.h and arch/x86/kernel/irq_32.c for the interrupts', arch/x86/include/asm/cpu_entry_area.h for the exceptions'.
// Before 5.8 x86-64 had irq_stack_ptr instead of hardirq_stack_ptr and entered its interrupt stack otherwise: there a stack that is not the task's is known up to the end of its page only.
using System.Collections.Immutable;
using KTrace.Debugger.Cpus;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>How an instruction reaches a CPU's own data.</summary>
public enum PerCpuSegment
{
    /// <summary>A kernel for one CPU: they are plain variables.</summary>
    None,

    /// <summary>x86-64.</summary>
    Gs,

    /// <summary>i386.</summary>
    Fs,
}

/// <summary>One of the stacks that x86-64's interrupt stack table switches to; the interrupted context's ip, cs, flags, sp and ss lie at its top.</summary>
/// <param name="Offset">Of its lowest byte, from what cea_exception_stacks points to.</param>
/// <param name="Size">Bytes.</param>
public readonly record struct ExceptionStack(string Name, int Offset, int Size);

/// <summary>Members of task_struct, in bytes from its start; null where a kernel has not got one, or not of the size that is known.</summary>
/// <param name="Pid">4 bytes.</param>
/// <param name="Comm">16 bytes.</param>
/// <param name="Stack">A word: the lowest address of the task's kernel stack.</param>
/// <param name="ThreadGroup">4 bytes.</param>
/// <param name="Flags">4 bytes.</param>
public sealed record TaskMembers(int Pid, int Comm, int Stack, int? ThreadGroup, int? Flags);

/// <summary>What trampolines need of a kernel, at run time. Per-cpu addresses are what an instruction adds to the segment's base, or plain addresses without a segment.</summary>
/// <param name="WordSize">8, or 4 on i386.</param>
/// <param name="CurrentTask">A word, per CPU: the address of the current task_struct.</param>
/// <param name="ThreadSize">Bytes of a task's kernel stack; on i386 also of the interrupts' stacks.</param>
public sealed record KernelOffsets(int WordSize, PerCpuSegment Segment, ulong CurrentTask, TaskMembers Task, int ThreadSize)
{
    // arch/x86/include/asm/page_64_types.h, page_32_types.h, without KASAN.
    private const int DefaultThreadSize64 = 16 << 10, DefaultThreadSize32 = 8 << 10;

    // arch/x86/include/asm/page_64_types.h: IRQ_STACK_SIZE follows THREAD_SIZE's doubling with KASAN.
    private const int MaximumThreadSize = 1 << 17;

    private static readonly string[] ExceptionNames = ["DF", "NMI", "DB", "MCE", "VC", "VC2"];

    public bool Is64Bit => WordSize == 8;

    /// <summary>4 bytes, per CPU; null: there is one CPU, with number 0.</summary>
    public ulong? CpuNumber { get; init; }

    /// <summary>4 bytes, per CPU.</summary>
    public ulong? PreemptCount { get; init; }

    /// <summary>A word, per CPU. x86-64: address of the highest word of its interrupt stack. i386: lowest address of it. 0 before the stack is made.</summary>
    public ulong? HardIrqStack { get; init; }

    /// <summary>A word, per CPU, i386: lowest address of the soft interrupts' stack.</summary>
    public ulong? SoftIrqStack { get; init; }

    /// <summary>A word, per CPU, x86-64: what <see cref="ExceptionStacks"/> count from.</summary>
    public ulong? ExceptionStackBase { get; init; }

    public ImmutableArray<ExceptionStack> ExceptionStacks { get; init; } = [];

    /// <summary>Reads them from the kernel's symbols and types.</summary>
    /// <returns>Null when they do not tell who runs or where its stack is: then there is no trampoline for this kernel.</returns>
    public static KernelOffsets? Find(KernelMap map)
    {
        var image = map.Image;
        var wordSize = image.Architecture.WordSize;
        if (Variable(map, "current_task", "current_task") is not { } current
            || Member(image, "pid", 4) is not { } pid || Member(image, "comm", Ring.RecordFormat.CommLength) is not { } comm || Member(image, "stack", wordSize) is not { } stack)
        {
            return null;
        }

        var hasStackSize = image.Layouts.TryGetSize("thread_union", out var size) && size is >= 4096 and <= MaximumThreadSize && (size & (size - 1)) == 0;
        var is64Bit = wordSize == 8;
        return new KernelOffsets(
            wordSize, SegmentOf(image), current, new TaskMembers(pid, comm, stack, Member(image, "tgid", 4), Member(image, "flags", 4)),
            hasStackSize ? size : is64Bit ? DefaultThreadSize64 : DefaultThreadSize32)
        {
            CpuNumber = Variable(map, "cpu_number", "cpu_number"),
            PreemptCount = Variable(map, "__preempt_count", "preempt_count"),
            HardIrqStack = Variable(map, "hardirq_stack_ptr", "hardirq_stack_ptr"),
            SoftIrqStack = is64Bit ? null : Variable(map, "softirq_stack_ptr", "softirq_stack_ptr"),
            ExceptionStackBase = is64Bit ? Variable(map, "cea_exception_stacks", "cea_exception_stacks") : null,
            ExceptionStacks = is64Bit ? [.. StacksOf(image)] : [],
        };
    }

    /// <summary>setup_percpu.c, which has this table, is part of SMP kernels only.</summary>
    private static PerCpuSegment SegmentOf(KernelImage image) =>
        !image.TryFindSymbol("__per_cpu_offset", out _) ? PerCpuSegment.None : image.Architecture is I386 ? PerCpuSegment.Fs : PerCpuSegment.Gs;

    private static ulong? Variable(KernelMap map, string name, string hotMember) =>
        TaskLocator.PerCpuAddress(map.Image, name, hotMember) is { } address ? TaskLocator.ToRunTime(map, address) : null;

    private static int? Member(KernelImage image, string name, int size) =>
        image.Layouts.TryFindMember("task_struct", name, out var member) && member.Size == size && !member.IsBitField ? member.ByteOffset : null;

    private static IEnumerable<ExceptionStack> StacksOf(KernelImage image)
    {
        foreach (var name in ExceptionNames)
        {
            if (image.Layouts.TryFindMember("cea_exception_stacks", name + "_stack", out MemberLocation member) && member.Size >= 1024)
            {
                yield return new ExceptionStack(name, member.ByteOffset, member.Size);
            }
        }
    }
}
