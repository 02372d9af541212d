using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Debugger.Tracepoints;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Symbols.Values.Expressions;

namespace KTrace.Debugger.NonStop.Sites;

/// <summary>What a trampoline is to do: places with equal needs share a program.</summary>
/// <param name="StackBytes">Of <see cref="TrampolineProgram.StackBytes"/>.</param>
/// <param name="Request">Whose hits are counted together for sampling and "first N"; null when nothing is counted.</param>
public sealed record ProgramNeeds(int StackBytes, long Sample, long? First, bool Returns, CompiledCondition? Condition, TracepointRequest? Request)
{
    public TrampolineProgram ToProgram(int index) => new(index, StackBytes) { Sample = Sample, First = First, Returns = Returns, Condition = Condition };
}

/// <summary>How one place is traced, and what that takes.</summary>
/// <param name="Needs">Of the program; null for a place that stops the machine.</param>
/// <param name="Nop">The tracer's no-op that is to be replaced; null where the entry's first instructions are relocated, or the machine stops.</param>
public sealed record PlannedPlace(PlannedWay Planned, ProgramNeeds? Needs, TracerNop? Nop)
{
    public CaptureWay Way => Planned.Way;

    public string Reason => Planned.Reason;
}

/// <summary>Decides how each place of a tracepoint is traced, and says why.</summary>
/// <param name="options">What was asked for.</param>
/// <param name="cannot">Why this machine cannot be traced without stops (<c>QEMU was started by somebody else</c>), or null: it can.</param>
/// <param name="kernel">Of the kernel, at link-time addresses.</param>
public sealed class WayPlanner(CaptureOptions options, string? cannot, TraceableFunctions kernel)
{
    private readonly Dictionary<string, (KernelModule Module, TraceableFunctions Functions)> _modules = new(StringComparer.Ordinal);
    private readonly Dictionary<TracepointRequest, int> _stops = new(ReferenceEqualityComparer.Instance);

    /// <summary>Compiles a condition for the parameters of a tracepoint's function, or says why it cannot; null: no condition can be compiled.</summary>
    public Func<Tracepoint, Expression, (CompiledCondition? Compiled, string? WhyNot)>? CompileCondition { get; init; }

    /// <summary>
    /// Why the first instructions at an entry (link-time in the kernel, run-time in a module) cannot be relocated; null when they can. Null itself: none can be.
    /// </summary>
    public Func<ulong, KernelModule?, string?>? WhyNotRelocatable { get; init; }

    /// <summary>Why every hit of such a tracepoint has to stop the machine, whatever its place is; null when it need not. Conditions are left to their compiler.</summary>
    public static string? StopReasonOf(TracepointActions actions) => actions switch
    {
        { Interrupts: true } => "irqs reads the interrupt controllers at each hit",
        { Prints.IsEmpty: false } => "print needs the guest's memory as it is at the hit",
        { Return.Interrupts: true } => "irqs reads the interrupt controllers at each return",
        { Return.Condition: not null } => "a condition at the return",
        { Return: { } returned } when !returned.PrintsReturnValueOnly => "print needs the guest's memory as it is at the return",
        _ => null,
    };

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

        if ((cannot ?? WhyStop(tracepoint, place)) is { } reason)
        {
            return Stop(tracepoint, reason);
        }

        var nop = traceable.Find(place.Address);
        var why = "its entry has the tracer's no-op";
        if (nop is null)
        {
            var without = traceable.WhyNot(place.Address);
            if (WhyNotRelocatable is null || without.StartsWith("inside ", StringComparison.Ordinal))
            {
                return Stop(tracepoint, without);
            }

            if (WhyNotRelocatable(place.Address, module) is { } fixedThere)
            {
                return Stop(tracepoint, $"{without}, and {fixedThere}");
            }

            why = $"its first instructions are relocated ({without})";
        }

        var actions = tracepoint.Request.Actions;
        CompiledCondition? condition = null;
        if (actions.Condition is { } expression)
        {
            (condition, var whyNot) = CompileCondition?.Invoke(tracepoint, expression) ?? (null, "conditions need stops here");
            if (condition is null)
            {
                return Stop(tracepoint, "its condition: " + (whyNot ?? "it cannot be asked without stops"));
            }
        }

        var counts = actions.Sample > 1 || actions.First is not null;
        var needs = new ProgramNeeds(options.StackBytes, actions.Sample, actions.First, actions.Return is not null, condition, counts ? tracepoint.Request : null);
        return new PlannedPlace(new PlannedWay(CaptureWay.NonStop, why), needs, nop);
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
        if (!_modules.TryGetValue(module.Name, out var known) || known.Module != module)
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

        var stops = _stops[tracepoint.Request] = _stops.GetValueOrDefault(tracepoint.Request) + 1;
        if (tracepoint.Request.IsGroup && stops > TracepointResolver.MaximumPlaces)
        {
            throw new TargetException(
                $"{tracepoint.Request.Text}: more than {TracepointResolver.MaximumPlaces} of its functions need stops: {reason}",
                "make the pattern narrower, or ask for less at each hit");
        }

        return new PlannedPlace(new PlannedWay(CaptureWay.Stop, reason), null, null);
    }
}
