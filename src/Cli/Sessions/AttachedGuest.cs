using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Debugger;
using KTrace.Debugger.Attach;
using KTrace.Debugger.Modules;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;

namespace KTrace.Cli.Sessions;

/// <summary>How to find a running guest's files.</summary>
/// <param name="Vmlinux">Named by a person; null: looked for by build id.</param>
/// <param name="BuildTrees">Kernel build trees to look in.</param>
/// <param name="Modules">Folders with .ko files, besides those that belong to the vmlinux.</param>
internal sealed record AttachFiles(string? Vmlinux, IReadOnlyList<string> BuildTrees, IReadOnlyList<string> Modules);

/// <summary>
/// A guest whose QEMU somebody else started with a gdb stub: its kernel identified, its vmlinux found. It is stopped meanwhile; disposing lets it run on, without anything set in it.
/// </summary>
internal sealed class AttachedGuest : IAsyncDisposable
{
    private AttachedGuest(KernelTarget target, ModuleFiles modules) => (Target, Modules) = (target, modules);

    public KernelTarget Target { get; }

    public ModuleFiles Modules { get; }

    /// <param name="say">Takes what was found, for a person.</param>
    /// <exception cref="BootException">No vmlinux of this kernel is known.</exception>
    /// <exception cref="TargetException">The vmlinux that was named is not this kernel's.</exception>
    /// <exception cref="RspException">Nobody listens, or what listens is no usable stub.</exception>
    public static async Task<AttachedGuest> AttachAsync(
        RspEndpoint endpoint, AttachFiles files, RspClientOptions options, ITargetProgress progress, Action<string> say, CancellationToken cancellationToken)
    {
        var client = await RspClient.ConnectAsync(endpoint, options, cancellationToken);
        var machine = new Machine(client, await KernelIdentity.ArchitectureOfAsync(client, cancellationToken));
        try
        {
            say($"{client.Profile.Name} at {endpoint}{(client.Lacks.Count == 0 ? "" : ": " + string.Join(", ", client.Lacks))}");
            var identity = await KernelIdentity.TryReadAsync(machine, cancellationToken);
            say(identity is null ? "no kernel runs in it yet" : identity.Words);
            var image = KernelImage.Open(files.Vmlinux ?? Find(identity, files.BuildTrees));
            var modules = new ModuleFiles([.. files.Modules, .. KernelPlaces.ModulesBeside(image.File.Path, image.Release)]);
            var target = await KernelTarget.AttachAsync(machine, image, modules, progress, cancellationToken);
            foreach (var note in target.Notes)
            {
                say(note);
            }

            return new AttachedGuest(target, modules);
        }
        catch
        {
            await LeaveAsync(machine);
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        Modules.Dispose();
        await LeaveAsync(Target.Machine);
    }

    /// <summary>Whatever went wrong, somebody else's guest is not left standing.</summary>
    private static async Task LeaveAsync(Machine machine)
    {
        try
        {
            if (await machine.Client.InterruptAsync())
            {
                await machine.Client.WaitForStopAsync();
            }

            if (machine.Client.State == RspState.Stopped)
            {
                await machine.Sites.RemoveAllAsync(CancellationToken.None);
                await machine.Client.DetachAsync();
            }
        }
        catch (RspException)
        {
            // Its stub is gone or broken: there is nothing that could be let go.
        }

        await machine.DisposeAsync();
    }

    private static string Find(KernelIdentity? identity, IReadOnlyList<string> buildTrees)
    {
        if (identity is null)
        {
            throw new BootException("the guest runs no kernel yet that would tell which vmlinux to look for", "name it: --vmlinux FILE");
        }

        var places = KernelPlaces.All(new KernelStore(), buildTrees);
        var search = new KernelFinder(places.Vmlinux, places.ByBuildId).Find(identity.BuildId.AsSpan(), identity.Release);
        return search.Path ?? throw new BootException(
            $"no vmlinux of this kernel ({identity.Words}) is known: {search.Words}{string.Concat(search.Looked.Select(l => "\n  " + l))}",
            "name it with --vmlinux FILE, or the tree that it was built in with --build-tree DIR; ktrace kernel fetch brings Debian's");
    }
}
