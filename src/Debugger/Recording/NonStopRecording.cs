using System.Globalization;
using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Reading;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Debugger.Tracepoints;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Debugger.Recording;

/// <summary>The part of a recording that needs no stops: hits come out of the ring into the same trace.</summary>
internal sealed class NonStopRecording : INonStopProgress, IReturnReclaimer, IDisposable
{
    private const int InterruptSignal = 2;

    private readonly KernelTarget _target;
    private readonly TraceWriter _writer;
    private readonly HitNumbers _numbers;
    private readonly IRecordingProgress? _progress;
    private readonly ArgumentScope _arguments;
    private readonly NonStopTracing _tracing;
    private NonStopMemory? _memory;
    private ProgramTable? _programs;
    private NonStopHits? _hits;
    private StandingStacks? _standing;
    private GuestUptime? _uptime;
    private SharedPiece? _tickRate;
    private bool _isPauseAsked;

    // What the kernel's own clock said when the time-stamp counter was read as 0.
    private double? _uptimeAtZero;
    private ulong? _firstClock;
    private bool _isRateWritten;

    public NonStopRecording(
        KernelTarget target, IReadOnlyList<Tracepoint> tracepoints, ArmedTracepoints stops, WayPlanner planner, CaptureOptions options, RequestCounts counts,
        TraceWriter writer, HitNumbers numbers, IRecordingProgress? progress)
    {
        (_target, _writer, _numbers, _progress, _arguments) = (target, writer, numbers, progress, options.Arguments);
        _tracing = new NonStopTracing(target, tracepoints, stops, planner, options, counts, this) { PauseGuest = PauseGuest, IsEnough = () => numbers.IsFull };
    }

    public ValueTask ArmAsync(CancellationToken cancellationToken) => _tracing.ArmAsync(cancellationToken);

    public bool IsMine(ulong pc) => _tracing.IsMine(pc);

    public async ValueTask OnStopAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        await _tracing.OnStopAsync(registers, cancellationToken);
        if (_memory is not null && _uptime is null)
        {
            _uptime = await GuestUptime.TryFindAsync(_target, cancellationToken);
            _tickRate = await FindTickRateAsync(cancellationToken);
            if (_target.Memory.Ram is { } ram && await LateMemory.TablesAsync(_target, cancellationToken) is { } kernel)
            {
                _hits?.LookBehind(ram, kernel);
            }
        }
    }

    public ValueTask OnLoadingAsync(Symbols.Kernel.KernelModule module, CancellationToken cancellationToken) => _tracing.ArmModuleAsync(module, cancellationToken);

    public ValueTask OnFreedAsync(string module, bool isInitOnly, CancellationToken cancellationToken) => _tracing.ForgetModuleAsync(module, isInitOnly, cancellationToken);

    /// <summary>Code was loaded or freed.</summary>
    public void ForgetNames() => _hits?.ForgetNames();

    /// <summary>The guest was let go, and nobody else touches map or trace until it stops.</summary>
    public void GuestRuns()
    {
        _isPauseAsked = false;
        _tracing.Drain?.GuestRuns();
    }

    /// <summary>The guest stands still, or has ended: what it wrote before is in the trace now.</summary>
    /// <exception cref="TargetException">The ring was written over.</exception>
    /// <exception cref="TraceWriteException">The trace cannot be written.</exception>
    public void GuestStopped() => _tracing.Drain?.GuestStopped();

    /// <summary>After <see cref="GuestStopped"/>: records too that CPUs were writing when the guest stopped.</summary>
    public ValueTask SettleAsync(CancellationToken cancellationToken) => _tracing.SettleAsync(cancellationToken);

    /// <summary>Puts the guest's code back as it was.</summary>
    public ValueTask RestoreAsync(CancellationToken cancellationToken) => _tracing.RestoreAsync(cancellationToken);

    /// <summary>Walks a stack of the guest that stands still.</summary>
    public UnwindResult Unwind(RegisterSet registers, IMemoryReader memory) =>
        _standing?.Unwind(registers, memory) ?? StackUnwinder.Unwind(registers, memory, _target.Map.Unwind);

    /// <summary>Whether the guest stopped only because the ring was to be read.</summary>
    public bool WasPause(StopReply.Stopped stop) => Volatile.Read(ref _isPauseAsked) && stop.Signal == InterruptSignal;

    /// <summary>Writes what became of it all. The guest stands still, or has ended.</summary>
    /// <param name="baseline">Seconds that the guest takes without tracepoints, by its own clock; null: not known.</param>
    public void WriteFigures(double? baseline)
    {
        if (_hits is null || _tracing is not { Reader: { } reader, Drain: { } drain })
        {
            return;
        }

        foreach (var (condition, calls) in _programs!.Unreadable())
        {
            Warn(string.Create(CultureInfo.InvariantCulture, $"if {condition.Text}: at {calls} calls memory that it needs could not be read, and it did not hold"));
        }

        WriteClockRate();
        var counts = _hits.Counts;
        _writer.Write(new TraceRecord.NonStop
        {
            Hits = counts.Hits,
            Dropped = (long)reader.Dropped,
            Waits = (long)reader.Waits,
            ReturnsMissed = (long)reader.ReturnsMissed,
            Broken = counts.Broken,
            Cut = counts.Cut,
            Pauses = drain.Pauses,
            PausedSeconds = drain.PausedSeconds,
            RingSize = _memory!.Layout.RingSize,
            GuestSeconds = _uptime?.Seconds,
            BaselineGuestSeconds = baseline,
        });
    }

    public void Dispose()
    {
        _tracing.Dispose();
        _uptime?.Dispose();
        _tickRate?.Dispose();
    }

    RingRecordTaker INonStopProgress.Begin(NonStopMemory memory, ProgramTable programs, ArmedSites sites)
    {
        (_memory, _programs) = (memory, programs);
        var options = new NonStopReadingOptions
        {
            Arguments = _arguments, Code = programs.Blocks, Moved = sites.Moved,
            Stubs = programs.Returns is { } returns ? new ReturnStubs(returns.StubAddress(0), (int)(returns.StubAddress(1) - returns.StubAddress(0))) : null,
        };
        _hits = new NonStopHits(_target.Map, sites, _writer, _numbers, options, _progress, this);
        _standing = new StandingStacks(_target.Map, options, memory);
        return Take;
    }

    private void Take(RingRecord record)
    {
        // Whatever is read is read after it was written, so that the least difference is the nearest to the truth.
        if (!_hits!.Take(record))
        {
            return;
        }

        _firstClock ??= record.Clock;
        if (_uptime?.Seconds is > 0 and var now && TicksPerSecond is { } rate)
        {
            _uptimeAtZero = Math.Min(_uptimeAtZero ?? double.MaxValue, now - (record.Clock / rate));
            if (!_isRateWritten)
            {
                WriteClockRate();
            }
        }
    }

    private double? TicksPerSecond => _tickRate?.LoadUInt32(0) is > 0 and var kilohertz ? kilohertz * 1000.0 : null;

    /// <summary>As far as it is known by now; the last one holds.</summary>
    private void WriteClockRate()
    {
        if (TicksPerSecond is { } rate)
        {
            // Jiffies begin late: no hit was before the kernel.
            _writer.Write(new TraceRecord.ClockRate(rate, Math.Max(_uptimeAtZero ?? double.MinValue, -((_firstClock ?? 0) / rate))));
            _isRateWritten = true;
        }
    }

    void INonStopProgress.Changed(Tracepoint tracepoint) => _writer.Write(new TraceRecord.TracepointResolved(tracepoint.ToRecord()));

    void INonStopProgress.Note(string text) => _writer.Write(new TraceRecord.Note(text));

    void INonStopProgress.Warn(string text) => Warn(text);

    private void Warn(string text)
    {
        _writer.Write(new TraceRecord.Warning(text));
        _progress?.Note(text, true);
    }

    void IReturnReclaimer.Reclaim(int index) => _memory?.FreeReturn(index);

    /// <summary>tsc_khz (arch/x86/kernel/tsc.c): how fast the time-stamp counter runs, once the kernel knows; 0 before.</summary>
    private async ValueTask<SharedPiece?> FindTickRateAsync(CancellationToken cancellationToken) =>
        await GuestTables.TranslateAsync(_target, "tsc_khz", cancellationToken) is { } physical ? _target.Memory.Ram?.TryShare(physical, sizeof(uint)) : null;

    /// <summary>From the drain's thread.</summary>
    private void PauseGuest()
    {
        Volatile.Write(ref _isPauseAsked, true);
        _ = InterruptAsync();

        async Task InterruptAsync()
        {
            try
            {
                await _target.Client.InterruptAsync();
            }
            catch (RspException)
            {
                // It has stopped or ended meanwhile: whoever waits for that is told.
            }
        }
    }
}
