using KTrace.Tui.State;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>A pane's rows for a width. Only those that are asked for are laid out.</summary>
/// <param name="row">From 0 to <paramref name="count"/>; may be wider than the pane.</param>
/// <param name="text">What searches look at; null: the row as it is shown.</param>
internal sealed class PaneRows(int count, Func<int, TextLine> row, Func<int, string>? text = null)
{
    public static PaneRows None { get; } = new(0, _ => new TextLine());

    public int Count => count;

    public TextLine this[int index] => row(index);

    /// <summary>Stands above the rows and does not scroll; null: none.</summary>
    public TextLine? Head { get; init; }

    /// <summary>Cells of equal width beside each other, each with a blank for the cursor's mark before it; the cursor is on one of a row's cells. Null: rows are whole.</summary>
    public PaneGrid? Grid { get; init; }

    public static PaneRows Of(IReadOnlyList<TextLine> lines) => new(lines.Count, i => lines[i]);

    /// <summary>A table: its first line is the head.</summary>
    public static PaneRows Table(IEnumerable<TextLine> lines)
    {
        TextLine[] all = [.. lines];
        return all.Length == 0 ? None : new PaneRows(all.Length - 1, i => all[i + 1]) { Head = all[0] };
    }

    /// <summary>A search through millions of rows that need not put the text of each together: whether a row has a text in one of its parts. Null: <see cref="Text"/> is looked at.</summary>
    public Func<string, StringComparison, Func<int, bool>>? Finder { get; init; }

    public string Text(int index) => text is null ? row(index).ToString() : text(index);

    /// <summary>Whether rows have a text. For one search: it may keep what it has found out.</summary>
    public Func<int, bool> Having(string search, StringComparison comparison) => Finder?.Invoke(search, comparison) ?? (index => Text(index).Contains(search, comparison));
}

/// <summary>The cells of a pane whose items stand beside each other.</summary>
/// <param name="CellWidth">With the blank before it.</param>
/// <param name="Cells">Of a row.</param>
/// <param name="Column">The cell of a row that the cursor is on.</param>
internal sealed record PaneGrid(int CellWidth, Func<int, IReadOnlyList<TextLine>> Cells, Func<int, int> Column);

/// <summary>How a part of the state looks as rows with a cursor, and what its rows mean.</summary>
internal abstract class Pane(PaneKind kind, string name)
{
    public PaneKind Kind => kind;

    /// <summary>In its title and for <c>:pane</c>.</summary>
    public string Name => name;

    public abstract PaneRows Rows(UiState state, int width);

    /// <summary>What is shown, behind the name in the title; null: nothing more than the name says.</summary>
    public virtual string? Subject(UiState state) => null;

    /// <summary>Shown where there are no rows: why, and what fills it.</summary>
    public abstract string WhyEmpty(UiState state);

    /// <summary>Where a breakpoint would be set or a run would end for a row; null: a row is no place.</summary>
    public virtual string? PlaceAt(UiState state, int row) => null;

    /// <summary>What a row would be watched as.</summary>
    public virtual string? ExpressionAt(UiState state, int row) => null;

    protected static string NoMachine(UiState state, string what) => state switch
    {
        { Abilities.IsLive: false } => $"the trace has no {what}",
        { Session.Run: RunState.Starting } => state.Session.Progress?.Text ?? "starting…",
        { Session.Run: RunState.Running } => $"running: {what} when it stops (Ctrl-C stops it)",
        _ => $"no {what}",
    };
}

/// <summary>The pane of each kind.</summary>
internal static class PaneCatalog
{
    private static readonly Pane[] All =
    [
        new CallPathPane(), new SourcePane(), new DisassemblyPane(), new RegistersPane(), new VariablesPane(), new HitsPane(), new ConsolePane(), new CpusPane(), new ModulesPane(),
        new MemoryPane(), new InterruptsPane(), new BreakpointsPane(), new DiffPane(), new OutputPane(),
    ];

    public static Pane Of(PaneKind kind) => All[(int)kind];

    /// <summary>The pane of a name or of the beginning of one.</summary>
    public static Pane? Find(string name) =>
        All.FirstOrDefault(p => p.Name == name) ?? (name.Length > 0 ? All.FirstOrDefault(p => p.Name.StartsWith(name, StringComparison.OrdinalIgnoreCase)) : null);

    public static IEnumerable<string> Names => All.Select(p => p.Name);
}
