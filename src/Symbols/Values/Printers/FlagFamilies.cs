// Which numbers are sets of flags, and where their bits have names. Enumerators are taken from the kernel's own types wherever it has them: those are right for every
// version. Macros leave no trace in debug information; of them only bits are listed that have not changed from 5.16 to 6.12:
//   IRQF_*       include/linux/interrupt.h (6.1)      IORESOURCE_*  include/linux/ioport.h (6.1)     VM_*  include/linux/mm.h (6.1)
//   PF_*, TASK_* include/linux/sched.h (6.1)          __GFP_*       include/linux/gfp_types.h (6.1; the same bits since 5.16; enumerators since 6.10)
using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Numerics;
using System.Runtime.CompilerServices;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Printers;

/// <summary>Names of bits.</summary>
internal static class FlagFamilies
{
    private static readonly ImmutableArray<(ulong Bits, string Name)> Interrupt =
    [
        (0x1, "IRQF_TRIGGER_RISING"), (0x2, "IRQF_TRIGGER_FALLING"), (0x4, "IRQF_TRIGGER_HIGH"), (0x8, "IRQF_TRIGGER_LOW"), (0x10, "IRQF_TRIGGER_PROBE"),
        (0x14200, "IRQF_TIMER"), (0x80, "IRQF_SHARED"), (0x100, "IRQF_PROBE_SHARED"), (0x200, "__IRQF_TIMER"), (0x400, "IRQF_PERCPU"), (0x800, "IRQF_NOBALANCING"),
        (0x1000, "IRQF_IRQPOLL"), (0x2000, "IRQF_ONESHOT"), (0x4000, "IRQF_NO_SUSPEND"), (0x8000, "IRQF_FORCE_RESUME"), (0x10000, "IRQF_NO_THREAD"),
        (0x20000, "IRQF_EARLY_RESUME"), (0x40000, "IRQF_COND_SUSPEND"), (0x80000, "IRQF_NO_AUTOEN"), (0x100000, "IRQF_NO_DEBUG"),
    ];

    private static readonly ImmutableArray<(ulong Bits, string Name)> Resource =
    [
        (0x100, "IORESOURCE_IO"), (0x200, "IORESOURCE_MEM"), (0x400, "IORESOURCE_IRQ"), (0x800, "IORESOURCE_DMA"), (0x1000, "IORESOURCE_BUS"),
        (0x2000, "IORESOURCE_PREFETCH"), (0x4000, "IORESOURCE_READONLY"), (0x8000, "IORESOURCE_CACHEABLE"), (0x10000, "IORESOURCE_RANGELENGTH"),
        (0x20000, "IORESOURCE_SHADOWABLE"), (0x40000, "IORESOURCE_SIZEALIGN"), (0x80000, "IORESOURCE_STARTALIGN"), (0x100000, "IORESOURCE_MEM_64"),
        (0x200000, "IORESOURCE_WINDOW"), (0x400000, "IORESOURCE_MUXED"), (0x1000000, "IORESOURCE_SYSRAM"), (0x8000000, "IORESOURCE_EXCLUSIVE"),
        (0x10000000, "IORESOURCE_DISABLED"), (0x20000000, "IORESOURCE_UNSET"), (0x40000000, "IORESOURCE_AUTO"), (0x80000000, "IORESOURCE_BUSY"),
    ];

    private static readonly ImmutableArray<(ulong Bits, string Name)> VirtualMemory =
    [
        (0x1, "VM_READ"), (0x2, "VM_WRITE"), (0x4, "VM_EXEC"), (0x8, "VM_SHARED"), (0x10, "VM_MAYREAD"), (0x20, "VM_MAYWRITE"), (0x40, "VM_MAYEXEC"), (0x80, "VM_MAYSHARE"),
        (0x100, "VM_GROWSDOWN"), (0x400, "VM_PFNMAP"), (0x2000, "VM_LOCKED"), (0x4000, "VM_IO"), (0x20000, "VM_DONTCOPY"), (0x40000, "VM_DONTEXPAND"),
        (0x100000, "VM_ACCOUNT"), (0x200000, "VM_NORESERVE"), (0x400000, "VM_HUGETLB"), (0x4000000, "VM_DONTDUMP"), (0x10000000, "VM_MIXEDMAP"),
    ];

    private static readonly ImmutableArray<(ulong Bits, string Name)> Task =
    [
        (0x2, "PF_IDLE"), (0x4, "PF_EXITING"), (0x10, "PF_IO_WORKER"), (0x20, "PF_WQ_WORKER"), (0x40, "PF_FORKNOEXEC"), (0x100, "PF_SUPERPRIV"), (0x200, "PF_DUMPCORE"),
        (0x400, "PF_SIGNALED"), (0x800, "PF_MEMALLOC"), (0x1000, "PF_NPROC_EXCEEDED"), (0x2000, "PF_USED_MATH"), (0x8000, "PF_NOFREEZE"), (0x20000, "PF_KSWAPD"),
        (0x40000, "PF_MEMALLOC_NOFS"), (0x80000, "PF_MEMALLOC_NOIO"), (0x200000, "PF_KTHREAD"), (0x400000, "PF_RANDOMIZE"), (0x4000000, "PF_NO_SETAFFINITY"),
    ];

    private static readonly ImmutableArray<(ulong Bits, string Name)> TaskState =
    [
        (0x402, "TASK_IDLE"), (0x102, "TASK_KILLABLE"), (0x1, "TASK_INTERRUPTIBLE"), (0x2, "TASK_UNINTERRUPTIBLE"), (0x4, "__TASK_STOPPED"), (0x8, "__TASK_TRACED"),
        (0x40, "TASK_PARKED"), (0x80, "TASK_DEAD"), (0x100, "TASK_WAKEKILL"), (0x200, "TASK_WAKING"), (0x400, "TASK_NOLOAD"), (0x800, "TASK_NEW"),
    ];

    private static readonly ImmutableArray<(ulong Bits, string Name)> Allocation =
    [
        (0x100cc0, "GFP_USER"), (0xcc0, "GFP_KERNEL"), (0xc40, "GFP_NOFS"), (0xc00, "GFP_NOIO"), (0xa20, "GFP_ATOMIC"), (0x820, "GFP_ATOMIC"), (0x1, "__GFP_DMA"),
        (0x2, "__GFP_HIGHMEM"), (0x4, "__GFP_DMA32"), (0x8, "__GFP_MOVABLE"), (0x10, "__GFP_RECLAIMABLE"), (0x20, "__GFP_HIGH"), (0x40, "__GFP_IO"), (0x80, "__GFP_FS"),
        (0x100, "__GFP_ZERO"), (0x200, "__GFP_ATOMIC"), (0x400, "__GFP_DIRECT_RECLAIM"), (0x800, "__GFP_KSWAPD_RECLAIM"), (0x1000, "__GFP_WRITE"), (0x2000, "__GFP_NOWARN"),
        (0x4000, "__GFP_RETRY_MAYFAIL"), (0x8000, "__GFP_NOFAIL"), (0x10000, "__GFP_NORETRY"), (0x20000, "__GFP_MEMALLOC"), (0x40000, "__GFP_COMP"),
        (0x80000, "__GFP_NOMEMALLOC"), (0x100000, "__GFP_HARDWALL"), (0x200000, "__GFP_THISNODE"), (0x400000, "__GFP_ACCOUNT"), (0x800000, "__GFP_ZEROTAGS"),
    ];

    private static readonly ConditionalWeakTable<ITypeSource, ConcurrentDictionary<string, EnumType?>> Found = [];

    /// <summary>Members whose bits are enumerators: of the enumeration that has the one named here.</summary>
    private static readonly FrozenDictionary<(string Owner, string Member), (string Enumerator, bool IsBitNumber)> ByEnumerator =
        new Dictionary<(string, string), (string, bool)>
        {
            [("irq_common_data", "state_use_accessors")] = ("IRQD_LEVEL", false),
            [("irq_desc", "status_use_accessors")] = ("IRQ_NOPROBE", false),
            [("irq_desc", "core_internal_state__do_not_mess_with_it")] = ("IRQS_ONESHOT", false),
            [("irq_chip", "flags")] = ("IRQCHIP_SET_TYPE_MASKED", false),
            [("net_device", "flags")] = ("IFF_UP", false),
            [("net_device", "priv_flags")] = ("IFF_EBRIDGE", false),
            [("page", "flags")] = ("PG_locked", true),
            [("folio", "flags")] = ("PG_locked", true),
        }.ToFrozenDictionary();

    private static readonly FrozenDictionary<(string Owner, string Member), ImmutableArray<(ulong Bits, string Name)>> ByTable =
        new Dictionary<(string, string), ImmutableArray<(ulong, string)>>
        {
            [("irqaction", "flags")] = Interrupt,
            [("request_irq", "flags")] = Interrupt,
            [("request_threaded_irq", "irqflags")] = Interrupt,
            [("devm_request_irq", "irqflags")] = Interrupt,
            [("devm_request_threaded_irq", "irqflags")] = Interrupt,
            [("request_any_context_irq", "flags")] = Interrupt,
            [("request_percpu_irq", "flags")] = Interrupt,
            [("resource", "flags")] = Resource,
            [("vm_area_struct", "vm_flags")] = VirtualMemory,
            [("task_struct", "flags")] = Task,
            [("task_struct", "__state")] = TaskState,
        }.ToFrozenDictionary();

    /// <summary>The flags of a set, or null where nothing is known of such a member. A set without any flag gives an empty text.</summary>
    /// <param name="owner">The structure's tag or the function's name.</param>
    /// <param name="isAllocation">The type is gfp_t.</param>
    public static string? Split(ITypeSource types, string? owner, string name, bool isAllocation, ulong value)
    {
        if (isAllocation)
        {
            return SplitAllocation(types, value);
        }

        if (owner is null)
        {
            return null;
        }

        if (ByTable.TryGetValue((owner, name), out var table))
        {
            return value == 0 && owner == "task_struct" && name == "__state" ? "TASK_RUNNING" : Join(value, table);
        }

        return ByEnumerator.TryGetValue((owner, name), out var found) && Find(types, found.Enumerator) is { } enumerator
            ? Join(value, found.IsBitNumber ? BitsOf(enumerator, "") : FlagsOf(enumerator))
            : null;
    }

    /// <summary>An enumeration whose enumerators are single bits: <c>A|B</c>. Null for other enumerations, and where nothing fits.</summary>
    public static string? Split(EnumType enumeration, ulong value)
    {
        const int SmallestSet = 4;
        var largest = 0L;
        foreach (var enumerator in enumeration.Enumerators)
        {
            if (enumerator.Value < 0 || !BitOperations.IsPow2(Math.Max(1, enumerator.Value)))
            {
                return null;
            }

            largest = Math.Max(largest, enumerator.Value);
        }

        return largest >= SmallestSet && value != 0 && Join(value, FlagsOf(enumeration)) is { Length: > 0 } text && !text.StartsWith("0x", StringComparison.Ordinal) ? text : null;
    }

    private static string? SplitAllocation(ITypeSource types, ulong value)
    {
        if (Find(types, "___GFP_DMA_BIT") is { } bits)
        {
            return Join(value, BitsOf(bits, "_BIT"));
        }

        // struct folio came with 5.16; the bits of older kernels are elsewhere.
        return types.FindType(TypeTag.Struct, "folio") is null ? null : Join(value, Allocation);
    }

    /// <summary>The enumeration that an enumerator is of. One that is not there is searched for in all debug information: that is remembered, too.</summary>
    private static EnumType? Find(ITypeSource types, string enumerator) =>
        Found.GetOrCreateValue(types).GetOrAdd(enumerator, static (name, source) => source.FindEnumerator(name)?.Type, types);

    /// <summary>Enumerators that are bits. One that is a mask of several would hide them.</summary>
    private static IEnumerable<(ulong Bits, string Name)> FlagsOf(EnumType enumeration) =>
        enumeration.Enumerators.Where(e => e.Value != 0 && BitOperations.IsPow2((ulong)e.Value & Mask(enumeration))).Select(e => ((ulong)e.Value & Mask(enumeration), e.Name));

    private static ulong Mask(EnumType enumeration) => enumeration.Size is > 0 and < 8 ? ulong.MaxValue >> (64 - ((int)enumeration.Size * 8)) : ulong.MaxValue;

    /// <summary>Enumerators that are bits' numbers.</summary>
    private static IEnumerable<(ulong Bits, string Name)> BitsOf(EnumType enumeration, string suffix) =>
        from enumerator in enumeration.Enumerators
        where enumerator.Value is >= 0 and < 64 && enumerator.Name.EndsWith(suffix, StringComparison.Ordinal) && !enumerator.Name.StartsWith("__NR_", StringComparison.Ordinal)
        select (1UL << (int)enumerator.Value, suffix.Length == 0 ? enumerator.Name : enumerator.Name[1..^suffix.Length]);

    private static string Join(ulong value, IEnumerable<(ulong Bits, string Name)> flags)
    {
        var names = new List<string>();
        foreach (var (bits, name) in flags)
        {
            if ((value & bits) == bits)
            {
                names.Add(name);
                value &= ~bits;
            }
        }

        if (value != 0)
        {
            names.Add(FormattableString.Invariant($"0x{value:x}"));
        }

        return string.Join('|', names);
    }
}
