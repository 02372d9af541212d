using System.Globalization;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Modules;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Reading;
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
    private double? _baseline;

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
        if (Capture.Baseline)
        {
            _baseline = await BaselineBoot.MeasureAsync(scenario, store, status, cancellationToken);
            status.Note(
                _baseline is { } seconds ? string.Create(CultureInfo.InvariantCulture, $"without tracepoints the guest takes {seconds:0.000} s by its own clock") : "the guest's clock cannot be read: no baseline",
                _baseline is null);
        }

        await using var boot = await LiveBoot.PrepareAsync(scenario, store, status, cancellationToken);
        foreach (var lack in boot.Image.Lacks)
        {
            status.Note($"{boot.Image.File.Path}: {lack}", true);
        }

        var (resolver, planner) = TracingPlan.Of(boot, Capture);
        var tracepoints = resolver.Resolve(boot.Prepared.Scenario.Tracepoints);
        foreach (var note in tracepoints.Select(t => t.Note).OfType<string>().Concat(resolver.Notes))
        {
            status.Note(note, false);
        }

        if (planner is not null && Capture.Choice == CaptureChoice.NeverStop)
        {
            // What cannot be is said before anything boots.
            resolver.Plan(tracepoints, planner);
        }

        await boot.StartAsync(cancellationToken);
        var header = await BootHeader.OfAsync(boot.Prepared, boot.Image, boot.Qemu.Version, store, cancellationToken);
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
        var console = boot.ConsoleBytes();
        var scenario = boot.Prepared.Scenario;
        var limits = new RecorderLimits(scenario.MaxHits, scenario.Timeout is { } seconds ? TimeSpan.FromSeconds(seconds) : null, scenario.Until, Capture.Arguments != ArgumentScope.None);
        await using var machine = await boot.ConnectAsync(null, cancellationToken);
        var target = await boot.IdentifyAsync(machine, status, cancellationToken);
        using var writer = new TraceWriter(output);
        var jiffies = await BootHeader.JiffiesPerSecondAsync(target, cancellationToken);
        writer.Write(header with { Format = planner is null ? TraceFormat.First : TraceFormat.Compact, Slide = target.Map.Slide, JiffiesPerSecond = jiffies, HasContexts = true, Tracepoints = [.. tracepoints.Select(t => t.ToRecord())] });
        var recorder = new Recorder(target, tracepoints, boot.Modules, writer, console, limits, status, planner is null ? null : new NonStopRequest(planner, Capture, _baseline));
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
}
