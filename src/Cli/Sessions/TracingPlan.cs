using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Conditions;
using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Tracepoints;

namespace KTrace.Cli.Sessions;

/// <summary>What finds the places of tracepoints, and what decides how each is traced: the same for a recording and for a dry run.</summary>
/// <param name="Planner">Null where every hit is to stop the machine.</param>
internal sealed record TracingPlan(TracepointResolver Resolver, WayPlanner? Planner)
{
    public static TracingPlan Of(LiveBoot boot, CaptureOptions capture)
    {
        var relocation = new EntryRelocation(boot.Image);
        var resolver = new TracepointResolver(boot.Image, boot.Modules) { Capture = capture.Choice, Except = capture.Except, CanRelocate = relocation.CanMove };
        return new TracingPlan(resolver, capture.Choice == CaptureChoice.AlwaysStop ? null : Planner());

        WayPlanner Planner() => new(capture, null, resolver.Traceable) { CompileCondition = new ConditionCompiler(boot.Image).Compile, RelocateEntry = relocation.Plan };
    }
}
