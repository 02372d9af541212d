using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>
/// A record's stacks, and behind them the kernel's memory as it is while the guest runs on: some milliseconds after the hit. What a pointer leads to may have been changed or freed by
/// then, so that only texts for people are made from it, and they say so (<see cref="WasUsed"/>). User space is not looked at: whose it is now nobody knows.
/// </summary>
/// <param name="kernel">The kernel's own page tables.</param>
internal sealed class LateMemory(IMemoryReader record, MappedRam ram, PagingMode kernel) : IMemoryReader
{
    private readonly AddressSpace _space = new(ram);

    /// <summary>Something outside of the record was read since <see cref="Begin"/>.</summary>
    public bool WasUsed { get; private set; }

    /// <summary>Forgets what pages were mapped.</summary>
    public void Enter() => _space.Enter(kernel);

    public void Begin() => WasUsed = false;

    public MemoryReadResult Read(ulong address, Span<byte> destination)
    {
        if (record.Read(address, destination) == MemoryReadResult.Ok)
        {
            return MemoryReadResult.Ok;
        }

        if (_space.Read(address, destination, out _) != destination.Length)
        {
            return MemoryReadResult.Unreadable;
        }

        WasUsed = true;
        return MemoryReadResult.Ok;
    }

    /// <summary>The kernel's own tables, which every task's share: init_mm's (arch/x86/kernel/head_64.S, arch/x86/include/asm/pgtable_32.h).</summary>
    /// <returns>Null where they are not known.</returns>
    public static async ValueTask<PagingMode?> TablesAsync(KernelTarget target, CancellationToken cancellationToken) =>
        (await GuestTables.TranslateAsync(target, "init_top_pgt", cancellationToken) ?? await GuestTables.TranslateAsync(target, "swapper_pg_dir", cancellationToken)) is { } root
            && await GuestTables.ModeAsync(target.Machine, cancellationToken) is { } mode
            ? mode with { Root = root }
            : null;
}
