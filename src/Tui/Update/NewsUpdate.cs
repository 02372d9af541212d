using System.Collections.Immutable;
using System.Globalization;
using KTrace.Tracing;
using KTrace.Tui.Panes;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Views;

namespace KTrace.Tui.Update;

/// <summary>What the state becomes by what the target says.</summary>
internal static class NewsUpdate
{
    public static void Apply(Turn turn, TargetNews news)
    {
        var state = turn.State;
        switch (news)
        {
            case TargetNews.Progress progress:
                turn.State = state with { Session = state.Session with { Progress = progress } };
                break;
            case TargetNews.Idle:
                Idle(turn);
                break;
            case TargetNews.Running:
                turn.State = state with
                {
                    Session = state.Session with { Run = RunState.Running, Progress = null, Changes = state.Session.Changes + 1, IsBrief = state.Session is { IsStopped: true, Progress: null } },
                };
                break;
            case TargetNews.Stopped { Stop: var stop }:
                Stopped(turn, stop);
                break;
            case TargetNews.Ended { Reason: var reason }:
                turn.State = state with { IsTyping = false, Session = state.Session.WithoutSteps() with { Run = RunState.Ended, IsBrief = false, Progress = null, EndReason = reason } };
                turn.Log(new TextLine().Add(reason, TextRole.Reason));
                turn.Say(reason);
                break;
            case TargetNews.Able { Abilities: var abilities }:
                turn.State = state with { Abilities = abilities };
                break;
            case TargetNews.Identified { Kernel: var kernel, Slide: var slide }:
                turn.State = state with { Session = state.Session with { Kernel = kernel, Slide = slide } };
                break;
            case TargetNews.ConsoleText { Text: var text }:
                turn.State = state with { Console = state.Console.Append(text) };
                // Answers that were in front were read by now: the guest runs and speaks.
                if (state.Session.Run == RunState.Running && state.Focus != PaneKind.Output && Arrangement.Of(state).Find(PaneKind.Output) is { } answers && answers.Tabs.Contains(PaneKind.Console))
                {
                    turn.State = turn.State.Raise(PaneKind.Console, focus: false);
                }

                break;
            case TargetNews.HitsAdded { Hits: var hits, Hidden: var hidden }:
                HitsAdded(turn, hits, hidden);
                break;
            case TargetNews.HitShown shown:
                HitShown(turn, shown);
                break;
            case TargetNews.HitsCompared compared:
                HitsCompared(turn, compared);
                break;
            case TargetNews.TracesCompared compared:
                Show(turn, new DiffState($"{compared.First} and {compared.Second}", new LaidOutLines(new TracesComparedView(compared))));
                break;
            case TargetNews.Output output:
                Output(turn, output);
                break;
            case TargetNews.Failed { Message: var message, Remedy: var remedy }:
                turn.State = state with { Session = state.Session.WithoutSteps().WithoutBrief() with { Progress = null } };
                turn.Log(Failure(message, remedy));
                turn.Say(new Message(message, remedy, IsWarning: true));
                break;
            case TargetNews.Note { Text: var text, IsWarning: var isWarning }:
                turn.Log(new TextLine().Add(text, isWarning ? TextRole.Warning : TextRole.Reason));
                turn.Say(new Message(text, IsWarning: isWarning));
                break;
            case TargetNews.Breakpoints { Rows: var rows }:
                Breakpoints(turn, rows);
                break;
            case TargetNews.Modules { Rows: var rows }:
                turn.State = state with { Modules = rows };
                break;
            case TargetNews.FrameContents { Frame: var frame }:
                FrameContents(turn, frame);
                break;
            case TargetNews.Watched { Values: var values }:
                turn.State = state with { Variables = state.Variables.WithWatchValues(values) };
                AskMembers(turn, values);
                break;
            case TargetNews.Expanded expanded:
                turn.State = state with { Variables = state.Variables.WithMembers(expanded) };
                AskMembers(turn, expanded.Members);
                break;
            case TargetNews.Instructions { Listing: var listing }:
                turn.State = state with { Listing = listing };
                var code = Math.Max(0, CodeRows.CurrentRow(turn.State, listing));
                turn.State = turn.State.WithPane(PaneKind.Disassembly, state.Pane(PaneKind.Disassembly) with { Cursor = code, Top = 0, Left = 0 });
                break;
            case TargetNews.MemoryRead memory:
                turn.State = state with { Memory = memory, MemoryBefore = state.Memory?.Address == memory.Address ? state.Memory : null };
                break;
            case TargetNews.Interrupts { Table: var table }:
                turn.State = state with { Interrupts = table };
                break;
            case TargetNews.Completions completions:
                PromptKeys.Offer(turn, completions);
                break;
        }
    }

    /// <summary>A frame's recorded arguments in the shape of variables.</summary>
    public static ImmutableArray<ValueRow> Arguments(TraceRecord.Hit hit, int frame) =>
    [
        .. hit.ArgumentsOf(frame).Select(a => new ValueRow(
            ArgumentText.Name(a), a.Name, a.Type, a.IsKnown ? ArgumentText.Value(a) : null, a.Provenance, CanExpand: false, IsArgument: true)),
        .. frame == 0 ? hit.Prints.Select(p => new ValueRow(p.Expression, p.Expression, p.Type, p.Text ?? (p.Value is { } value ? $"0x{value:x}" : null), null, CanExpand: false, p.Error)) : [],
    ];

    private static TextLine Failure(string message, string? remedy) => new TextLine().Add(message, TextRole.Error).Add(remedy is null ? "" : $" ({remedy})", TextRole.Reason);

    private static void Idle(Turn turn)
    {
        var session = turn.State.Session with { Progress = null };
        // A trace is there once it was read; there is nothing that runs.
        turn.State = turn.State with { Session = !turn.State.Abilities.IsLive && session.Run == RunState.Starting ? session with { Run = RunState.Ended } : session };
    }

    private static void Stopped(Turn turn, StopSnapshot stop)
    {
        var state = turn.State;
        var session = state.Session;
        // What was there stays on the screen until the frame's contents come, of another function at least for a moment: a flicker after every step would say nothing.
        var innermost = stop.Path is { Path.Frames: [var first, ..] } ? first : null;
        var before = session is { Shown: null, Stop.Path: not null } && innermost is not null ? session.Frame : null;
        var isSame = before is not null && before.Function == innermost!.Function && before.File == innermost.File;
        turn.State = state with
        {
            Session = session with
            {
                Run = RunState.Stopped, Stop = stop, Progress = null, Shown = null, IsStepping = false, Changes = session.Changes + 1,
                IsBrief = before is not null && !isSame, Frame = isSame ? before! with { Line = innermost!.Line ?? before.Line } : before,
            },
            ChosenFrame = 0,
            Listing = null,
            OpenFrames = [],
            MemoryBefore = state.Memory,
        };
        turn.State = turn.State.WithPane(PaneKind.CallPath, state.Pane(PaneKind.CallPath) with { Cursor = 0, Top = 0 });
        if (stop.Result is { } result)
        {
            turn.Say($"returned {result}");
        }

        if (session.NextSteps is [var next, .. var rest])
        {
            // What was reached on the way is to be looked at.
            var goesOn = session.IsStepping && stop.Hit is null;
            turn.State = turn.State with { Session = turn.State.Session with { IsStepping = goesOn, NextSteps = goesOn ? rest : [] } };
            if (goesOn)
            {
                turn.Ask(next);
            }
        }

        if (!session.HasSentWatches && !state.Variables.Watches.IsEmpty)
        {
            turn.State = turn.State with { Session = turn.State.Session with { HasSentWatches = true } };
            turn.Ask(new TargetRequest.Watch(state.Variables.Watches));
        }

        if (state.MemoryExpression.Length > 0 && Arrangement.Of(state).Find(PaneKind.Memory) is not null && state.Memory is { } memory)
        {
            turn.Ask(new TargetRequest.ReadMemory(string.Create(CultureInfo.InvariantCulture, $"0x{memory.Address:x}"), memory.Bytes.Length));
        }

        if (Arrangement.Of(state).Find(PaneKind.Interrupts) is not null)
        {
            turn.Ask(new TargetRequest.ReadInterrupts());
        }
    }

    private static void FrameContents(Turn turn, FrameSnapshot frame)
    {
        // An answer to a question that nobody has any more: a frame was chosen since.
        if (frame.Frame != turn.State.ChosenFrame || (turn.State.Session.Shown is not null && turn.State.Abilities.IsLive))
        {
            return;
        }

        turn.State = turn.State with
        {
            Session = turn.State.Session with { Frame = frame, IsBrief = turn.State.Session is { IsBrief: true, IsStopped: false } },
            Variables = turn.State.Session.Shown is not null && frame.Variables.IsDefaultOrEmpty ? turn.State.Variables : turn.State.Variables.WithVariables(frame.Variables),
        };
        AskMembers(turn, turn.State.Variables.Variables);
        var source = frame is { Source: not null, Line: { } line } ? line - 1 : 0;
        if (frame.Source is null && frame.Code is { } instead)
        {
            source = Math.Max(0, CodeRows.CurrentRow(turn.State, instead)) + SourcePane.WhyRows;
        }

        Center(turn, PaneKind.Source, source);
        if (frame.Code is { } code && turn.State.Listing is null)
        {
            Center(turn, PaneKind.Disassembly, Math.Max(0, CodeRows.CurrentRow(turn.State, code)));
        }
    }

    /// <summary>The cursor on a row; where that is not on the screen, it comes to the middle.</summary>
    private static void Center(Turn turn, PaneKind kind, int row)
    {
        var pane = turn.State.Pane(kind);
        var page = turn.Page(kind);
        var top = row >= pane.Top + 1 && row < pane.Top + page - 2 ? pane.Top : Math.Max(0, row - (page / 2));
        turn.State = turn.State.WithPane(kind, pane with { Cursor = row, Top = top });
    }

    /// <summary>What was open before is read again: a step does not close a tree.</summary>
    private static void AskMembers(Turn turn, ImmutableArray<ValueRow> values)
    {
        const int AtOnce = 32;
        if (values.IsDefault || turn.State.Session.Shown is not null)
        {
            return;
        }

        foreach (var value in values.Where(v => v.CanExpand && turn.State.Variables.Open.Contains(v.Expression) && !turn.State.Variables.Members.ContainsKey(v.Expression)).Take(AtOnce))
        {
            if (turn.State.Variables.Rows.Any(r => r.Value.Expression == value.Expression && r.IsOpen))
            {
                turn.Ask(new TargetRequest.Expand(value.Expression));
            }
        }
    }

    private static void HitsAdded(Turn turn, ImmutableArray<HitSummary> hits, long hidden)
    {
        var isFirst = turn.State.Timeline.All.Count == 0;
        turn.State = turn.State with { Timeline = turn.State.Timeline.Add(hits) with { Hidden = hidden } };
        if (hits.IsEmpty || turn.State.Abilities.IsLive)
        {
            return;
        }

        var wanted = turn.State.Abilities.FirstHit;
        if (wanted is { } sequence && hits[0].Sequence <= sequence && hits[^1].Sequence >= sequence && turn.State.Timeline.RowOf(sequence) is >= 0 and var row)
        {
            turn.State = turn.State.WithPane(PaneKind.Hits, turn.State.Pane(PaneKind.Hits) with { Cursor = row });
            turn.Ask(new TargetRequest.ShowHit(sequence));
        }
        else if (isFirst && wanted is null)
        {
            turn.Ask(new TargetRequest.ShowHit(hits[0].Sequence));
        }
    }

    private static void HitShown(Turn turn, TargetNews.HitShown shown)
    {
        var state = turn.State;
        // Answers come in order, but the cursor may be further by now: only the last one asked for counts in a trace.
        if (!state.Abilities.IsLive && state.Pane(PaneKind.Hits).Cursor is var row && row < state.Timeline.Count && state.Timeline[row].Sequence != shown.Hit.Sequence
            && state.Timeline.RowOf(shown.Hit.Sequence) >= 0 && state.Session.Shown is not null)
        {
            return;
        }

        turn.State = state with
        {
            Session = state.Session with { Shown = shown, Frame = null },
            ChosenFrame = 0,
            OpenFrames = [],
            Variables = state.Variables.WithVariables(Arguments(shown.Hit, 0)),
        };
        turn.State = turn.State.WithPane(PaneKind.CallPath, state.Pane(PaneKind.CallPath) with { Cursor = 0, Top = 0 });
        if (!state.Abilities.IsLive)
        {
            turn.Ask(new TargetRequest.SelectFrame(0));
        }
    }

    private static void HitsCompared(Turn turn, TargetNews.HitsCompared compared) => Show(turn, new DiffState(
        string.Create(CultureInfo.InvariantCulture, $"hit {compared.First.Sequence} and hit {compared.Second.Sequence}"),
        new LaidOutLines(new HitsComparedView(compared, turn.State.Timeline))));

    private static void Show(Turn turn, DiffState diff)
    {
        turn.State = (turn.State with { Diff = diff }).WithPane(PaneKind.Diff, PaneState.Start);
        turn.Focus(PaneKind.Diff);
    }

    private static void Output(Turn turn, TargetNews.Output output)
    {
        turn.Print(output.Lines.Prepend(new TextLine().Add(": ", TextRole.Key).Add(output.Command, TextRole.Heading)));
        // One line is read at the bottom of the screen as well as in the pane.
        if (output.Lines is [var only])
        {
            turn.Say(only.ToString().Trim());
        }
    }

    private static void Breakpoints(Turn turn, ImmutableArray<BreakpointRow> rows)
    {
        turn.State = turn.State with { Breakpoints = rows };
        if (!turn.State.Abilities.IsLive || (rows.IsEmpty && !turn.State.Session.HasListedBreakpoints))
        {
            return;
        }

        turn.State = turn.State with { Session = turn.State.Session with { HasListedBreakpoints = true } };
        ImmutableArray<string> commands = [.. rows.Select(Command).OfType<string>()];
        ImmutableArray<string> disabled = [.. rows.Where(r => !r.IsEnabled).Select(Command).OfType<string>()];
        if (!commands.SequenceEqual(turn.State.Remembered.Breakpoints) || !disabled.SequenceEqual(turn.State.Remembered.Disabled))
        {
            turn.Remember(turn.State.Remembered with { Breakpoints = commands, Disabled = disabled });
        }
    }

    /// <summary>The command that sets a breakpoint again; null for one that was for once.</summary>
    private static string? Command(BreakpointRow row)
    {
        var kind = row.Kind.Split(' ', 2)[0] switch
        {
            "temp" or "temporary" => null,
            "hardware" => "hbreak",
            "watch" or "watchpoint" => "watch",
            "rwatch" => "rwatch",
            "awatch" => "awatch",
            "trace" or "tracepoint" => "trace",
            _ => "break",
        };
        return kind is null ? null : row.Condition is { Length: > 0 } condition && !row.Text.Contains(" if ", StringComparison.Ordinal) ? $"{kind} {row.Text} if {condition}" : $"{kind} {row.Text}";
    }
}
