using System.Globalization;
using System.Threading.Channels;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Memory;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Phases;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;

namespace KTrace.Cli.Sessions;

/// <summary>
/// A scenario on its way to a live target: everything that can be checked is checked before QEMU starts, and QEMU is gone when this is disposed. Boot and Debugger meet here.
/// </summary>
internal sealed class LiveBoot : IAsyncDisposable
{
    /// <summary>A kernel that has not begun after so long, never will (a boot loader's menu, an image for another machine).</summary>
    private static readonly TimeSpan MaximumComeUp = TimeSpan.FromMinutes(5);

    private QemuProcess? _qemu;

    private LiveBoot(PreparedBoot prepared, KernelImage image, ModuleFiles modules) => (Prepared, Image, Modules) = (prepared, image, modules);

    public PreparedBoot Prepared { get; }

    public KernelImage Image { get; }

    public ModuleFiles Modules { get; }

    /// <exception cref="InvalidOperationException">QEMU was not started.</exception>
    public QemuProcess Qemu => _qemu ?? throw new InvalidOperationException("QEMU was not started");

    /// <summary>Finds or builds everything that the scenario names.</summary>
    /// <exception cref="BootException">Something is missing, or does not belong together.</exception>
    public static async Task<LiveBoot> PrepareAsync(Scenario scenario, KernelStore store, IBootProgress? progress, CancellationToken cancellationToken)
    {
        var prepared = await PreparedBoot.PrepareAsync(Pinned(scenario, store), store, null, progress, cancellationToken);
        return new LiveBoot(prepared, OpenKernel(prepared), new ModuleFiles(ModulePlaces(prepared)));
    }

    /// <summary>Starts QEMU; the machine stands before its first instruction.</summary>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var limit = Prepared.Scenario.Timeout is { } seconds && seconds < QemuProcess.DefaultStartTimeout.TotalSeconds
            ? TimeSpan.FromSeconds(seconds)
            : QemuProcess.DefaultStartTimeout;
        _qemu = await QemuProcess.StartAsync(Prepared.CommandLine, limit, cancellationToken);
    }

    /// <summary>Connects to the machine as it stands.</summary>
    /// <param name="transcript">Takes what goes over the wire, or null.</param>
    public Task<Machine> ConnectAsync(RspTranscript? transcript, CancellationToken cancellationToken) => Machine.ConnectAsync(
        RspEndpoint.Parse("unix:" + Qemu.GdbSocket), Image.Architecture,
        new MachineOptions { RamFile = Qemu.RamFile, Rsp = new RspClientOptions { Transcript = transcript } }, cancellationToken);

    /// <summary>Lets the machine run to where its kernel is known.</summary>
    /// <exception cref="TargetException">It is another kernel, or does not come up in time.</exception>
    public async Task<KernelTarget> IdentifyAsync(Machine machine, ITargetProgress? progress, CancellationToken cancellationToken)
    {
        using var comeUp = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var patience = Prepared.Scenario.Timeout is { } seconds && seconds < MaximumComeUp.TotalSeconds ? TimeSpan.FromSeconds(seconds) : MaximumComeUp;
        comeUp.CancelAfter(patience);
        try
        {
            return await KernelTarget.IdentifyAsync(machine, Image, progress, comeUp.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TargetException(
                string.Create(CultureInfo.InvariantCulture, $"the kernel did not come up within {patience.TotalSeconds:0.#} s; {(Qemu.Console.LastLine is { Length: > 0 } line ? "last on the console: " + line : "its console is empty")}"),
                patience < MaximumComeUp ? "give it more time with --timeout" : "boot it without ktrace to see what it does: " + Prepared.CommandLine.ToShell());
        }
    }

    /// <summary>The code that runs before the kernel, as far as files have it: the boot image's, and that of build trees.</summary>
    public BootCode OpenBootCode(IEnumerable<string> buildTrees) => BootCode.Open(
        Prepared.Kernel?.Image, [.. buildTrees, .. ((string?[])[Prepared.Scenario.Kernel?.Tree]).OfType<string>()]);

    /// <summary>The guest's console from now on, apart from what the console keeps of it; completes with it. Asked for early, nothing of it is missed.</summary>
    public ChannelReader<ReadOnlyMemory<byte>> ConsoleBytes()
    {
        var bytes = Channel.CreateUnbounded<ReadOnlyMemory<byte>>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
        _ = PumpAsync(Qemu.Console.Output, bytes.Writer);
        return bytes.Reader;

        static async Task PumpAsync(ChannelReader<ConsolePiece> pieces, ChannelWriter<ReadOnlyMemory<byte>> bytes)
        {
            await foreach (var piece in pieces.ReadAllAsync())
            {
                bytes.TryWrite(piece.Bytes);
            }

            bytes.TryComplete();
        }
    }

    /// <summary>Why the machine ended; null: it was powered off.</summary>
    public async Task<string?> EndInWordsAsync() => await Qemu.ReadShutdownReasonAsync() switch
    {
        null or "guest-shutdown" => null,
        "guest-reset" => "guest rebooted (a reset or a triple fault)",
        "guest-panic" => "guest panicked",
        var other => "QEMU ended: " + other,
    };

    /// <summary>The connection was lost: QEMU's own words for it, if it has ended.</summary>
    /// <param name="doing">What was under way, as in "while the guest was being recorded".</param>
    public async Task<BootException> EndedAsync(RspException cause, string doing, string? remedy)
    {
        var ended = await Task.WhenAny(Qemu.Exited, Task.Delay(TimeSpan.FromSeconds(2))) == Qemu.Exited;
        if (!ended)
        {
            return new BootException("QEMU's gdb stub closed the connection: " + cause.Message, remedy, inner: cause);
        }

        var errors = (await Qemu.ReadErrorsAsync()).Trim();
        var code = (await Qemu.Exited).ToString(CultureInfo.InvariantCulture);
        return new BootException($"QEMU ended with exit code {code} while {doing}{(errors.Length == 0 ? "" : ": " + errors)}", remedy, inner: cause);
    }

    public async ValueTask DisposeAsync()
    {
        Modules.Dispose();
        if (_qemu is not null)
        {
            await _qemu.DisposeAsync();
        }
    }

    /// <summary>"stock" means another kernel next month: the trace says which one it was.</summary>
    private static Scenario Pinned(Scenario unpinned, KernelStore store) => unpinned.Kernel is { Image: null, Tree: null, IsGuestsOwn: false } choice && store.Find(choice.Release ?? KernelStore.Stock) is { } found
        ? unpinned with { Kernel = choice with { Release = found.Release } }
        : unpinned;

    private static KernelImage OpenKernel(PreparedBoot prepared)
    {
        var path = prepared.Kernel?.Vmlinux ?? prepared.Scenario.Kernel?.Vmlinux
            ?? throw new BootException("there is no vmlinux with debug information for this kernel", "give it with --vmlinux, or fetch a kernel that has one: ktrace kernel fetch");
        if (!File.Exists(path))
        {
            throw new BootException($"{path}: there is no such vmlinux", "give the kernel's ELF file with --vmlinux");
        }

        var image = KernelImage.Open(path);
        if (prepared.Kernel is { } kernel && BootImage.Release(kernel.Image) is { } boots && image.Release is { } release && boots != release)
        {
            throw new BootException($"{kernel.Image} is {boots}, but {path} is {release}: they are not of one build", "give the vmlinux that belongs to the kernel: --vmlinux");
        }

        return image;
    }

    private static IEnumerable<string> ModulePlaces(PreparedBoot prepared) =>
        ((string?[])[prepared.Kernel?.ModulesDirectory, prepared.Kernel?.DebugModulesDirectory, prepared.Scenario.Kernel?.Modules, prepared.Scenario.Kernel?.DebugModules])
        .OfType<string>().Distinct();
}
