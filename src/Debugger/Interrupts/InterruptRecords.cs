using KTrace.Symbols.Kernel;
using KTrace.Tracing;

namespace KTrace.Debugger.Interrupts;

/// <summary>Everything about interrupts at one stop, as a trace keeps it.</summary>
public sealed class InterruptRecords(Machine machine, KernelMap map)
{
    // Its types are looked up when it is first asked for: most recordings never do.
    private IrqSnapshot? _snapshot;

    /// <param name="hit">The hit that it belongs to, or null.</param>
    public async ValueTask<TraceRecord.Interrupts> ReadAsync(long? hit, TraceClock? clock, CancellationToken cancellationToken = default)
    {
        _snapshot ??= new IrqSnapshot(machine, map);
        var irqs = await _snapshot.ReadAsync(cancellationToken);
        var controllers = await InterruptControllers.ReadAsync(machine, cancellationToken);
        return new TraceRecord.Interrupts
        {
            HitSequence = hit, Clock = clock, Irqs = irqs, LocalApics = controllers.LocalApics, IoApics = controllers.IoApics, Pics = controllers.Pics,
        };
    }
}
