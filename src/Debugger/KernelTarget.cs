using KTrace.Debugger.Memory;
using KTrace.Debugger.Phases;
using KTrace.Rsp;
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
    internal KernelTarget(Machine machine, KernelMap map)
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
        var slide = await new KernelArrival(machine, image).WaitAsync(cancellationToken);
        if (machine.Memory.Ram is { } ram)
        {
            // Firmware has run since it was mapped.
            await ram.LocateAsync(machine.Client, cancellationToken);
        }

        progress?.Identified(slide);
        return new KernelTarget(machine, new KernelMap(image, slide));
    }

    public ValueTask DisposeAsync() => Machine.DisposeAsync();
}
