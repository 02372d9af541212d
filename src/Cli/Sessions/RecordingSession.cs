using System.Globalization;
using System.Text.Json;
using System.Threading.Channels;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Modules;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Reading;
using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Sites;
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
    private long? _recorded;

    /// <summary>How hits are taken.</summary>
    public CaptureOptions Capture { get; init; } = CaptureOptions.Default;

    /// <summary>Record the interrupt controllers and the kernel's irq descriptors at every hit, and at the end.</summary>
    public bool Interrupts { get; init; }

    /// <summary>Checks everything that can be checked without booting, then boots and records into <paramref name="output"/>.</summary>
    public async Task<RecordingOutcome> RunAsync(string output, CancellationToken cancellationToken)
    {
        foreach (var request in scenario.Tracepoints)
        {
            TracepointRequest.Parse(request);
        }

        TraceOutput.Check(output);
        await using var boot = await LiveBoot.PrepareAsync(scenario, store, status, cancellationToken);
        foreach (var lack in boot.Image.Lacks)
        {
            status.Note($"{boot.Image.File.Path}: {lack}", true);
        }

        var relocation = new EntryRelocation(boot.Image);
        var resolver = new TracepointResolver(boot.Image, boot.Modules) { Capture = Capture.Choice, Except = Capture.Except, CanRelocate = relocation.CanMove };
        var tracepoints = resolver.Resolve(boot.Prepared.Scenario.Tracepoints);
        foreach (var note in tracepoints.Select(t => t.Note).OfType<string>().Concat(resolver.Notes))
        {
            status.Note(note, false);
        }

        var planner = Capture.Choice == CaptureChoice.AlwaysStop ? null : new WayPlanner(Capture, null, resolver.Traceable) { RelocateEntry = relocation.Plan };
        if (planner is not null && Capture.Choice == CaptureChoice.NeverStop)
        {
            // What cannot be is said before anything boots.
            resolver.Plan(tracepoints, planner);
        }

        await boot.StartAsync(cancellationToken);
        var header = await HeaderAsync(boot.Prepared, boot.Image, boot.Qemu.Version, cancellationToken);
        if (Cannot(boot) is { } whyNot)
        {
            planner?.Refuse(whyNot);
        }

        status.Booting(boot.Qemu);
        try
        {
            return await RecordAsync(boot, tracepoints, planner, header, output, cancellationToken);
        }
        catch (RspException e) when (e.Kind is RspErrorKind.Disconnected)
        {
            var remedy = _recorded is { } hits ? $"ktrace show {output} has the {hits.ToString(CultureInfo.InvariantCulture)} hits before it" : null;
            throw await boot.EndedAsync(e, "the guest was being recorded", remedy);
        }
    }

    private async Task<RecordingOutcome> RecordAsync(
        LiveBoot boot, IReadOnlyList<Tracepoint> tracepoints, WayPlanner? planner, TraceRecord.Header header, string output, CancellationToken cancellationToken)
    {
        var console = Channel.CreateUnbounded<ReadOnlyMemory<byte>>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
        _ = PumpAsync(boot.Qemu.Console.Output, console.Writer);
        var scenario = boot.Prepared.Scenario;
        var limits = new RecorderLimits(scenario.MaxHits, scenario.Timeout is { } seconds ? TimeSpan.FromSeconds(seconds) : null, scenario.Until, Capture.Arguments != ArgumentScope.None);
        await using var machine = await boot.ConnectAsync(null, cancellationToken);
        var target = await boot.IdentifyAsync(machine, status, cancellationToken);
        using var writer = new TraceWriter(output);
        var jiffies = await JiffiesPerSecondAsync(target, cancellationToken);
        writer.Write(header with { Format = planner is null ? TraceFormat.First : TraceFormat.Compact, Slide = target.Map.Slide, JiffiesPerSecond = jiffies, HasContexts = true, Tracepoints = [.. tracepoints.Select(t => t.ToRecord())] });
        var recorder = new Recorder(target, tracepoints, boot.Modules, writer, console.Reader, limits, status, planner is null ? null : new NonStopRequest(planner, Capture));
        RecordingResult result;
        try
        {
            result = await recorder.RunAsync(boot.EndInWordsAsync, cancellationToken);
        }
        finally
        {
            _recorded = writer.Hits;
        }

        return new RecordingOutcome(output, result, scenario.Until is null || result.End == RecordingEnd.ConsoleText);
    }

    /// <summary>Why this boot cannot be traced without stops, in words for people; null: as far as is known now it can.</summary>
    private static string? Cannot(LiveBoot boot) =>
        boot.Qemu.RamFile is null ? "QEMU does not share the guest's memory (its own memory options were given)"
        : boot.Prepared.CommandLine.Extra.Any(a => a.Contains("rr=", StringComparison.Ordinal)) ? "a deterministic recording or replay: what is read from outside would not be the same in every replay"
        : null;

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

    private static async Task PumpAsync(ChannelReader<ConsolePiece> pieces, ChannelWriter<ReadOnlyMemory<byte>> bytes)
    {
        await foreach (var piece in pieces.ReadAllAsync())
        {
            bytes.TryWrite(piece.Bytes);
        }

        bytes.TryComplete();
    }

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
