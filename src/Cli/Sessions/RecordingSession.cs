using System.Globalization;
using System.Text.Json;
using System.Threading.Channels;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Tracepoints;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;
using KTrace.Tracing;

namespace KTrace.Cli.Sessions;

/// <summary>How a recording went.</summary>
/// <param name="File">The trace.</param>
/// <param name="UntilSeen">False when --until was given and the text never came.</param>
internal sealed record RecordingOutcome(string File, RecordingResult Result, bool UntilSeen);

/// <summary>
/// One recorded boot: prepares a scenario, starts QEMU, identifies the kernel, records, and ends QEMU in every case. Boot and Debugger meet here.
/// </summary>
internal sealed class RecordingSession(Scenario scenario, KernelStore store, RecordingStatus status)
{
    /// <summary>A kernel that has not begun after so long, never will (a boot loader's menu, an image for another machine).</summary>
    private static readonly TimeSpan MaximumComeUp = TimeSpan.FromMinutes(5);

    private long? _recorded;

    /// <summary>Record the arguments of every frame.</summary>
    public bool Arguments { get; init; } = true;

    /// <summary>Checks everything that can be checked without booting, then boots and records into <paramref name="output"/>.</summary>
    public async Task<RecordingOutcome> RunAsync(string output, CancellationToken cancellationToken)
    {
        foreach (var request in scenario.Tracepoints)
        {
            TracepointRequest.Parse(request);
        }

        TraceOutput.Check(output);
        var prepared = await PreparedBoot.PrepareAsync(Pinned(scenario), store, null, status, cancellationToken);
        var image = OpenKernel(prepared);
        foreach (var lack in image.Lacks)
        {
            status.Note($"{image.File.Path}: {lack}", true);
        }

        using var modules = new ModuleFiles(ModulePlaces(prepared));
        var tracepoints = new TracepointResolver(image, modules).Resolve(prepared.Scenario.Tracepoints);
        foreach (var tracepoint in tracepoints.Where(t => t.Note is not null))
        {
            status.Note(tracepoint.Note!, false);
        }

        var limit = prepared.Scenario.Timeout is { } seconds && seconds < QemuProcess.DefaultStartTimeout.TotalSeconds ? TimeSpan.FromSeconds(seconds) : QemuProcess.DefaultStartTimeout;
        await using var qemu = await QemuProcess.StartAsync(prepared.CommandLine, limit, cancellationToken);
        var header = await HeaderAsync(prepared, image, qemu.Version, cancellationToken);
        status.Booting(qemu);
        try
        {
            return await RecordAsync(prepared.Scenario, qemu, image, modules, tracepoints, header, output, prepared.CommandLine.ToShell(), cancellationToken);
        }
        catch (RspException e) when (e.Kind is RspErrorKind.Disconnected)
        {
            throw await QemuEndedAsync(qemu, e, output);
        }
    }

    private async Task<RecordingOutcome> RecordAsync(
        Scenario boot, QemuProcess qemu, KernelImage image, ModuleFiles modules, IReadOnlyList<Tracepoint> tracepoints,
        TraceRecord.Header header, string output, string commandLine, CancellationToken cancellationToken)
    {
        var console = Channel.CreateUnbounded<ReadOnlyMemory<byte>>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
        _ = PumpAsync(qemu.Console.Output, console.Writer);
        var limits = new RecorderLimits(boot.MaxHits, boot.Timeout is { } seconds ? TimeSpan.FromSeconds(seconds) : null, boot.Until, Arguments);
        using var comeUp = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var patience = limits.Timeout is { } given && given < MaximumComeUp ? given : MaximumComeUp;
        comeUp.CancelAfter(patience);

        KernelTarget target;
        try
        {
            target = await KernelTarget.BootAsync(RspEndpoint.Parse("unix:" + qemu.GdbSocket), image, new RspClientOptions(), status, comeUp.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TargetException(
                string.Create(CultureInfo.InvariantCulture, $"the kernel did not come up within {patience.TotalSeconds:0.#} s; {(qemu.Console.LastLine is { Length: > 0 } line ? "last on the console: " + line : "its console is empty")}"),
                patience < MaximumComeUp ? "give it more time with --timeout" : "boot it without ktrace to see what it does: " + commandLine);
        }

        await using (target)
        {
            using var writer = new TraceWriter(output);
            var jiffies = await JiffiesPerSecondAsync(target, cancellationToken);
            writer.Write(header with { Slide = target.Map.Slide, JiffiesPerSecond = jiffies, HasContexts = true, Tracepoints = [.. tracepoints.Select(t => t.ToRecord())] });
            var recorder = new Recorder(target, tracepoints, modules, writer, console.Reader, limits, status);
            RecordingResult result;
            try
            {
                result = await recorder.RunAsync(() => EndInWords(qemu), cancellationToken);
            }
            finally
            {
                _recorded = writer.Hits;
            }

            return new RecordingOutcome(output, result, boot.Until is null || result.End == RecordingEnd.ConsoleText);
        }
    }

    /// <summary>jiffies_64 starts at INITIAL_JIFFIES, 300 seconds before its lower half wraps: early in boot its value tells HZ.</summary>
    private static async Task<int?> JiffiesPerSecondAsync(KernelTarget target, CancellationToken cancellationToken)
    {
        if (!target.Map.Image.TryFindSymbol("jiffies_64", out var symbol))
        {
            return null;
        }

        var initial = new byte[8];
        if (!target.Map.Image.TryRead(symbol.Value, initial)
            && !await target.Memory.TryReadAsync(target.Map.ToRunTime(symbol.Value), initial, cancellationToken))
        {
            return null;
        }

        var before = (1L << 32) - (long)BitConverter.ToUInt64(initial);
        return before > 0 && before % 300 == 0 && before / 300 is >= 24 and <= 10000 ? (int)(before / 300) : null;
    }

    private static string? EndInWords(QemuProcess qemu) => qemu.ShutdownReason switch
    {
        null or "guest-shutdown" => null,
        "guest-reset" => "guest rebooted (a reset or a triple fault)",
        "guest-panic" => "guest panicked",
        var other => "QEMU ended: " + other,
    };

    private async Task<BootException> QemuEndedAsync(QemuProcess qemu, RspException cause, string output)
    {
        var remedy = _recorded is { } hits ? $"ktrace show {output} has the {hits.ToString(CultureInfo.InvariantCulture)} hits before it" : null;
        var ended = await Task.WhenAny(qemu.Exited, Task.Delay(TimeSpan.FromSeconds(2))) == qemu.Exited;
        if (!ended)
        {
            return new BootException("QEMU's gdb stub closed the connection: " + cause.Message, remedy, inner: cause);
        }

        var errors = (await qemu.ReadErrorsAsync()).Trim();
        var code = (await qemu.Exited).ToString(CultureInfo.InvariantCulture);
        return new BootException($"QEMU ended with exit code {code} while the guest was being recorded{(errors.Length == 0 ? "" : ": " + errors)}", remedy, inner: cause);
    }

    private static async Task PumpAsync(ChannelReader<ConsolePiece> pieces, ChannelWriter<ReadOnlyMemory<byte>> bytes)
    {
        await foreach (var piece in pieces.ReadAllAsync())
        {
            bytes.TryWrite(piece.Bytes);
        }

        bytes.TryComplete();
    }

    /// <summary>"stock" means another kernel next month: the trace says which one it was.</summary>
    private Scenario Pinned(Scenario unpinned) => unpinned.Kernel is { Image: null, Tree: null, IsGuestsOwn: false } choice && store.Find(choice.Release ?? KernelStore.Stock) is { } found
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

    private async Task<TraceRecord.Header> HeaderAsync(PreparedBoot prepared, KernelImage image, string qemuVersion, CancellationToken cancellationToken)
    {
        var boot = new Dictionary<string, object?> { ["scenario"] = Plain(prepared.Scenario.ToJson()) };
        if (prepared.Kernel is { } kernel)
        {
            boot["kernel"] = new Dictionary<string, object?> { ["file"] = Path.GetFileName(kernel.Image), ["sha256"] = await PreparedBoot.HashAsync(kernel.Image, cancellationToken) };
        }

        if (prepared.InitramfsPath is { } initramfs)
        {
            boot["initramfs"] = new Dictionary<string, object?> { ["file"] = Path.GetFileName(initramfs), ["sha256"] = await PreparedBoot.HashAsync(initramfs, cancellationToken) };
        }

        boot["qemu"] = new Dictionary<string, object?>
        {
            ["version"] = qemuVersion,
            ["command"] = prepared.CommandLine.ToShell().Replace(store.CacheDirectory, "$XDG_CACHE_HOME/ktrace", StringComparison.Ordinal),
        };
        return new TraceRecord.Header
        {
            Tool = ToolVersion.Text,
            Arch = image.Architecture.Name,
            Kernel = new TraceKernel(image.Release, image.BuildId.IsEmpty ? null : Convert.ToHexStringLower(image.BuildId.AsSpan()), image.Banner),
            Boot = TraceBoot.From(boot),
        };
    }

    /// <summary>JSON as the dictionaries that a trace header is made of.</summary>
    private static object? Plain(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().ToDictionary(p => p.Name, p => Plain(p.Value)),
        JsonValueKind.Array => element.EnumerateArray().Select(Plain).ToList(),
        JsonValueKind.String => element.GetString(),
        JsonValueKind.Number => element.TryGetInt64(out var whole) ? whole : element.GetDouble(),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => null,
    };
}
