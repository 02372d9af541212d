// Page table isolation (arch/x86/entry/calling.h, 6.1): PTI_USER_PGTABLE_BIT = PAGE_SHIFT. In user mode CR3 points to the second of two neighbouring top-level tables.
using KTrace.Debugger.Memory;

namespace KTrace.Debugger.Phases;

/// <summary>The kernel's page tables of a CPU that runs by the user's.</summary>
internal static class KernelTables
{
    private const ulong UserTableBit = 1 << 12;

    /// <summary>Where they are if the kernel isolates; whether it does, is proven by what is found through them. Null when the CPU cannot be running by user tables.</summary>
    public static async ValueTask<PagingMode?> TryFindAsync(Machine machine, int cpu, CancellationToken cancellationToken)
    {
        var block = await machine.RegisterBlockAsync(cpu, cancellationToken);
        return new PagingRegisters(block.Layout).Read(block) is { Kind: PagingKind.FourLevels or PagingKind.FiveLevels } mode && (mode.Root & UserTableBit) != 0
            ? mode with { Root = mode.Root & ~UserTableBit }
            : null;
    }
}
