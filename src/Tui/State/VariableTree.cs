using System.Collections.Immutable;
using KTrace.Tui.Targets;

namespace KTrace.Tui.State;

/// <summary>A row of the tree of watches and variables.</summary>
/// <param name="Depth">0 for a watch or variable, more for members.</param>
/// <param name="IsWatch">It belongs to a watch.</param>
/// <param name="Error">Set instead of a value where members could not be read.</param>
public sealed record VariableRow(ValueRow Value, int Depth, bool IsWatch, bool IsOpen, string? Error = null);

/// <summary>The watches, the chosen frame's variables, and what of both is expanded.</summary>
public sealed record VariableTree
{
    // A list that points to itself could be opened for ever.
    private const int Deepest = 24;

    public static VariableTree Empty { get; } = new();

    /// <summary>Expressions in the order in which they were added.</summary>
    public ImmutableArray<string> Watches { get; private init; } = [];

    public ImmutableArray<ValueRow> WatchValues { get; private init; } = [];

    public ImmutableArray<ValueRow> Variables { get; private init; } = [];

    /// <summary>Members by the expression that leads to what they are in.</summary>
    public ImmutableDictionary<string, TargetNews.Expanded> Members { get; private init; } = ImmutableDictionary<string, TargetNews.Expanded>.Empty;

    /// <summary>Expressions that are open.</summary>
    public ImmutableHashSet<string> Open { get; private init; } = [];

    /// <summary>All rows that are to be seen: watches first.</summary>
    public ImmutableArray<VariableRow> Rows { get; private init; } = [];

    public VariableTree WithWatches(ImmutableArray<string> watches) => (this with { Watches = watches }).Flattened();

    public VariableTree WithWatchValues(ImmutableArray<ValueRow> values) => (this with { WatchValues = values }).Flattened();

    /// <summary>Another frame or another stop. Members were of before: those that are open have to be read again.</summary>
    public VariableTree WithVariables(ImmutableArray<ValueRow> variables) =>
        (this with { Variables = variables, Members = ImmutableDictionary<string, TargetNews.Expanded>.Empty }).Flattened();

    public VariableTree WithMembers(TargetNews.Expanded expanded) => (this with { Members = Members.SetItem(expanded.Expression, expanded) }).Flattened();

    public VariableTree Toggle(string expression) => (this with { Open = Open.Contains(expression) ? Open.Remove(expression) : Open.Add(expression) }).Flattened();

    private VariableTree Flattened()
    {
        var rows = ImmutableArray.CreateBuilder<VariableRow>();
        for (var i = 0; i < Watches.Length; i++)
        {
            var known = i < WatchValues.Length && WatchValues[i].Name == Watches[i] ? WatchValues[i] : WatchValues.FirstOrDefault(v => v.Name == Watches[i] || v.Expression == Watches[i]);
            Add(known ?? new ValueRow(Watches[i], Watches[i], null, null, null, CanExpand: false), 0, isWatch: true);
        }

        // Arguments, then what has a value: of optimised code most locals have none.
        foreach (var variable in Variables.OrderBy(v => v.IsArgument ? 0 : v.Text is not null || v.CanExpand ? 1 : 2))
        {
            Add(variable, 0, isWatch: false);
        }

        return this with { Rows = rows.ToImmutable() };

        void Add(ValueRow value, int depth, bool isWatch)
        {
            var isOpen = value.CanExpand && Open.Contains(value.Expression);
            rows.Add(new VariableRow(value, depth, isWatch, isOpen));
            if (!isOpen || depth >= Deepest || !Members.TryGetValue(value.Expression, out var members))
            {
                return;
            }

            if (members.Error is { } error)
            {
                rows.Add(new VariableRow(new ValueRow("", value.Expression, null, null, null, CanExpand: false), depth + 1, isWatch, IsOpen: false, error));
            }

            foreach (var member in members.Members)
            {
                Add(member, depth + 1, isWatch);
            }
        }
    }
}
