// A CPU's stacks beside the task's. x86-64: arch/x86/include/asm/irq_stack.h (hardirq_stack_ptr is the top less 8; before 5.8 irq_stack_ptr, less 64), the
// exception stacks of arch/x86/include/asm/cpu_entry_area.h (cea_exception_stacks, since 5.2) with the entry stack before them.
// i386: arch/x86/kernel/irq_32.c (hardirq_stack_ptr and softirq_stack_ptr are the lowest address). In 6.2 to 6.14 the pointers are members of pcpu_hot.
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Cpus;

/// <summary>Tells which stack a stack pointer is in.</summary>
internal sealed class CpuStacks
{
    // arch/x86/include/asm/page_64_types.h without KASAN, page_32_types.h.
    private const int DefaultStack64 = 16 << 10, DefaultStack32 = 8 << 10;
    private const int PageSize = 4096;

    private static readonly string[] Exceptions = ["DF", "NMI", "DB", "MCE", "VC", "VC2"];

    private readonly Architecture _architecture;
    private readonly TaskLocator _tasks;
    private readonly ulong? _hardIrq, _softIrq, _exceptions;
    private readonly List<(string Name, int Offset, int Size)> _layout = [];
    private readonly int _entryDistance;

    public CpuStacks(KernelMap map, TaskLocator tasks)
    {
        var image = map.Image;
        (_architecture, _tasks) = (image.Architecture, tasks);
        TaskStackSize = image.Layouts.TryGetSize("thread_union", out var size) && size is >= PageSize and <= 1 << 20
            ? size
            : _architecture.WordSize == 4 ? DefaultStack32 : DefaultStack64;
        _hardIrq = Variable(map, "hardirq_stack_ptr") ?? Variable(map, "irq_stack_ptr");
        _softIrq = Variable(map, "softirq_stack_ptr");
        _exceptions = Variable(map, "cea_exception_stacks");
        foreach (var name in Exceptions)
        {
            if (image.Layouts.TryFindMember("cea_exception_stacks", name + "_stack", out var member))
            {
                _layout.Add((name, member.ByteOffset, member.Size));
            }
        }

        _entryDistance = image.Layouts.TryFindMember("cpu_entry_area", "estacks", out var stacks) && image.Layouts.TryFindMember("cpu_entry_area", "entry_stack_page", out var entry)
            ? stacks.ByteOffset - entry.ByteOffset
            : 0;
    }

    /// <summary>THREAD_SIZE, in bytes.</summary>
    public int TaskStackSize { get; }

    /// <summary>What has to be fetched of a CPU's per-cpu data.</summary>
    public void AddPerCpu(ulong start, ICollection<(ulong Address, int Length)> ranges)
    {
        foreach (var variable in new[] { _hardIrq, _softIrq, _exceptions }.OfType<ulong>())
        {
            ranges.Add((_tasks.At(start, variable), _architecture.WordSize));
        }
    }

    /// <param name="start">The CPU's per-cpu base; null when it is not known.</param>
    public CpuStack Find(ulong stackPointer, CpuTask? task, ulong? start, IMemoryReader memory)
    {
        if (task?.Stack is { } bottom && IsWithin(stackPointer, bottom, TaskStackSize))
        {
            return new CpuStack(CpuStackKind.Task);
        }

        if (start is not { } perCpu)
        {
            return default;
        }

        // The pointer is to the last word in use, so the stack ends behind it; on i386 to the first.
        if (Pointer(perCpu, _hardIrq, memory) is { } hardIrq
            && (_architecture is I386 ? IsWithin(stackPointer, hardIrq, TaskStackSize) : IsWithin(stackPointer, hardIrq + 8 - DefaultStack64, DefaultStack64)))
        {
            return new CpuStack(CpuStackKind.HardIrq);
        }

        if (Pointer(perCpu, _softIrq, memory) is { } softIrq && IsWithin(stackPointer, softIrq, TaskStackSize))
        {
            return new CpuStack(CpuStackKind.SoftIrq);
        }

        if (Pointer(perCpu, _exceptions, memory) is { } exceptions)
        {
            foreach (var (name, offset, size) in _layout)
            {
                if (IsWithin(stackPointer, exceptions + (ulong)offset, size))
                {
                    return new CpuStack(CpuStackKind.Exception, name);
                }
            }

            if (_entryDistance > 0 && IsWithin(stackPointer, exceptions - (ulong)_entryDistance, PageSize))
            {
                return new CpuStack(CpuStackKind.Entry);
            }
        }

        return default;
    }

    // A stack that is empty has its pointer right behind it.
    private static bool IsWithin(ulong stackPointer, ulong bottom, int size) => stackPointer > bottom && stackPointer - bottom <= (ulong)size;

    private static ulong? Variable(KernelMap map, string name) =>
        TaskLocator.PerCpuAddress(map.Image, name, name) is { } address ? TaskLocator.ToRunTime(map, address) : null;

    private ulong? Pointer(ulong start, ulong? variable, IMemoryReader memory) => variable is { } template ? _tasks.PointerAt(start, template, memory) : null;
}
