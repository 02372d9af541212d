using System.Globalization;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>A listing of instructions as rows: source lines between them where they are wanted and known.</summary>
internal static class CodeRows
{
    public static PaneRows Of(UiState state, CodeListing code, int width)
    {
        var index = Index(state, code);
        var offsets = Math.Min(16, code.Rows.IsEmpty ? 0 : code.Rows.Max(r => r.Offset.Length));
        var bytes = state.Options.Bytes && !code.Rows.IsEmpty ? Math.Min(30, code.Rows.Max(r => r.Bytes.Length)) : 0;
        return new PaneRows(index.Length, i => index[i] < 0 ? SourceLine(code.Rows[~index[i]]) : Instruction(code.Rows[index[i]]));

        TextLine Instruction(CodeRow row)
        {
            var isEnabled = row.Breakpoint is { } number && state.Breakpoints.FirstOrDefault(b => b.Number == number)?.IsEnabled != false;
            var line = new TextLine().Add(row.Breakpoint is null ? " " : isEnabled ? "●" : "○", TextRole.Breakpoint).Add(row.IsCurrent ? "▶" : " ", TextRole.Current)
                .Add(row.Address.ToString("x", CultureInfo.InvariantCulture), row.IsCurrent ? TextRole.Current : TextRole.Number).Add(" ");
            // The address says enough where there is no room for the offset.
            if (width >= 56 && offsets > 0)
            {
                line.Add(TerminalText.KeepStart(TerminalText.Sanitize(row.Offset), offsets), TextRole.Number).PadTo(20 + offsets);
            }

            if (bytes > 0)
            {
                var start = line.Width + 1;
                line.Add(" ").Add(TerminalText.KeepStart(TerminalText.Sanitize(row.Bytes), bytes), TextRole.Number).PadTo(start + bytes);
            }

            return line.Add(" ").Add(SourcePane.Untabbed(row.Text), row.IsCurrent ? TextRole.Current : TextRole.Plain);
        }
    }

    /// <summary>The instruction of a row, or that behind its source line.</summary>
    public static ulong? AddressAt(UiState state, CodeListing code, int row)
    {
        var index = Index(state, code);
        return (uint)row < (uint)index.Length ? code.Rows[index[row] < 0 ? ~index[row] : index[row]].Address : null;
    }

    /// <summary>The row of the instruction where the machine stands, or -1.</summary>
    public static int CurrentRow(UiState state, CodeListing code) =>
        Array.FindIndex(Index(state, code), i => i >= 0 && code.Rows[i].IsCurrent);

    /// <summary>For each row the index of its instruction, or the complement of it for the source line before it.</summary>
    private static int[] Index(UiState state, CodeListing code)
    {
        var index = new List<int>(code.Rows.Length);
        for (var i = 0; i < code.Rows.Length; i++)
        {
            if (state.Options.Lines && code.Rows[i].SourceLine is not null)
            {
                index.Add(~i);
            }

            index.Add(i);
        }

        return [.. index];
    }

    private static TextLine SourceLine(CodeRow row)
    {
        var line = new TextLine().Add("  ").Add(row.SourceLine!, TextRole.Source);
        return row.SourceText is { } text ? line.Add("  ").Add(SourcePane.Untabbed(text.Trim()), TextRole.Value) : line;
    }
}
