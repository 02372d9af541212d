using KTrace.Tui.State;
using KTrace.Tui.Targets;

namespace KTrace.Tui.Panes;

/// <summary>Instructions of the chosen frame's function, or of the place that was asked for.</summary>
internal sealed class DisassemblyPane() : Pane(PaneKind.Disassembly, "disassembly")
{
    public override PaneRows Rows(UiState state, int width) => Code(state) is { } code ? CodeRows.Of(state, code, width) : PaneRows.None;

    public override string? Subject(UiState state) => Code(state)?.Title;

    public override string WhyEmpty(UiState state) => state.Abilities.IsLive ? NoMachine(state, "instructions") : "a trace has no memory to disassemble: ktrace tui SCENARIO has";

    public override string? PlaceAt(UiState state, int row) => Code(state) is { } code && CodeRows.AddressAt(state, code, row) is { } address ? $"*0x{address:x}" : null;

    internal static CodeListing? Code(UiState state) => state.Listing ?? state.Session.Frame?.Code;
}
