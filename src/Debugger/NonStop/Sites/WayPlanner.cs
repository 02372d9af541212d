using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.NonStop.Sites;

public sealed record PlannedPlace(CaptureWay Way, string Reason, TracerNop? Nop = null, CompiledCondition? Condition = null, RelocationPlan? Relocation = null);

public sealed class WayPlanner(KernelImage image, CaptureOptions options)
{
    private readonly TraceableFunctions _kernel = TraceableFunctions.Of(image);
    private readonly Dictionary<KernelModule, TraceableFunctions> _modules = [];
    private string? _refused;

    public void Refuse(string whyNot) => _refused = whyNot;

    public PlannedPlace Plan(Tracepoint tracepoint, CodePlace place, KernelModule? module)
    {
        _ = options;
        if (_refused is not null) return new(CaptureWay.Stop, _refused);
        if (place.Kind != CodePlaceKind.Entry || tracepoint.Offset != 0) return new(CaptureWay.Stop, "not an entry");
        var a = tracepoint.Request.Actions;
        if (a.Condition is not null || !a.Prints.IsEmpty || a.Interrupts) return new(CaptureWay.Stop, "needs more");
        var functions = _kernel;
        if (module is not null && !_modules.TryGetValue(module, out functions!)) _modules[module] = functions = TraceableFunctions.Of(module);
        return functions.Find(place.Address) is { } nop ? new(CaptureWay.NonStop, "no-op", nop) : new(CaptureWay.Stop, functions.WhyNot(place.Address));
    }
}

public sealed record CaptureOptions
{
    public CaptureChoice Choice { get; init; }
    public bool Lossy { get; init; }
    public int StackBytes { get; init; } = 4096;
    public int? RingBytes { get; init; }
    public int? RingLimit { get; init; }
}
