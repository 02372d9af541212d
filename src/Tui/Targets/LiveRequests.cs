using KTrace.Debugger.Sessions;
using KTrace.Tui.Commands;

namespace KTrace.Tui.Targets;

/// <summary>What requests mean for a machine: which let it run, and which can be done while it does.</summary>
internal static class LiveRequests
{
    /// <summary>What lets the machine run; null: the request does not.</summary>
    public static Func<ValueTask<SessionStop>>? Runs(LiveSession live, TargetRequest request)
    {
        var session = live.Session;
        return request switch
        {
            TargetRequest.Continue => () => session.ContinueAsync(),
            TargetRequest.Step { Kind: var kind, Count: var count } => () => session.StepAsync(kind, count),
            TargetRequest.Finish { Frame: var frame } => () => session.FinishAsync(frame),
            TargetRequest.RunTo { Place: var place } => async () => await session.AdvanceAsync(await live.Executor.PlaceAsync(place, default)),
            TargetRequest.Reverse { IsStep: var isStep } => () => session.ReverseAsync(isStep),
            TargetRequest.Command { Text: var line } when Parsed(line) is DebuggerCommand.Continue or DebuggerCommand.Step or DebuggerCommand.Finish or DebuggerCommand.Until
                or DebuggerCommand.Advance or DebuggerCommand.Reverse => async () =>
                {
                    await live.Executor.ExecuteAsync(CommandParser.Parse(line), default);
                    return session.LastStop;
                },
            _ => null,
        };
    }

    /// <summary>The command of a line; null: it is none.</summary>
    public static DebuggerCommand? Parsed(string line)
    {
        try
        {
            return CommandParser.Parse(line);
        }
        catch (CommandSyntaxException)
        {
            // Whoever executes it says so.
            return null;
        }
    }

    /// <summary>For this a running guest is stopped for a moment; or it is answered without.</summary>
    public static bool IsBreakpoint(TargetRequest request) => request is TargetRequest.ToggleBreakpoint or TargetRequest.EnableBreakpoint or TargetRequest.DeleteBreakpoint
        || (request is TargetRequest.Command { Text: var line } && Parsed(line) is DebuggerCommand.Break { Place: not null } or DebuggerCommand.Delete or DebuggerCommand.Enable
            or DebuggerCommand.Condition or DebuggerCommand.Ignore or DebuggerCommand.Info { Topic: "breakpoints" } or DebuggerCommand.Help or DebuggerCommand.Send);
}
