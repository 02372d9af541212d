using KTrace.Debugger;
using KTrace.Debugger.Phases;
using KTrace.Debugger.Sessions;
using KTrace.Tracing;
using KTrace.Tui.Views;

namespace KTrace.Tui.Commands;

/// <summary>What lets the machine run: each ends at a stop, which is shown.</summary>
internal sealed class RunCommands(CommandContext context, DisplayCommands displays)
{
    public async ValueTask ExecuteAsync(DebuggerCommand command, CancellationToken cancellationToken)
    {
        var session = context.Session;
        switch (command)
        {
            case DebuggerCommand.Continue { Count: var count }:
                if (count > 1)
                {
                    var reached = session.LastStop is SessionStop.Stopped { Cause: StopCause.AtBreakpoint { Breakpoints: [var first, ..] } } ? first
                        : throw new TargetException("continue COUNT passes hits of the breakpoint that was reached; none was", "ignore N COUNT names one");
                    reached.IgnoreCount = count - 1;
                }

                await session.ContinueAsync(cancellationToken);
                break;
            case DebuggerCommand.Step { Kind: var kind, Count: var count }:
                await session.StepAsync(kind, count, cancellationToken);
                break;
            case DebuggerCommand.Finish:
                await session.FinishAsync(await context.FrameAsync(cancellationToken), cancellationToken);
                break;
            case DebuggerCommand.Until { Place: var place }:
                await session.UntilAsync(place is null ? null : await context.PlaceAsync(place, cancellationToken), cancellationToken);
                break;
            case DebuggerCommand.Advance { Place: var place }:
                await session.AdvanceAsync(await context.PlaceAsync(place, cancellationToken), cancellationToken);
                break;
            case DebuggerCommand.Reverse { IsStep: var isStep }:
                await session.ReverseAsync(isStep, cancellationToken);
                break;
        }

        await ShowAsync(cancellationToken);
    }

    /// <summary>Why and where the machine stands.</summary>
    public async ValueTask ShowAsync(CancellationToken cancellationToken)
    {
        var session = context.Session;
        TraceRecord.Hit? path = null;
        string? location = null;
        var prints = new List<TracePrint>();
        if (session.LastStop is SessionStop.Stopped stopped)
        {
            if (session.Map?.Unwind.IsText(stopped.ProgramCounter) != true && (await session.LocateAsync(cancellationToken)).Phase is not (BootPhase.Kernel or BootPhase.User))
            {
                location = await PhaseText.OfAsync(session, cancellationToken);
            }
            else
            {
                path = await context.CallPathAsync(cancellationToken);
                prints.AddRange(await PrintsAsync(stopped.Cause, cancellationToken));
            }
        }

        context.Output.Write(new SessionStopView(session.LastStop, path, location, prints, context.Sources));
        if (session.LastStop is SessionStop.Stopped)
        {
            await displays.ShowAsync(cancellationToken);
        }
    }

    private async ValueTask<List<TracePrint>> PrintsAsync(StopCause cause, CancellationToken cancellationToken)
    {
        var prints = new List<TracePrint>();
        if (cause is StopCause.AtBreakpoint { Breakpoints: var reached })
        {
            foreach (var expression in reached.SelectMany(b => b.Actions.Prints))
            {
                prints.Add(await context.Session.PrintAsync(expression.Text, 0, cancellationToken));
            }
        }
        else if (cause is StopCause.FunctionReturned { Value: { } value })
        {
            prints.Add(new TracePrint("returned", value.Type.ToString(), (ulong?)value.Number, await context.Session.TextAsync(value, cancellationToken)));
        }

        return prints;
    }
}
