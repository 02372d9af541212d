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
    private readonly NonStopTracing _tracing;
    private NonStopMemory? _memory;
    private NonStopHits? _hits;
    private bool _isPauseAsked;

    public NonStopRecording(
        KernelTarget target, IReadOnlyList<Tracepoint> tracepoints, ArmedTracepoints stops, WayPlanner planner, CaptureOptions options,
        TraceWriter writer, HitNumbers numbers, IRecordingProgress? progress)
    {
        (_target, _writer, _numbers, _progress) = (target, writer, numbers, progress);
        _tracing = new NonStopTracing(target, tracepoints, stops, planner, options, this) { PauseGuest = PauseGuest, IsEnough = () => numbers.IsFull };
    }

    public ValueTask ArmAsync(CancellationToken cancellationToken) => _tracing.ArmAsync(cancellationToken);

    public bool IsMine(ulong pc) => _tracing.IsMine(pc);

    public ValueTask OnStopAsync(RegisterSet registers, CancellationToken cancellationToken) => _tracing.OnStopAsync(registers, cancellationToken);

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

    /// <summary>Whether the guest stopped only because the ring was to be read.</summary>
    public bool WasPause(StopReply.Stopped stop) => Volatile.Read(ref _isPauseAsked) && stop.Signal == InterruptSignal;

    public void Dispose() => _tracing.Dispose();

    RingRecordTaker INonStopProgress.Begin(NonStopMemory memory, ProgramTable programs, INonStopSites sites)
    {
        _memory = memory;
        _hits = new NonStopHits(_target.Map, sites, _writer, _numbers, new NonStopReadingOptions(), _progress, this);
        return record => _hits.Take(record);
    }

    void INonStopProgress.Changed(Tracepoint tracepoint) => _writer.Write(new TraceRecord.TracepointResolved(tracepoint.ToRecord()));

    void INonStopProgress.Warn(string text)
    {
        _writer.Write(new TraceRecord.Warning(text));
        _progress?.Note(text, true);
    }

    void IReturnReclaimer.Reclaim(int index) => _memory?.FreeReturn(index);

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
