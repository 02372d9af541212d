// How a kernel that is still being loaded is caught as it comes up, wherever KASLR puts it, without slowing the boot (facts of 6.1 and 6.12 on QEMU 7.2; docs/decisions.md):
// 1. x86-64: a read watchpoint on the first GiB of the direct map, at its base with 4 and with 5 levels of page tables. copy_bootdata (arch/x86/kernel/head64.c) is the first
//    code that touches it. TCG takes a watchpoint of any length; processors watch 8 bytes at most, so KVM refuses.
// 2. Otherwise a hardware breakpoint at the decompressor's 32-bit entry (code32_start, 0x100000 unless a boot loader chose another place), where ESI points to the boot
//    parameters (Documentation/arch/x86/boot.rst, "32-bit Boot Protocol"). x86-64: a watchpoint of 8 bytes on their alias in the direct map, for copy_bootdata as before.
//    i386: one of 4 bytes on their last word, at its physical address: nothing reads it before startup_32 (head_32.S) copies the whole page, with paging still off.
//    Breakpoints in the decompressor itself will not do: TCG runs every instruction of a page that has one on its own, and unpacking takes 30 times as long.
// 3. Where the boot loader enters elsewhere, or the stub refuses that too: a hardware breakpoint at start_kernel as linked, and looking ten times a second.
// Whatever stopped the guest, the build id in its memory decides.
using KTrace.Debugger.Breakpoints;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Phases;

/// <summary>What a stop meant for a kernel's arrival.</summary>
public abstract record ArrivalStep
{
    private ArrivalStep()
    {
    }

    /// <summary>The stop has nothing to do with it.</summary>
    public sealed record NotMine : ArrivalStep;

    /// <summary>The stop was asked for here, and there is more to come: let the guest run on.</summary>
    public sealed record GoOn : ArrivalStep;

    /// <summary>The kernel is in memory, and the CPU stands in its first code.</summary>
    /// <param name="Slide">KASLR's displacement at virtual addresses, in bytes.</param>
    public sealed record Arrived(ulong Slide) : ArrivalStep;
}

/// <summary>The ways of catching a kernel.</summary>
[Flags]
public enum ArrivalWays
{
    /// <summary>Looking now and then, with a breakpoint at start_kernel for a kernel that was not moved. Always there.</summary>
    Looking = 0,

    /// <summary>A watchpoint on the first GiB of the direct map (x86-64; TCG only).</summary>
    WatchedRange = 1,

    /// <summary>A breakpoint at the decompressor's entry, then a watchpoint on a few bytes of the boot parameters.</summary>
    WatchedParameters = 2,
}

/// <summary>Waits for a kernel that is about to be booted: sets what stops the guest, and is asked at each stop.</summary>
public sealed class KernelArrival(Machine machine, KernelImage image)
{
    private const ulong DecompressorEntry = 0x100000;
    private const int DirectMapLength = 1 << 30;

    // struct boot_params, arch/x86/include/uapi/asm/bootparam.h: the setup header at 0x1f1 with "HdrS" at 0x202; 4 KiB, of which the last 276 bytes are padding.
    private const ulong SignatureOffset = 0x202;
    private const ulong WatchedOffset64 = 0x1f0;
    private const ulong WatchedOffset32 = 0xffc;

    // A boot loader may run code of its own at the address.
    private const int MaximumEntries = 64;

    /// <summary>Bases of the direct map before setup_arch moves it: with 4 and with 5 levels of page tables (Documentation/arch/x86/x86_64/mm.rst).</summary>
    private static readonly ulong[] DirectMapBases = [0xffff888000000000, 0xff11000000000000];

    private readonly KernelLocator _locator = new(image);
    private readonly List<BreakpointSite> _sites = [];
    private int _entries;
    private bool _isWatching;

    /// <summary>What may be used, for stubs and boot loaders of which more is known.</summary>
    public ArrivalWays Ways { get; init; } = ArrivalWays.WatchedRange | ArrivalWays.WatchedParameters;

    /// <summary>Whether the guest has to be stopped now and then to look: nothing that was set is sure to stop it.</summary>
    public bool NeedsLooking => !_isWatching;

    /// <summary>How long it may run between two looks.</summary>
    public TimeSpan LookInterval { get; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Sets what stops the guest when the kernel comes.</summary>
    public async ValueTask ArmAsync(CancellationToken cancellationToken)
    {
        if (image.Architecture is X86_64 && Ways.HasFlag(ArrivalWays.WatchedRange))
        {
            _isWatching = await TryWatchAsync(DirectMapBases.Select(address => new BreakpointSite(BreakpointKind.ReadWatchpoint, address, DirectMapLength)), cancellationToken);
        }

        if (!_isWatching)
        {
            if (Ways.HasFlag(ArrivalWays.WatchedParameters))
            {
                await TryAddAsync(new BreakpointSite(BreakpointKind.Hardware, DecompressorEntry), cancellationToken);
            }

            if (image.TryFindSymbol("start_kernel", out var start))
            {
                await TryAddAsync(new BreakpointSite(BreakpointKind.Hardware, start.Value), cancellationToken);
            }
        }
    }

    /// <summary>To be asked at each stop until the kernel has arrived.</summary>
    /// <param name="look">Look for the kernel although nothing of this stopped the guest.</param>
    /// <exception cref="TargetException">A kernel came up, and it is another one.</exception>
    public async ValueTask<ArrivalStep> StoppedAsync(bool look, CancellationToken cancellationToken)
    {
        if (machine.Client.LastStop is not StopReply.Stopped stop)
        {
            return new ArrivalStep.NotMine();
        }

        var registers = await machine.RegistersAsync(null, cancellationToken);
        var pc = registers[image.Architecture.ProgramCounter];
        var isWatched = stop.Reason is StopReason.Watchpoint watch && _sites.Any(s => s.IsWatchpoint && watch.Address - s.Address < (ulong)s.Length);
        if (!isWatched && pc == DecompressorEntry && _sites.Contains(new BreakpointSite(BreakpointKind.Hardware, DecompressorEntry)))
        {
            await AtDecompressorAsync(registers[image.Architecture.IndexOf(image.Architecture is X86_64 ? "rsi" : "esi")] & uint.MaxValue, cancellationToken);
            return new ArrivalStep.GoOn();
        }

        var isMine = isWatched || _sites.Any(s => !s.IsWatchpoint && s.Address == pc);
        if (!isMine && !look)
        {
            return new ArrivalStep.NotMine();
        }

        if (await _locator.TryFindAsync(machine, cancellationToken) is { } slide)
        {
            await DisarmAsync(cancellationToken);
            return new ArrivalStep.Arrived(slide);
        }

        return !isMine ? new ArrivalStep.NotMine()
            : isWatched && machine.Architecture is X86_64 ? throw await _locator.NotThisKernelAsync(machine, cancellationToken)
            : new ArrivalStep.GoOn();
    }

    /// <summary>Removes what was set.</summary>
    public async ValueTask DisarmAsync(CancellationToken cancellationToken)
    {
        foreach (var site in _sites)
        {
            await machine.Sites.RemoveAsync(site, this, cancellationToken);
        }

        _sites.Clear();
        _isWatching = false;
    }

    /// <summary>Arms, and lets the guest run until the kernel is there; returns at once when it is there already.</summary>
    /// <returns>The slide in bytes.</returns>
    /// <exception cref="TargetException">Another kernel came up, or the machine ended before.</exception>
    public async Task<ulong> WaitAsync(CancellationToken cancellationToken)
    {
        if (await _locator.TryFindAsync(machine, cancellationToken) is { } there)
        {
            return there;
        }

        await ArmAsync(cancellationToken);
        while (true)
        {
            await machine.Client.ContinueAsync(cancellationToken);
            await RunAsync(cancellationToken);
            switch (await StoppedAsync(look: true, cancellationToken))
            {
                case ArrivalStep.Arrived arrived:
                    return arrived.Slide;

                // A stub that does not say that it was the watchpoint.
                case ArrivalStep.NotMine when !NeedsLooking:
                    throw await _locator.NotThisKernelAsync(machine, cancellationToken);
            }
        }
    }

    /// <summary>Waits for a stop; where none is sure to come, stops the guest when it is time to look.</summary>
    private async ValueTask RunAsync(CancellationToken cancellationToken)
    {
        var client = machine.Client;
        using var pause = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        if (NeedsLooking)
        {
            pause.CancelAfter(LookInterval);
        }

        try
        {
            EnsureAlive(await client.WaitForStopAsync(pause.Token));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            await client.InterruptAsync(cancellationToken);
            EnsureAlive(await client.WaitForStopAsync(cancellationToken));
        }
    }

    /// <summary>The decompressor begins, if ESI points to boot parameters; what they are watched for is set.</summary>
    private async ValueTask AtDecompressorAsync(ulong parameters, CancellationToken cancellationToken)
    {
        var entry = new BreakpointSite(BreakpointKind.Hardware, DecompressorEntry);
        var signature = new byte[4];
        var found = await machine.Memory.TryReadAsync(parameters + SignatureOffset, signature, cancellationToken) && signature.AsSpan().SequenceEqual("HdrS"u8);
        if (found || ++_entries >= MaximumEntries)
        {
            _sites.Remove(entry);
            await machine.Sites.RemoveAsync(entry, this, cancellationToken);
        }

        if (found)
        {
            (ulong, int)[] places = image.Architecture is X86_64
                ? [.. DirectMapBases.Select(address => (address + parameters + WatchedOffset64, 8))]
                : [(parameters + WatchedOffset32, 4)];
            _isWatching = await TryWatchAsync(places.Select(p => new BreakpointSite(BreakpointKind.ReadWatchpoint, p.Item1, p.Item2)), cancellationToken)
                || await TryWatchAsync(places.Select(p => new BreakpointSite(BreakpointKind.AccessWatchpoint, p.Item1, p.Item2)), cancellationToken);
        }
    }

    /// <summary>All of them, or none.</summary>
    private async ValueTask<bool> TryWatchAsync(IEnumerable<BreakpointSite> sites, CancellationToken cancellationToken)
    {
        var before = _sites.Count;
        foreach (var site in sites)
        {
            if (!await TryAddAsync(site, cancellationToken))
            {
                foreach (var added in _sites[before..])
                {
                    await machine.Sites.RemoveAsync(added, this, cancellationToken);
                }

                _sites.RemoveRange(before, _sites.Count - before);
                return false;
            }
        }

        return true;
    }

    private async ValueTask<bool> TryAddAsync(BreakpointSite site, CancellationToken cancellationToken)
    {
        try
        {
            await machine.Sites.AddAsync(site, this, cancellationToken);
            _sites.Add(site);
            return true;
        }
        catch (RspException e) when (e.Kind is RspErrorKind.ErrorReply or RspErrorKind.Unsupported)
        {
            return false;
        }
    }

    private static void EnsureAlive(StopReply stop)
    {
        if (stop is not StopReply.Stopped)
        {
            throw new TargetException("the machine ended before its kernel came up", "look at the console: is the kernel image bootable, and is it for this machine?");
        }
    }
}
