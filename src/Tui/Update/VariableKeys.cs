using System.Collections.Immutable;
using KTrace.Tui.State;
using KTrace.Tui.Targets;

namespace KTrace.Tui.Update;

/// <summary>The tree of watches and variables.</summary>
internal static class VariableKeys
{
    public static void Run(Turn turn, UiCommand command, int row)
    {
        var rows = turn.State.VariableRows;
        if (row >= rows.Length)
        {
            return;
        }

        switch (command)
        {
            case UiCommand.ExpandVariable when rows[row].Value.CanExpand:
                Toggle(turn, rows[row]);
                break;
            case UiCommand.ExpandVariable:
                turn.Say($"{rows[row].Value.Name} has no members to show");
                break;
            case UiCommand.CollapseVariable when rows[row].IsOpen:
                Toggle(turn, rows[row]);
                break;
            case UiCommand.CollapseVariable:
                var parent = row;
                while (parent > 0 && rows[parent].Depth >= rows[row].Depth)
                {
                    parent--;
                }

                Movement.MoveTo(turn, PaneKind.Variables, rows[parent].Depth < rows[row].Depth ? parent : row);
                break;
            case UiCommand.DeleteWatch when rows[row] is { IsWatch: true, Depth: 0 } watch:
                SetWatches(turn, turn.State.Variables.Watches.RemoveAt(row < 1 ? 0 : rows.Take(row).Count(r => r is { IsWatch: true, Depth: 0 })));
                turn.Say($"{watch.Value.Name} is not watched any more");
                break;
            case UiCommand.DeleteWatch:
                turn.Say("only watches can be removed; this is a variable of the frame");
                break;
        }
    }

    public static void AddWatch(Turn turn, string expression)
    {
        if (turn.State.Variables.Watches.Contains(expression))
        {
            turn.Say($"{expression} is watched already");
            return;
        }

        SetWatches(turn, turn.State.Variables.Watches.Add(expression));
        turn.State = turn.State.Raise(PaneKind.Variables, focus: false);
    }

    public static void SetWatches(Turn turn, ImmutableArray<string> watches)
    {
        turn.State = turn.State with { Variables = turn.State.Variables.WithWatches(watches), Session = turn.State.Session with { HasSentWatches = true } };
        turn.Ask(new TargetRequest.Watch(watches));
        turn.Remember(turn.State.Remembered with { Watches = watches });
    }

    private static void Toggle(Turn turn, VariableRow row)
    {
        turn.State = turn.State with { Variables = turn.State.Variables.Toggle(row.Value.Expression) };
        if (!row.IsOpen && !turn.State.Variables.Members.ContainsKey(row.Value.Expression))
        {
            turn.Ask(new TargetRequest.Expand(row.Value.Expression));
        }
    }
}
