using KTrace.Debugger.Memory;
using KTrace.Debugger.Phases;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger;

/// <summary>What happens while a target comes up, for whoever shows it.</summary>
public interface ITargetProgress
{
    /// <summary>The kernel was found in guest memory.</summary>
    void Identified(ulong slide);
}

/// <summary>A guest that is being booted under our control: connected, identified, with its kernel's map.</summary>
public sealed class KernelTarget : IAsyncDisposable
{
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(100);

    private KernelTarget(Machine machine, KernelMap map)
    {
        Machine = machine;
        Map = map;
    }

    public Machine Machine { get; }

    public RspClient Client => Machine.Client;

    public KernelMap Map { get; }

    public GuestMemory Memory => Machine.Memory;

    /// <summary>
    /// Connects to a machine that stands before its first instruction, lets it run to the kernel's own early code, finds the slide, and proves that
    /// the kernel is this vmlinux. Afterwards the guest is stopped there, before start_kernel where the architecture allows it.
    /// </summary>
    /// <exception cref="TargetException">Another kernel, another architecture, or the machine ended before its kernel came up.</exception>
    /// <exception cref="RspException">The stub is broken or silent.</exception>
    public static async Task<KernelTarget> BootAsync(
        RspEndpoint endpoint, KernelImage image, MachineOptions options, ITargetProgress? progress, CancellationToken cancellationToken)
    {
        var machine = await Machine.ConnectAsync(endpoint, image.Architecture, options, cancellationToken);
        try
        {
            return await IdentifyAsync(machine, image, progress, cancellationToken);
        }
        catch
        {
            await machine.DisposeAsync();
            throw;
        }
    }

    /// <summary>The same with all memory read through the stub.</summary>
    public static Task<KernelTarget> BootAsync(
        RspEndpoint endpoint, KernelImage image, RspClientOptions options, ITargetProgress? progress, CancellationToken cancellationToken) =>
        BootAsync(endpoint, image, new MachineOptions { Rsp = options }, progress, cancellationToken);

    /// <summary>The same for a machine that is connected already and stands before its kernel's first instruction in virtual memory.</summary>
    public static async Task<KernelTarget> IdentifyAsync(Machine machine, KernelImage image, ITargetProgress? progress, CancellationToken cancellationToken)
    {
        var slide = await IdentifyAsync(machine.Client, image, machine.Memory, cancellationToken);
        if (machine.Memory.Ram is { } ram)
        {
            // Firmware has run since it was mapped.
            await ram.LocateAsync(machine.Client, cancellationToken);
        }

        progress?.Identified(slide);
        return new KernelTarget(machine, new KernelMap(image, slide));
    }

    public ValueTask DisposeAsync() => Machine.DisposeAsync();

    private static async Task<ulong> IdentifyAsync(RspClient client, KernelImage image, GuestMemory memory, CancellationToken cancellationToken)
    {
        var finder = new SlideFinder(client, image, memory);
        if (finder.CanWatch && await finder.WatchAsync(cancellationToken))
        {
            await client.ContinueAsync(cancellationToken);
            EnsureAlive(await client.WaitForStopAsync(cancellationToken));
            await finder.UnwatchAsync(cancellationToken);
            return await finder.FindAsync(cancellationToken) ?? throw await NotThisKernelAsync(finder, image, cancellationToken);
        }

        return await PollAsync(client, image, finder, cancellationToken);
    }

    /// <summary>
    /// Where no watchpoint can tell (i386, hardware watchpoints of 8 bytes): a breakpoint at start_kernel as linked catches a kernel that was not moved; one that was
    /// is found by stopping now and then and looking.
    /// </summary>
    private static async Task<ulong> PollAsync(RspClient client, KernelImage image, SlideFinder finder, CancellationToken cancellationToken)
    {
        var start = image.TryFindSymbol("start_kernel", out var symbol) ? symbol.Value : (ulong?)null;
        if (start is { } address)
        {
            await client.SendAsync(new InsertBreakpoint(BreakpointKind.Hardware, address), cancellationToken);
        }

        while (true)
        {
            await client.ContinueAsync(cancellationToken);
            using (var pause = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken))
            {
                pause.CancelAfter(PollInterval);
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

            if (await finder.FindAsync(cancellationToken) is { } slide)
            {
                if (start is { } inserted)
                {
                    await client.SendAsync(new RemoveBreakpoint(BreakpointKind.Hardware, inserted), cancellationToken);
                }

                return slide;
            }
        }
    }

    private static void EnsureAlive(StopReply stop)
    {
        if (stop is not StopReply.Stopped)
        {
            throw new TargetException("the machine ended before its kernel came up", "look at the console: is the kernel image bootable, and is it for this machine?");
        }
    }

    private static async Task<TargetException> NotThisKernelAsync(SlideFinder finder, KernelImage image, CancellationToken cancellationToken)
    {
        var own = image.BuildId.IsEmpty ? "without a build id" : $"of build {Convert.ToHexStringLower(image.BuildId.AsSpan())}";
        var guest = await finder.FindForeignBuildIdAsync(cancellationToken);
        return new TargetException(
            $"{image.File.Path} ({image.Release ?? "unknown release"}, {own}) is not the kernel that the guest runs ({(guest is null ? "whose build id was not found" : "build " + guest)})",
            "give the vmlinux of the very same build: --vmlinux");
    }
}
