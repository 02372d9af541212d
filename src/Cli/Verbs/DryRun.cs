// ktrace record --dry-run: what would be traced, and how, without a boot.
using System.CommandLine;
using KTrace.Boot.Kernels;
using KTrace.Boot.Scenarios;
using KTrace.Cli.Sessions;
using KTrace.Debugger;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Tracepoints;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

internal static class DryRun
{
    /// <returns>The exit code: 1 when nothing would be traced.</returns>
    public static async Task<int> RunAsync(Scenario scenario, CaptureOptions options, InvocationConfiguration configuration, CancellationToken cancellationToken)
    {
        RecordVerb.EnsureTracepoints(scenario);
        foreach (var request in scenario.Tracepoints.Concat(options.Except))
        {
            // What cannot be read at all is an error, and no answer.
            TracepointRequest.Parse(request);
        }

        using var status = new RecordingStatus();
        await using var boot = await LiveBoot.PrepareAsync(scenario, new KernelStore(), status, cancellationToken);
        var (resolver, planner) = TracingPlan.Of(boot, options);
        try
        {
            var tracepoints = resolver.Resolve(boot.Prepared.Scenario.Tracepoints);
            var plan = resolver.Plan(tracepoints, planner ?? new WayPlanner(options, null, resolver.Traceable));
            status.Dispose();
            ViewOutput.For(configuration.Output).Write(new PlanView(plan, [.. tracepoints.Select(t => t.Note).OfType<string>(), .. resolver.Notes]));
            return CommandRunner.Success;
        }
        catch (TargetException e)
        {
            status.Dispose();
            CommandRunner.Fail(e.Message, e.Remedy);
            return CommandRunner.Different;
        }
    }
}
