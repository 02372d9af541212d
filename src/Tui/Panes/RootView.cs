using KTrace.Tui.State;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>The whole screen of a state: exactly as many lines as it has rows, none wider than its columns.</summary>
public sealed class RootView(UiState state) : View
{
    /// <summary>Where the terminal's cursor stands (a command line, the guest's console); null: hidden.</summary>
    public (int Column, int Row)? Cursor => null;

    public override IEnumerable<TextLine> Lines(int? width)
    {
        for (var row = 0; row < state.Size.Rows; row++)
        {
            yield return new TextLine();
        }
    }
}
