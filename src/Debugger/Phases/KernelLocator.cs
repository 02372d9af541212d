// Where a kernel runs that is there already. In order: the pc stands in its text; the interrupt table's divide-error gate names its handler (arch/x86/kernel/idt.c: asm_exc_divide_error
// since 5.8, divide_error before, early_idt_handler_array before traps are set up); its build id is at one of the 512 places.
// With page table isolation a CPU in user mode does not map the build id: then it is read by the kernel's own page tables (KernelTables).
using KTrace.Debugger.Memory;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Phases;

/// <summary>Finds a kernel in a stopped guest.</summary>
internal sealed class KernelLocator(KernelImage image)
{
    private const ulong PagingEnabled = 1UL << 31;

    private static readonly string[] DivideErrorHandlers = ["asm_exc_divide_error", "divide_error", "early_idt_handler_array"];

    private readonly KernelPlacement _placement = new(image);

    /// <summary>The slide at virtual addresses in bytes; null when this kernel is not there, or has not reached them on x86-64.</summary>
    public ValueTask<ulong?> TryFindAsync(Machine machine, CancellationToken cancellationToken) => TryFindAsync(machine, machine.StoppedCpu, cancellationToken);

    /// <summary>The same by all CPUs, one after the other: one of them may stand in firmware (system management mode, a wait for its start).</summary>
    public async ValueTask<ulong?> TryFindByAnyAsync(Machine machine, CancellationToken cancellationToken)
    {
        var count = (await machine.ThreadsAsync(cancellationToken)).Count;
        try
        {
            for (var i = 0; i < count; i++)
            {
                if (await TryFindAsync(machine, (machine.StoppedCpu + i) % count, cancellationToken) is { } slide)
                {
                    return slide;
                }
            }

            return null;
        }
        finally
        {
            await machine.SelectAsync(machine.StoppedCpu, CancellationToken.None);
        }
    }

    private async ValueTask<ulong?> TryFindAsync(Machine machine, int cpu, CancellationToken cancellationToken)
    {
        var registers = await machine.RegistersAsync(cpu, cancellationToken);
        var pc = registers[image.Architecture.ProgramCounter];
        var control = image.Architecture.IndexOf("cr0");
        var hasPaging = !registers.IsKnown(control) || (registers[control] & PagingEnabled) != 0;
        await machine.SelectAsync(cpu, cancellationToken);
        if (hasPaging && await _placement.TryFindAsync(machine.Memory, pc, 0, cancellationToken) is { } running)
        {
            return running;
        }

        if (image.Architecture is I386 && await _placement.TryFindAsync(machine.Memory, pc, _placement.PhysicalOffset, cancellationToken) is { } starting)
        {
            // One slide for both kinds of addresses: on i386 kaslr.c chooses the physical place only, and the virtual one follows it.
            return starting;
        }

        if (!hasPaging)
        {
            return null;
        }

        if (await FromInterruptTableAsync(machine, cpu, cancellationToken) is { } handled)
        {
            return handled;
        }

        // With page table isolation a CPU in user mode reaches neither; the kernel's own tables are worth a look, and stay in use for this stop if the kernel is found by them.
        if (await KernelTables.TryFindAsync(machine, cpu, cancellationToken) is { } tables)
        {
            machine.Memory.UseTables(tables);
            if (await FromInterruptTableAsync(machine, cpu, cancellationToken) is { } isolated)
            {
                return isolated;
            }

            machine.Memory.UseTables(null);
        }

        return await new SlideFinder(image, machine.Memory).FindAsync(cancellationToken);
    }

    /// <summary>What to say of a guest whose kernel is another one.</summary>
    public async Task<TargetException> NotThisKernelAsync(Machine machine, CancellationToken cancellationToken)
    {
        var guest = await new SlideFinder(image, machine.Memory).FindForeignBuildIdAsync(cancellationToken);
        return NotThisKernel(guest is null ? "whose build id was not found" : "build " + guest);
    }

    /// <param name="guest">What the guest runs, in words.</param>
    public TargetException NotThisKernel(string guest)
    {
        var own = image.BuildId.IsEmpty ? "without a build id" : $"of build {Convert.ToHexStringLower(image.BuildId.AsSpan())}";
        return new TargetException(
            $"{image.File.Path} ({image.Release ?? "unknown release"}, {own}) is not the kernel that the guest runs ({guest})", "give the vmlinux of the very same build: --vmlinux");
    }

    private async ValueTask<ulong?> FromInterruptTableAsync(Machine machine, int cpu, CancellationToken cancellationToken)
    {
        if (await InterruptGates.TryReadDivideErrorAsync(machine, cpu, cancellationToken) is not { } handler)
        {
            return null;
        }

        foreach (var name in DivideErrorHandlers)
        {
            if (image.TryFindSymbol(name, out var symbol) && (Truncate(handler - symbol.Value) % KernelPlacement.Step) == 0
                && await _placement.IsAtAsync(machine.Memory, Truncate(handler - symbol.Value), cancellationToken))
            {
                return Truncate(handler - symbol.Value);
            }
        }

        return null;
    }

    private ulong Truncate(ulong address) => image.Architecture.WordSize == 4 ? (uint)address : address;
}
