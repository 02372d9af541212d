using KTrace.Tui.State;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>The guest's serial line.</summary>
internal sealed class ConsolePane() : Pane(PaneKind.Console, "console")
{
    public override PaneRows Rows(UiState state, int width) =>
        state.Console is { Lines.Count: 0, Open.Length: 0 } ? PaneRows.None : new PaneRows(Count(state.Console), i => new TextLine().Add(state.Console[i]), i => state.Console[i]);

    public override string? Subject(UiState state) => state.IsTyping ? "keys go to the guest: Ctrl-] or Esc Esc leaves" : state.Console.Forgotten > 0 ? $"{state.Console.Forgotten} older lines are gone" : null;

    public override string WhyEmpty(UiState state) => state switch
    {
        { Abilities.IsLive: false } => "the trace has no console",
        { Abilities.CanTypeToConsole: true } => "the guest said nothing yet",
        _ => "the guest's serial line is not connected here",
    };

    /// <summary>The open line counts while something stands in it, or while keys go there.</summary>
    private static int Count(Scrollback console) => console.Open.Length > 0 || console.Lines.Count == 0 ? console.Count : console.Lines.Count;
}

/// <summary>Answers of the command line, and what else was said.</summary>
internal sealed class OutputPane() : Pane(PaneKind.Output, "output")
{
    public override PaneRows Rows(UiState state, int width) => PaneRows.Of(state.Output);

    public override string WhyEmpty(UiState state) => ": takes gdb's commands, and their answers stand here (:help lists them)";
}
