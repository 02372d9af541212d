using System.Collections.Immutable;
using KTrace.Debugger.Attach;
using KTrace.Debugger.Memory;
using KTrace.Debugger.Modules;
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

/// <summary>A guest whose kernel is known: connected, identified, with its kernel's map.</summary>
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

    /// <summary>
    /// Takes over a machine in which a kernel may run already: finds it and proves that it is this vmlinux, and reads which modules are loaded. A machine that is still in its
    /// firmware is let run until its kernel comes up, as in a boot. Afterwards the guest is stopped.
    /// </summary>
    /// <param name="modules">Where files of its modules are; null: modules are not looked for.</param>
    /// <exception cref="TargetException">Another kernel, or the machine ended before its kernel came up.</exception>
    /// <exception cref="RspException">The stub is broken or silent.</exception>
    public static async Task<KernelTarget> AttachAsync(
        Machine machine, KernelImage image, ModuleFiles? modules, ITargetProgress? progress, CancellationToken cancellationToken)
    {
        var locator = new KernelLocator(image);
        if (await locator.TryFindByAnyAsync(machine, cancellationToken) is not { } slide)
        {
            return await KernelIdentity.TryReadAsync(machine, cancellationToken) is { } other
                ? throw locator.NotThisKernel(other.Words)
                : await IdentifyAsync(machine, image, progress, cancellationToken);
        }

        progress?.Identified(slide);
        var map = new KernelMap(image, slide);
        return new KernelTarget(machine, map) { Notes = modules is null ? [] : await LoadModulesAsync(machine, map, modules, cancellationToken) };
    }

    /// <summary>What makes modules that were loaded before poorer than they could be, for people.</summary>
    public ImmutableArray<string> Notes { get; private init; } = [];

    /// <summary>Leaves the guest running, with nothing set to stop it, and closes the connection.</summary>
    /// <exception cref="RspException">The connection broke before.</exception>
    public async Task DetachAsync(CancellationToken cancellationToken = default)
    {
        if (await Client.InterruptAsync(cancellationToken))
        {
            await Client.WaitForStopAsync(cancellationToken);
        }

        if (Client.State == RspState.Stopped)
        {
            // QEMU drops its breakpoints on D too, but not every stub does.
            await Machine.Sites.RemoveAllAsync(cancellationToken);
            await Client.DetachAsync(cancellationToken);
        }
    }

    public ValueTask DisposeAsync() => Machine.DisposeAsync();

    private static async ValueTask<ImmutableArray<string>> LoadModulesAsync(Machine machine, KernelMap map, ModuleFiles files, CancellationToken cancellationToken)
    {
        var notes = ImmutableArray.CreateBuilder<string>();
        foreach (var (loaded, isInitDone) in await new ModuleTracker(map, machine.Memory, files).ReadAllAsync(cancellationToken))
        {
            map.Load(loaded.Module);
            if (isInitDone)
            {
                map.FreeInit(loaded.Module.Name);
            }

            notes.AddRange(loaded.Warnings);
        }

        return notes.ToImmutable();
    }
}
