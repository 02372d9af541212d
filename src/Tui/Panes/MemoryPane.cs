using System.Globalization;
using System.Text;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>Memory as bytes and as text, and what its words point to.</summary>
internal sealed class MemoryPane() : Pane(PaneKind.Memory, "memory")
{
    /// <summary>Sixteen bytes a row where there is room for them.</summary>
    private const int RoomForSixteen = 84;

    public override PaneRows Rows(UiState state, int width)
    {
        if (state.Memory is not { Bytes.IsEmpty: false } memory)
        {
            return PaneRows.None;
        }

        var perRow = PerRow(width);
        return new PaneRows((memory.Bytes.Length + perRow - 1) / perRow, Line);

        TextLine Line(int row)
        {
            var first = row * perRow;
            var line = new TextLine().Add((memory.Address + (ulong)first).ToString(memory.Address > uint.MaxValue ? "x16" : "x8", CultureInfo.InvariantCulture), TextRole.Number).Add(" ");
            var text = new StringBuilder();
            for (var i = first; i < first + perRow; i++)
            {
                line.Add(i % 8 == 0 && i != first ? "  " : " ");
                if (i >= memory.Bytes.Length)
                {
                    line.Add("  ");
                    continue;
                }

                var value = memory.Bytes[i];
                var isChanged = Before(state, memory.Address + (ulong)i) is { } before && before != value;
                line.Add(value?.ToString("x2", CultureInfo.InvariantCulture) ?? "??", isChanged ? TextRole.Changed : value is null ? TextRole.Warning : value == 0 ? TextRole.Number : TextRole.Plain);
                text.Append(value is >= 0x20 and < 0x7f ? (char)value : '.');
            }

            return WithNames(line.Add("  ").Add(text.ToString(), TextRole.Value), first);
        }

        // A point stands for a word before a named one that has no name itself: which word a name belongs to is seen by its place.
        TextLine WithNames(TextLine line, int first)
        {
            var unnamed = 0;
            for (var i = first; i < Math.Min(first + perRow, memory.Bytes.Length); i += memory.WordSize)
            {
                if (!memory.Names.TryGetValue(i, out var name))
                {
                    unnamed++;
                    continue;
                }

                line.Add("  ").Add(string.Concat(Enumerable.Repeat("· ", unnamed)), TextRole.Number).Add(name, TextRole.Function);
                unnamed = 0;
            }

            return line;
        }
    }

    public override string? Subject(UiState state) => state.Memory is null ? null : state.MemoryExpression;

    public override string WhyEmpty(UiState state) => state.Abilities.IsLive ? ":mem EXPR reads memory: an address, $rsp, &jiffies_64 (Enter starts it)" : "a trace has no memory: ktrace tui SCENARIO has";

    public override string? PlaceAt(UiState state, int row) => null;

    internal static int PerRow(int width) => width >= RoomForSixteen ? 16 : 8;

    private static byte? Before(UiState state, ulong address) =>
        state.MemoryBefore is { } before && address >= before.Address && address - before.Address < (ulong)before.Bytes.Length ? before.Bytes[(int)(address - before.Address)] : null;
}
