using System.Collections.Immutable;
using System.Globalization;
using KTrace.Debugger.Stepping;
using KTrace.Tui.Panes;
using KTrace.Tui.State;
using KTrace.Tui.Targets;

namespace KTrace.Tui.Update;

/// <summary>Does what a key means. Whether it can be done was asked before (<see cref="Obstacles"/>).</summary>
internal static class KeyCommands
{
    private const int MemoryBytes = 512;

    public static void Run(Turn turn, UiCommand command)
    {
        var state = turn.State;
        var row = state.Pane(state.Focus).Cursor;
        switch (command)
        {
            case UiCommand.Next when state.Pane(state.Focus).Search is not null:
                Searching.Go(turn, isForward: true);
                break;
            case UiCommand.Next or UiCommand.Step or UiCommand.StepInstruction or UiCommand.NextInstruction:
                Step(turn, command switch
                {
                    UiCommand.Next => StepKind.LineOver,
                    UiCommand.Step => StepKind.Line,
                    UiCommand.StepInstruction => StepKind.Instruction,
                    _ => StepKind.InstructionOver,
                });
                break;
            case UiCommand.Continue:
                turn.Ask(new TargetRequest.Continue());
                break;
            case UiCommand.Finish:
                turn.Ask(new TargetRequest.Finish(state.ChosenFrame));
                break;
            case UiCommand.RunToCursor:
                turn.Ask(new TargetRequest.RunTo(Place(state)!));
                break;
            case UiCommand.ReverseContinue or UiCommand.ReverseStep:
                turn.Ask(new TargetRequest.Reverse(command == UiCommand.ReverseStep));
                break;
            case UiCommand.Interrupt:
                Interrupt(turn);
                break;
            case UiCommand.Caller or UiCommand.Callee:
                Frame(turn, state.ChosenFrame + (command == UiCommand.Caller ? 1 : -1));
                break;
            case UiCommand.ToggleBreakpoint:
                ToggleBreakpoint(turn);
                break;
            case UiCommand.EnableBreakpoint when row < state.Breakpoints.Length:
                turn.Ask(new TargetRequest.EnableBreakpoint(state.Breakpoints[row].Number, !state.Breakpoints[row].IsEnabled));
                break;
            case UiCommand.DeleteBreakpoint when row < state.Breakpoints.Length:
                turn.Ask(new TargetRequest.DeleteBreakpoint(state.Breakpoints[row].Number));
                break;
            case UiCommand.ShowBreakpoint when row < state.Breakpoints.Length:
                Disassemble(turn, state.Breakpoints[row] is { Address: { } address } ? string.Create(CultureInfo.InvariantCulture, $"*0x{address:x}") : state.Breakpoints[row].Text);
                break;
            case UiCommand.OpenFrame when CallPathPane.FrameAt(state, row) is { } frame:
                Movement.ChooseFrame(turn, frame);
                turn.State = turn.State with { OpenFrames = state.OpenFrames.Contains(frame) ? state.OpenFrames.Remove(frame) : state.OpenFrames.Add(frame) };
                turn.State = turn.State.WithPane(PaneKind.CallPath, state.Pane(PaneKind.CallPath) with { Cursor = CallPathPane.RowOf(turn.State, frame) });
                break;
            case UiCommand.ToggleArguments:
                var chosen = CallPathPane.FrameAt(state, row) ?? 0;
                turn.State = state with { Options = state.Options with { Arguments = !state.Options.Arguments }, OpenFrames = [] };
                turn.State = turn.State.WithPane(PaneKind.CallPath, state.Pane(PaneKind.CallPath) with { Cursor = CallPathPane.RowOf(turn.State, chosen) });
                break;
            case UiCommand.ShowHit when row < state.Timeline.Count:
                turn.Ask(new TargetRequest.ShowHit(state.Timeline[row].Sequence));
                turn.Focus(PaneKind.CallPath);
                break;
            case UiCommand.MarkHit when row < state.Timeline.Count:
                Mark(turn, state.Timeline[row].Sequence);
                break;
            case UiCommand.DiffMarked:
                turn.Ask(new TargetRequest.CompareHits(state.Timeline.Marks[0], state.Timeline.Marks[1]));
                turn.Focus(PaneKind.Diff);
                break;
            case UiCommand.JumpToHit:
                Jump(turn, row);
                break;
            case UiCommand.ExpandVariable or UiCommand.CollapseVariable or UiCommand.DeleteWatch:
                VariableKeys.Run(turn, command, row);
                break;
            case UiCommand.SelectCpu when state.Session.Stop is { } stop && row < stop.Cpus.Length:
                turn.Ask(new TargetRequest.SelectCpu(stop.Cpus[row].Index));
                break;
            case UiCommand.FollowInstruction:
                Follow(turn, row);
                break;
            case UiCommand.MemoryOfRegister when RegistersPane.At(state, row) is { } register:
                ReadMemory(turn, "$" + register.Name);
                break;
            case UiCommand.ReadInterrupts:
                turn.Ask(new TargetRequest.ReadInterrupts());
                break;
            case UiCommand.ToggleAllInterrupts:
                turn.State = state with { Options = state.Options with { AllInterrupts = !state.Options.AllInterrupts } };
                break;
            case UiCommand.NextDifference or UiCommand.PreviousDifference:
                Difference(turn, command == UiCommand.NextDifference ? 1 : -1);
                break;
            case UiCommand.TypeToConsole:
                turn.State = (state with { IsTyping = true }).WithPane(PaneKind.Console, state.Pane(PaneKind.Console) with { Follows = true });
                break;
            case UiCommand.AskMemory:
                PromptKeys.Open(turn, PromptKind.Command, "mem ");
                break;
            case UiCommand.Print:
                PromptKeys.Open(turn, PromptKind.Command, "print " + Expression(state));
                break;
            case UiCommand.Watch:
                PromptKeys.Open(turn, PromptKind.Command, "display " + Expression(state));
                break;
            case UiCommand.Save:
                PromptKeys.Open(turn, PromptKind.Command, "w " + Suggested(state, ".ktrace"));
                break;
            case UiCommand.Export:
                PromptKeys.Open(turn, PromptKind.Command, "export " + Suggested(state, ".json"));
                break;
            case UiCommand.Filter:
                PromptKeys.Open(turn, PromptKind.Filter, state.Timeline.Filter?.Text ?? "");
                break;
            case UiCommand.Search:
                PromptKeys.Open(turn, PromptKind.Search, "");
                break;
            case UiCommand.SearchPrevious:
                Searching.Go(turn, isForward: false);
                break;
            case UiCommand.CommandLine:
                PromptKeys.Open(turn, PromptKind.Command, "");
                break;
            default:
                ScreenKeys.Run(turn, command);
                break;
        }
    }

    /// <summary>Steps now, or after the step that is under way.</summary>
    public static void Step(Turn turn, StepKind kind, int count = 1)
    {
        var (session, step) = (turn.State.Session, new TargetRequest.Step(kind, count));
        if (session.IsStepping)
        {
            turn.State = turn.State with { Session = session with { NextSteps = session.NextSteps.Add(step) } };
        }
        else
        {
            turn.State = turn.State with { Session = session with { IsStepping = true } };
            turn.Ask(step);
        }
    }

    public static void Frame(Turn turn, int frame)
    {
        if (turn.State.Session.Path is not { } path)
        {
            return;
        }

        if ((uint)frame >= (uint)path.Path.Frames.Length)
        {
            turn.Say(frame < 0 ? "this is the innermost frame" : "this is the outermost frame: " + path.PathEnd.Describe(path.Task));
            return;
        }

        Movement.ChooseFrame(turn, frame);
        turn.State = turn.State.WithPane(PaneKind.CallPath, turn.State.Pane(PaneKind.CallPath) with { Cursor = CallPathPane.RowOf(turn.State, frame) });
    }

    public static void Disassemble(Turn turn, string place)
    {
        turn.Ask(new TargetRequest.Disassemble(place));
        turn.Focus(PaneKind.Disassembly);
    }

    public static void ReadMemory(Turn turn, string expression)
    {
        turn.State = turn.State with { MemoryExpression = expression };
        turn.Ask(new TargetRequest.ReadMemory(expression, MemoryBytes));
        turn.Focus(PaneKind.Memory);
    }

    public static void Mark(Turn turn, long sequence)
    {
        turn.State = turn.State with { Timeline = turn.State.Timeline.ToggleMark(sequence) };
        var marks = turn.State.Timeline.Marks;
        turn.Say(marks.Length switch
        {
            0 => "no hit is marked",
            1 => string.Create(CultureInfo.InvariantCulture, $"hit {marks[0]} is marked: mark another to compare them"),
            _ => string.Create(CultureInfo.InvariantCulture, $"hits {marks[0]} and {marks[1]} are marked: d compares them"),
        });
    }

    private static string? Place(UiState state) => PaneCatalog.Of(state.Focus).PlaceAt(state, state.Pane(state.Focus).Cursor);

    private static string Expression(UiState state) => PaneCatalog.Of(state.Focus).ExpressionAt(state, state.Pane(state.Focus).Cursor) ?? "";

    private static void Interrupt(Turn turn)
    {
        switch (turn.State.Session)
        {
            case { Progress.CanCancel: false } session:
                turn.Say($"{session.Progress.Text}: this cannot be given up");
                break;
            case { IsBusy: true } or { IsStepping: true }:
                turn.State = turn.State with { Session = turn.State.Session.WithoutSteps() };
                turn.Ask(new TargetRequest.Interrupt());
                break;
            default:
                turn.Say("nothing runs (q quits)");
                break;
        }
    }

    private static void ToggleBreakpoint(Turn turn)
    {
        // In the list b asks: its rows are breakpoints already.
        if (turn.State.Focus != PaneKind.Breakpoints && Place(turn.State) is { } place)
        {
            turn.Ask(new TargetRequest.ToggleBreakpoint(place));
        }
        else
        {
            PromptKeys.Open(turn, PromptKind.Command, "break ");
        }
    }

    /// <summary>To the first row of the next stretch that only one side has.</summary>
    private static void Difference(Turn turn, int direction)
    {
        var rows = turn.Rows(PaneKind.Diff);
        var row = turn.State.Pane(PaneKind.Diff).Cursor + direction;
        while (row > 1 && row < rows.Count && !(Differs(row) && !Differs(row - 1)))
        {
            row += direction;
        }

        if (row > 1 && row < rows.Count)
        {
            Movement.MoveTo(turn, PaneKind.Diff, row);
        }
        else
        {
            turn.Say($"no difference {(direction > 0 ? "below" : "above")}");
        }

        // The first two rows are the titles of both sides.
        bool Differs(int index) => index > 1 && rows[index].Spans.Any(s => s.Role is Views.TextRole.Added or Views.TextRole.Removed);
    }

    private static void Jump(Turn turn, int row)
    {
        long? sequence = turn.State.Focus == PaneKind.Hits && row < turn.State.Timeline.Count ? turn.State.Timeline[row].Sequence : turn.State.Session.Shown?.Hit.Sequence;
        if (sequence is { } hit)
        {
            turn.Ask(new TargetRequest.JumpToHit(hit));
        }
        else
        {
            turn.Say("jump: choose a hit first", "Enter in the hits");
        }
    }

    /// <summary>The place that an instruction's operand names: <c>call … &lt;request_irq+0x10&gt;</c>, <c>jmp 0xffffffff81000000</c>.</summary>
    private static void Follow(Turn turn, int row)
    {
        var code = DisassemblyPane.Code(turn.State);
        var text = code is null || CodeRows.AddressAt(turn.State, code, row) is not { } at ? "" : code.Rows.First(r => r.Address == at).Text;
        var open = text.LastIndexOf('<');
        var close = text.LastIndexOf('>');
        var hex = text.LastIndexOf("0x", StringComparison.Ordinal);
        if (open >= 0 && close > open + 1)
        {
            var name = text[(open + 1)..close];
            Disassemble(turn, name.IndexOf('+', StringComparison.Ordinal) is > 0 and var plus ? name[..plus] : name);
        }
        else if (hex >= 0 && text[hex..].TakeWhile(c => char.IsAsciiHexDigit(c) || c == 'x').Count() is > 6 and var length)
        {
            Disassemble(turn, "*" + text.Substring(hex, length));
        }
        else
        {
            turn.Say("this instruction leads nowhere else");
        }
    }

    private static string Suggested(UiState state, string extension)
    {
        var name = Path.GetFileNameWithoutExtension(state.Abilities.Title.Split(' ', 2)[0]);
        return (name.Length == 0 || name.Any(c => !char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.')) ? "session" : name) + (state.Abilities.IsLive ? "" : "-copy") + extension;
    }
}
