using KTrace.Tui.Panes;
using KTrace.Tui.State;

namespace KTrace.Tui.Update;

/// <summary>Why a key does not work now, in words that say what would help.</summary>
internal static class Obstacles
{
    /// <summary>Steps that may wait for the one that is under way.</summary>
    public const int StepsAtOnce = 8;

    /// <summary>Null: it works.</summary>
    public static Message? Of(UiState state, KeyBinding binding)
    {
        var needs = binding.Command == UiCommand.Next && state.Pane(state.Focus).Search is null ? Needs.Live | Needs.Steps : binding.Needs;
        return Of(state, needs, binding.Word);
    }

    public static Message? Of(UiState state, Needs needs, string what)
    {
        if (needs.HasFlag(Needs.Live) && !state.Abilities.IsLive)
        {
            return new Message($"{what}: this is a trace, there is no machine", "ktrace tui SCENARIO boots one");
        }

        if (needs.HasFlag(Needs.Stopped) && state.Abilities.IsLive && !state.Session.IsStopped)
        {
            return NotStopped(state, what);
        }

        if (needs.HasFlag(Needs.Steps) && !state.Session.IsStopped)
        {
            if (state.Session is not { Run: RunState.Running, IsStepping: true })
            {
                return NotStopped(state, what);
            }
        }

        if (needs.HasFlag(Needs.Breakpoints) && !state.Session.IsStopped && state.Session is not { Run: RunState.Running, IsStepping: false })
        {
            return NotStopped(state, what);
        }

        if (needs.HasFlag(Needs.Steps) && state.Session.NextSteps.Length >= StepsAtOnce)
        {
            return new Message($"{what}: {StepsAtOnce} more steps wait already", "Ctrl-C ends them");
        }

        return needs switch
        {
            _ when needs.HasFlag(Needs.Reverse) && !state.Abilities.CanReverse => new Message($"{what}: this session cannot go backwards", "it can in an exact replay (ktrace replay --exact)"),
            _ when needs.HasFlag(Needs.Hits) && state.Timeline.All.Count == 0 => new Message($"{what}: there are no hits yet"),
            _ when needs.HasFlag(Needs.Jump) && !state.Abilities.CanJump => new Message($"{what}: a hit's moment can be reached again only in an exact replay", "ktrace record --exact makes such a trace"),
            _ when needs.HasFlag(Needs.TwoMarks) && state.Timeline.Marks.Length < 2 =>
                new Message($"{what}: {(state.Timeline.Marks.IsEmpty ? "no hit is marked" : "one hit is marked")}, two are needed", "m marks a hit in the hits"),
            _ when needs.HasFlag(Needs.Console) && !state.Abilities.CanTypeToConsole => new Message($"{what}: the guest's serial line is not connected here"),
            _ when needs.HasFlag(Needs.Path) && state.Session.Path is null => new Message($"{what}: there is no call path"),
            _ when needs.HasFlag(Needs.Row) && RowCount(state) == 0 => new Message(PaneCatalog.Of(state.Focus).WhyEmpty(state)),
            _ when needs.HasFlag(Needs.Place) && PaneCatalog.Of(state.Focus).PlaceAt(state, state.Pane(state.Focus).Cursor) is null =>
                new Message($"{what}: no place is at the cursor", "source, disassembly and call path have places"),
            _ => null,
        };
    }

    private static Message NotStopped(UiState state, string what) => state.Session switch
    {
        { Run: RunState.Starting } => new Message($"{what}: the machine is not up yet"),
        { Run: RunState.Ended, EndReason: var reason } => new Message($"{what}: there is no machine any more{(reason is null ? "" : ": " + reason)}"),
        _ => new Message($"{what}: the guest runs", "Ctrl-C stops it"),
    };

    // As wide as it is shown: a pane may keep its layout for one width.
    private static int RowCount(UiState state) => new Turn(state).Rows(state.Focus).Count;
}
