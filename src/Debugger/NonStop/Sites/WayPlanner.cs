using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Debugger.Tracepoints;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Symbols.Values.Expressions;

namespace KTrace.Debugger.NonStop.Sites;

/// <summary>Decides how each place of a tracepoint is traced, and says why. May be asked again and again, before a boot and during it.</summary>
/// <param name="options">What was asked for.</param>
/// <param name="cannot">Why this machine cannot be traced without stops (<c>QEMU was started by somebody else</c>), or null: it can.</param>
/// <param name="kernel">Of the kernel, at link-time addresses.</param>
public sealed class WayPlanner(CaptureOptions options, string? cannot, TraceableFunctions kernel)
{
    private const string HasNop = "its entry has the tracer's no-op";

    private readonly Dictionary<string, (KernelModule Module, TraceableFunctions Functions)> _modules = new(StringComparer.Ordinal);
    private readonly Dictionary<TracepointRequest, HashSet<int>> _stops = new(ReferenceEqualityComparer.Instance);
    private string? _cannot = cannot;

    /// <summary>Compiles a condition for the parameters of the function at a place (in the module, or the kernel), or says why it cannot; null: no condition can be compiled.</summary>
    public Func<CodePlace, KernelModule?, Expression, (CompiledCondition? Compiled, string? WhyNot)>? CompileCondition { get; init; }

    /// <summary>
    /// Plans to move the first instructions at an entry without a no-op (link-time in the kernel, run-time in a module), or says why they cannot be moved; null: none can.
    /// </summary>
    public Func<ulong, KernelModule?, (RelocationPlan? Plan, string? WhyNot)>? RelocateEntry { get; init; }

    /// <summary>Why every hit of such a tracepoint has to stop the machine, whatever its place is; null when it need not. Conditions are left to their compiler.</summary>
    public static string? StopReasonOf(TracepointActions actions) => actions switch
    {
        { Interrupts: true } => "irqs reads the interrupt controllers at each hit",
        { Prints.IsEmpty: false } => "print reads the guest's memory as it is at the hit",
        { Return.Interrupts: true } => "irqs reads the interrupt controllers at each return",
        { Return.Condition: not null } => "its return has a condition",
        { Return: { } returned } when !returned.PrintsReturnValueOnly => "print reads the guest's memory as it is at the return",
        _ => null,
    };

    /// <summary>This machine cannot be traced without stops after all: from now on every place gets them, for this reason.</summary>
    public void Refuse(string whyNot) => _cannot = whyNot;

    /// <summary>Forgets a module that was unloaded.</summary>
    public void Forget(string module) => _modules.Remove(module);

    /// <param name="place">At its link-time address in the kernel, where it runs in a module.</param>
    /// <param name="module">The module that it lies in, or null.</param>
    /// <exception cref="TargetException">--no-stop was given, and the place needs stops; or so many places of one pattern need stops that the guest would crawl.</exception>
    public PlannedPlace Plan(Tracepoint tracepoint, CodePlace place, KernelModule? module) => Plan(tracepoint, place, module is null ? kernel : Of(module), module);

    /// <param name="traceable">Of the object that the place lies in.</param>
    internal PlannedPlace Plan(Tracepoint tracepoint, CodePlace place, TraceableFunctions traceable, KernelModule? module)
    {
        if (options.Choice == CaptureChoice.AlwaysStop)
        {
            return Stop(tracepoint, "--stop");
        }

        if ((_cannot ?? WhyStop(tracepoint, place)) is { } reason)
        {
            return Stop(tracepoint, reason);
        }

        RelocationPlan? relocation = null;
        var (nop, why) = (traceable.Find(place.Address), HasNop);
        if (nop is null)
        {
            why = traceable.WhyNot(place.Address);
            if (RelocateEntry is null || !traceable.IsEntry(place.Address))
            {
                return Stop(tracepoint, why);
            }

            (relocation, var whyNot) = RelocateEntry(place.Address, module);
            if (relocation is null)
            {
                return Stop(tracepoint, $"{why}; its first instructions stay: {whyNot}");
            }

            why = $"its first instructions are moved ({why})";
        }

        var actions = tracepoint.Request.Actions;
        CompiledCondition? condition = null;
        if (actions.Condition is { } expression)
        {
            (condition, var whyNot) = CompileCondition?.Invoke(place, module, expression) ?? (null, "it is asked of the guest's memory");
            if (condition is null)
            {
                return Stop(tracepoint, "its condition: " + (whyNot ?? "it cannot be asked without stops"));
            }

            if (relocation is not null && condition.NeedsView)
            {
                // First instructions are moved before the kernel has mapped what such conditions look at.
                return Stop(tracepoint, $"{traceable.WhyNot(place.Address)}, and its condition reads memory, which asks for the tracer's no-op");
            }
        }

        var counts = actions.Sample > 1 || actions.First is not null;
        var needs = new ProgramNeeds(options.StackBytes, actions.Sample, actions.First, actions.Return is not null, condition, counts ? tracepoint.Request : null);
        return new PlannedPlace(new PlannedWay(CaptureWay.NonStop, why), needs, nop) { Relocation = relocation, IsInit = traceable.IsInit(place.Address) };
    }

    private static string? WhyStop(Tracepoint tracepoint, CodePlace place) => place.Kind switch
    {
        _ when tracepoint.Kind != BreakpointKind.Software => "a hardware breakpoint was asked for",
        CodePlaceKind.Inline => "the call was replaced by the function's body",
        CodePlaceKind.Line => "a line inside a function",
        _ when tracepoint.Offset != 0 => "a place inside the function",
        _ => StopReasonOf(tracepoint.Request.Actions),
    };

    private TraceableFunctions Of(KernelModule module)
    {
        // What is left of a module when its init text is gone is another object with the same code.
        if (!_modules.TryGetValue(module.Name, out var known) || known.Module.Symbolizer != module.Symbolizer)
        {
            _modules[module.Name] = known = (module, TraceableFunctions.Of(module));
        }

        return known.Functions;
    }

    private PlannedPlace Stop(Tracepoint tracepoint, string reason)
    {
        if (options.Choice == CaptureChoice.NeverStop)
        {
            throw new TargetException(
                $"{tracepoint.Title} cannot be traced without stops: {reason}",
                tracepoint.Request.IsGroup ? $"leave it out (--except {tracepoint.Title}), or leave --no-stop out" : "leave --no-stop out, or this tracepoint");
        }

        if (tracepoint.Request.IsGroup)
        {
            if (!_stops.TryGetValue(tracepoint.Request, out var stops))
            {
                _stops[tracepoint.Request] = stops = [];
            }

            if (stops.Add(tracepoint.Id) && stops.Count > TracepointResolver.MaximumPlaces)
            {
                throw new TargetException(
                    $"{tracepoint.Request.Text}: more than {TracepointResolver.MaximumPlaces} of its functions need stops: {reason}", "make the pattern narrower, or ask for less at each hit");
            }
        }

        return new PlannedPlace(new PlannedWay(CaptureWay.Stop, reason), null, null);
    }
}
