using System.Diagnostics;
using System.Globalization;
using System.Threading.Channels;
using KTrace.Debugger.Modules;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Tracepoints;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Debugger.Recording;

/// <summary>What to record, and when to stop besides the guest's own end.</summary>
/// <param name="MaximumHits">After so many hits, or null.</param>
/// <param name="Timeout">After so long since the guest was let go, or null.</param>
/// <param name="Until">When a line of the console contains this text, or null.</param>
/// <param name="Arguments">Record the arguments of every frame.</param>
/// <param name="Interrupts">Record interrupt controllers and irq descriptors at every hit, and at the end if the guest is still there.</param>
public sealed record RecorderLimits(long? MaximumHits, TimeSpan? Timeout, string? Until, bool Arguments = true, bool Interrupts = false);

/// <summary>Asks for tracepoints without stops, where they can be.</summary>
/// <param name="Planner">Decides for each place.</param>
/// <param name="BaselineSeconds">What the guest takes without tracepoints by its own clock, if that was measured; goes into the trace.</param>
public sealed record NonStopRequest(WayPlanner Planner, CaptureOptions Options, double? BaselineSeconds = null);

/// <summary>Live news of a recording. Called from the recording's own task: return quickly.</summary>
public interface IRecordingProgress
{
    void Hit(TraceRecord.Hit hit);

    /// <summary>Hits without stops have come this far: told now and then, as there may be a hundred thousand a second.</summary>
    void Reached(long sequence)
    {
    }

    /// <summary>A module came, a tracepoint was armed, something is missing.</summary>
    void Note(string text, bool isWarning);
}

/// <summary>Why a recording ended.</summary>
public enum RecordingEnd
{
    GuestEnded,
    HitLimit,
    Timeout,
    ConsoleText,
    Interrupted,
}

/// <param name="Hits">Hits in the trace.</param>
/// <param name="Seconds">Wall-clock seconds since the guest was let go.</param>
public sealed record RecordingResult(RecordingEnd End, long Hits, double Seconds);

/// <summary>Lets an identified target run, and writes a record for every hit until there is a reason to stop.</summary>
public sealed class Recorder
{
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(2);

    private readonly KernelTarget _target;
    private readonly IReadOnlyList<Tracepoint> _tracepoints;
    private readonly ModuleFollower _modules;
    private readonly ArmedTracepoints _breakpoints;
    private readonly HitNumbers _numbers;
    private readonly HitRecorder _hits;
    private readonly TraceWriter _writer;
    private readonly ChannelReader<ReadOnlyMemory<byte>> _console;
    private readonly RecorderLimits _limits;
    private readonly IRecordingProgress? _progress;
    private readonly NonStopRecording? _nonStop;
    private readonly double? _baseline;

    /// <param name="console">Bytes of the guest's serial console, as they come; completes when there will be no more.</param>
    /// <param name="writer">Its header is already written.</param>
    public Recorder(
        KernelTarget target, IReadOnlyList<Tracepoint> tracepoints, ModuleFiles modules, TraceWriter writer,
        ChannelReader<ReadOnlyMemory<byte>> console, RecorderLimits limits, IRecordingProgress? progress, NonStopRequest? nonStop = null)
    {
        _target = target;
        _tracepoints = tracepoints;
        _modules = new ModuleFollower(target.Machine, target.Map, modules);
        _breakpoints = new ArmedTracepoints(target.Machine.Sites, target.Map);
        _writer = writer;
        _console = console;
        _limits = limits;
        _progress = progress;
        _numbers = new HitNumbers(limits.MaximumHits);
        _hits = new HitRecorder(target, _breakpoints, writer, limits, _numbers, progress);
        _baseline = nonStop?.BaselineSeconds;
        _nonStop = nonStop is { } way ? new NonStopRecording(target, tracepoints, _breakpoints, way.Planner, way.Options, _hits.Counts, writer, _numbers, progress) : null;
        _hits.Unwinder = _nonStop is { } tracing ? tracing.Unwind : null;
    }

    /// <summary>
    /// Arms the tracepoints and records. The end record is written in every case, errors included, except when the trace itself cannot be written.
    /// </summary>
    /// <param name="guestEnd">Why the machine ended, in words, asked when it has; null: powered off.</param>
    /// <exception cref="RspException">The stub broke while the guest ran.</exception>
    /// <exception cref="TraceWriteException">The disk is full, or the like.</exception>
    public async Task<RecordingResult> RunAsync(Func<Task<string?>>? guestEnd, CancellationToken cancellationToken)
    {
        var elapsed = Stopwatch.StartNew();
        using var hits = _hits;
        using var nonStop = _nonStop;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        if (_limits.Timeout is { } timeout)
        {
            limit.CancelAfter(timeout);
        }

        var console = new ConsoleRecording(_console, _writer, _limits.Until, () => _hits.Clock, limit.Cancel);
        console.Start();
        RecordingEnd end;
        try
        {
            await ArmAsync(limit.Token);
            end = await LoopAsync(elapsed, limit.Token);
        }
        catch (OperationCanceledException)
        {
            end = console.Seen ? RecordingEnd.ConsoleText : cancellationToken.IsCancellationRequested ? RecordingEnd.Interrupted : RecordingEnd.Timeout;
        }
        catch (Exception e) when (e is not TraceWriteException)
        {
            // Whatever went wrong, the hits before it are worth an end that says so.
            TryReadRing();
            await TryEndAsync(console, "error: " + e.Message, elapsed);
            throw;
        }

        var isHeld = end != RecordingEnd.GuestEnded && (_nonStop is not null || _limits.Interrupts) && await HoldGuestAsync();
        _nonStop?.GuestStopped();
        if (isHeld)
        {
            await FinishRecordsAsync();
        }

        if (_limits.Interrupts && isHeld)
        {
            await WriteLastInterruptsAsync();
        }

        await console.FinishAsync(end == RecordingEnd.GuestEnded ? LastWords : TimeSpan.Zero);
        if (console.Seen && end == RecordingEnd.GuestEnded)
        {
            // It was among the last words.
            end = RecordingEnd.ConsoleText;
        }

        WarnOfMissingModules();
        var words = end == RecordingEnd.GuestEnded && guestEnd is not null ? await guestEnd() : null;
        WriteEnd(words ?? Reason(end), elapsed);
        return new RecordingResult(end, _numbers.Taken, elapsed.Elapsed.TotalSeconds);
    }

    /// <summary>The recording ends before its guest: lets it stand still, so that what it wrote last can be read.</summary>
    /// <returns>False when it does not stop.</returns>
    private async Task<bool> HoldGuestAsync()
    {
        using var patience = new CancellationTokenSource(LastWords);
        try
        {
            return _target.Client.State == RspState.Stopped
                || (_target.Client.State == RspState.Running && await _target.Client.InterruptAsync(patience.Token)
                    && await _target.Client.WaitForStopAsync(patience.Token) is StopReply.Stopped);
        }
        catch (Exception e) when (e is RspException or OperationCanceledException)
        {
            return false;
        }
    }

    /// <summary>What CPUs were writing when the guest was held, and what came behind it, belongs to the recording. Then the guest's code is its own again: whoever lets it go on finds it as it was.</summary>
    private async Task FinishRecordsAsync()
    {
        using var patience = new CancellationTokenSource(LastWords);
        try
        {
            if (_nonStop is not null)
            {
                await _nonStop.SettleAsync(patience.Token);
                await _nonStop.RestoreAsync(patience.Token);
            }
        }
        catch (Exception e) when (e is RspException or OperationCanceledException)
        {
            Warn("the last records could not be completed, or the guest's code not restored" + (e is RspException ? ": " + e.Message : ""));
        }
    }

    private async Task WriteLastInterruptsAsync()
    {
        using var patience = new CancellationTokenSource(LastWords);
        try
        {
            await _hits.WriteInterruptsAsync(patience.Token);
        }
        catch (Exception e) when (e is RspException or OperationCanceledException)
        {
            Warn("the interrupts at the end could not be read" + (e is RspException ? ": " + e.Message : ""));
        }
    }

    private async Task ArmAsync(CancellationToken cancellationToken)
    {
        if (_nonStop is not null)
        {
            await _nonStop.ArmAsync(cancellationToken);
        }

        foreach (var tracepoint in _tracepoints)
        {
            if (_nonStop is null)
            {
                // In modules too: a guest that was running when it was attached to has some.
                await _breakpoints.ArmAsync(tracepoint, cancellationToken);
            }

            if (tracepoint.WasArmed)
            {
                _writer.Write(new TraceRecord.TracepointResolved(tracepoint.ToRecord()));
            }
        }

        if (await _modules.ArmAsync(cancellationToken) is { } lack)
        {
            Warn(lack);
        }
    }

    /// <summary>
    /// From stop to stop, until the guest ends or there are hits enough. Everything that waits here waits for the stub alone, so that a stop is
    /// answered by the very thread that waited for it (docs/rsp.md): a thread switch costs more than the rest of a hit.
    /// </summary>
    private async Task<RecordingEnd> LoopAsync(Stopwatch elapsed, CancellationToken cancellationToken)
    {
        try
        {
            await _target.Client.ContinueAsync(cancellationToken);
            while (await _target.Client.WaitForStopAsync(cancellationToken) is StopReply.Stopped stop)
            {
                _nonStop?.GuestStopped();
                if (_numbers.IsFull)
                {
                    return RecordingEnd.HitLimit;
                }

                if (_nonStop?.WasPause(stop) == true)
                {
                    await _target.Client.ContinueAsync(cancellationToken);
                }
                else
                {
                    await (_nonStop?.SettleAsync(cancellationToken) ?? ValueTask.CompletedTask);
                    if (_numbers.IsFull)
                    {
                        return RecordingEnd.HitLimit;
                    }

                    await _hits.OnStopAsync(stop, elapsed, OnEventAsync, cancellationToken);
                    if (_numbers.IsFull)
                    {
                        return RecordingEnd.HitLimit;
                    }
                }

                _nonStop?.GuestRuns();
            }
        }
        catch (RspException) when (_target.Client.State == RspState.Exited)
        {
            // The machine ended while a hit was being read: no broken peer, but the end.
        }

        return RecordingEnd.GuestEnded;
    }

    /// <summary>The guest stopped: does something happen here beside hits?</summary>
    private async ValueTask OnEventAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        var pc = registers.ProgramCounter;
        if (_nonStop?.IsMine(pc) == true)
        {
            await _nonStop.OnStopAsync(registers, cancellationToken);
        }

        if (_modules.IsMine(pc))
        {
            await OnModuleAsync(registers, cancellationToken);
        }
    }

    private async ValueTask OnModuleAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        var happened = await _modules.OnStopAsync(registers, cancellationToken);
        if (happened is ModuleEvent.Loading or ModuleEvent.Live or ModuleEvent.Unloaded)
        {
            _hits.ForgetNames();
            _nonStop?.ForgetNames();
        }

        switch (happened)
        {
            case ModuleEvent.Loading loading:
                await OnLoadingAsync(loading.Loaded, cancellationToken);
                break;
            case ModuleEvent.Live live when _nonStop is not null:
                await _nonStop.OnFreedAsync(live.Name, isInitOnly: true, cancellationToken);
                break;
            case ModuleEvent.Unloaded { Module: var gone }:
                if (_nonStop is not null)
                {
                    await _nonStop.OnFreedAsync(gone.Name, isInitOnly: false, cancellationToken);
                }

                foreach (var tracepoint in await _breakpoints.DisarmInModuleAsync(gone.Name, _tracepoints, cancellationToken))
                {
                    _writer.Write(new TraceRecord.TracepointResolved(tracepoint.ToRecord()));
                }

                _writer.Write(new TraceRecord.Note($"module {gone.Name} was unloaded"));
                break;
            case ModuleEvent.Unreadable:
                Warn("a module was loaded and could not be read; its frames have no names");
                break;
        }
    }

    private async ValueTask OnLoadingAsync(LoadedModule loaded, CancellationToken cancellationToken)
    {
        var module = loaded.Module;
        await _breakpoints.DisarmWithinAsync(module, cancellationToken);
        _writer.Write(new TraceRecord.Module(module.Name, module.TextBase, loaded.BuildId.IsEmpty ? null : Convert.ToHexStringLower(loaded.BuildId.AsSpan()), module.File is null ? null : Path.GetFileName(module.File)));
        foreach (var warning in loaded.Warnings)
        {
            Warn(warning);
        }

        if (_nonStop is not null)
        {
            await _nonStop.OnLoadingAsync(module, cancellationToken);
            NoteArmed([.. _tracepoints.Where(t => t.Module == module.Name && t.Address is not null)], module.Name);
            return;
        }

        var (armed, missing) = await _breakpoints.ArmInModuleAsync(module, _tracepoints, cancellationToken);
        foreach (var tracepoint in armed)
        {
            _writer.Write(new TraceRecord.TracepointResolved(tracepoint.ToRecord()));
        }

        NoteArmed(armed, module.Name);

        foreach (var tracepoint in missing)
        {
            Warn($"module {module.Name} has no function '{tracepoint.Symbol}'");
        }
    }

    /// <summary>A set has hundreds of functions in a module: those are a number.</summary>
    private void NoteArmed(IReadOnlyCollection<Tracepoint> armed, string module)
    {
        foreach (var named in armed.Where(t => !t.Request.IsGroup))
        {
            _progress?.Note($"{named.Symbol} armed: module {module} is being loaded", false);
        }

        foreach (var set in armed.Where(t => t.Request.IsGroup).CountBy(t => t.Request.Text))
        {
            _progress?.Note(string.Create(CultureInfo.InvariantCulture, $"{set.Key}: {set.Value} functions armed: module {module} is being loaded"), false);
        }
    }

    /// <summary>A set has hundreds of functions in a module: those are a number.</summary>
    private void WarnOfMissingModules()
    {
        var waiting = _tracepoints.Where(t => !t.WasArmed && t.Module is not null && _target.Map.Modules.All(m => m.Name != t.Module)).ToList();
        foreach (var named in waiting.Where(t => !t.Request.IsGroup))
        {
            Warn($"{named.Symbol} was never armed: module {named.Module} was not loaded");
        }

        foreach (var set in waiting.Where(t => t.Request.IsGroup).CountBy(t => (t.Request.Text, t.Module)))
        {
            Warn(string.Create(CultureInfo.InvariantCulture, $"{set.Key.Text}: {set.Value} functions were never armed: module {set.Key.Module} was not loaded"));
        }
    }

    private void Warn(string text)
    {
        _writer.Write(new TraceRecord.Warning(text));
        _progress?.Note(text, true);
    }

    private void WriteEnd(string reason, Stopwatch elapsed)
    {
        _nonStop?.WriteFigures(_baseline);
        _writer.Write(new TraceRecord.End(_numbers.Taken, reason, elapsed.Elapsed.TotalSeconds) { ActiveSeconds = _hits.ActiveSeconds });
    }

    private async Task TryEndAsync(ConsoleRecording console, string reason, Stopwatch elapsed)
    {
        try
        {
            await console.FinishAsync(LastWords);
            WriteEnd(reason, elapsed);
        }
        catch (TraceWriteException)
        {
            // The first error is the one to report.
        }
    }

    private void TryReadRing()
    {
        try
        {
            _nonStop?.GuestStopped();
        }
        catch (Exception e) when (e is TargetException or TraceWriteException)
        {
            // The first error is the one to report.
        }
    }

    private string Reason(RecordingEnd end) => end switch
    {
        RecordingEnd.GuestEnded => "guest powered off",
        RecordingEnd.HitLimit => "hit limit reached",
        RecordingEnd.Timeout => "time limit reached",
        RecordingEnd.ConsoleText => $"console showed: {_limits.Until}",
        RecordingEnd.Interrupted => "interrupted",
        _ => end.ToString(),
    };
}
