using System.Collections.Immutable;
using System.Runtime.InteropServices;
using KTrace.Debugger.Memory;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tracing;

namespace KTrace.Debugger.Values;

/// <summary>
/// Conditions, prints and arguments at a stop. All of them read memory synchronously and say what is missing; it is fetched in one trip for all that is missing
/// together, and they are asked again: a chain of n pointers costs n trips at most, whatever hangs on it.
/// </summary>
internal sealed class HitValues(StopMemory memory, StopScope scope, FrameVariables variables)
{
    // Longer chains of pointers than people write; a list that a printer follows is bounded by the printer itself.
    private const int MaximumRounds = 64;

    private static readonly PrintOptions ArgumentOptions = new() { MaximumLength = 120, MaximumDepth = 1, MaximumElements = 8, MaximumText = 80 };

    private readonly DescribedArguments _described = new(scope.Map);
    private readonly ReadTrail _trail = new();
    private readonly List<AddressRange> _missing = [];
    private readonly List<MemoryRange> _ranges = [];

    /// <summary>Whether a condition holds in the scope's frame.</summary>
    /// <returns>False with a failure when it cannot be told.</returns>
    public async ValueTask<(bool Holds, string? Failure)> HoldsAsync(Expression condition, CancellationToken cancellationToken)
    {
        var outcome = await EvaluateAsync(condition, isCondition: true, cancellationToken);
        return outcome switch
        {
            ExpressionOutcome.Value value => (value.IsTrue, null),
            ExpressionOutcome.Failed failed => (false, failed.Message),
            _ => (false, "it needs more memory than a condition may read"),
        };
    }

    public async ValueTask<ImmutableArray<TracePrint>> PrintAsync(ImmutableArray<Expression> expressions, CancellationToken cancellationToken)
    {
        var prints = ImmutableArray.CreateBuilder<TracePrint>(expressions.Length);
        foreach (var expression in expressions)
        {
            prints.Add(await EvaluateAsync(expression, isCondition: false, cancellationToken) switch
            {
                ExpressionOutcome.Value { Result: var result, Named: var named } => new TracePrint(
                    expression.Text, result.Type.ToString(), (ulong?)result.Number, await TextAsync(named, PrintOptions.Default, cancellationToken)),
                ExpressionOutcome.Failed failed => new TracePrint(expression.Text, null, null, null, failed.Message),
                _ => new TracePrint(expression.Text, null, null, null, "it needs more memory than an expression may read"),
            });
        }

        return prints.MoveToImmutable();
    }

    /// <summary>The arguments of every named frame of the scope's stack, in the order of the call path; the scope knows the innermost's then.</summary>
    public async ValueTask<ImmutableArray<ImmutableArray<FrameVariable>>> ArgumentsAsync(UnwindResult stack, CancellationToken cancellationToken)
    {
        ImmutableArray<ImmutableArray<FrameVariable>> arguments;
        var round = 0;
        do
        {
            arguments = variables.ArgumentsOf(stack, memory, _missing, scope.SkippedInlines);
        }
        while (await FetchMissingAsync(round++, cancellationToken));

        if (arguments is [{ IsEmpty: true }, ..] && scope.EntryArguments is { IsEmpty: false } entered)
        {
            arguments = arguments.SetItem(0, entered);
        }

        scope.Know(arguments.IsEmpty ? [] : arguments[0]);
        return arguments;
    }

    /// <summary>Arguments as a trace keeps them: with what a person reads.</summary>
    /// <param name="path">The frames' names.</param>
    public async ValueTask<ImmutableArray<ArgumentList>> DescribeAsync(
        ImmutableArray<ImmutableArray<FrameVariable>> frames, CallPath path, CancellationToken cancellationToken)
    {
        var lists = new ArgumentList[frames.Length];
        var round = 0;
        do
        {
            for (var i = 0; i < frames.Length; i++)
            {
                lists[i] = Describe(frames[i], path.Frames[i].Function);
            }
        }
        while (await FetchMissingAsync(round++, cancellationToken));

        return ImmutableCollectionsMarshal.AsImmutableArray(lists);
    }

    private ArgumentList Describe(ImmutableArray<FrameVariable> variables, string function)
    {
        if (variables.IsEmpty)
        {
            return ArgumentList.Empty;
        }

        var arguments = new TraceArgument[variables.Length];
        for (var i = 0; i < arguments.Length; i++)
        {
            arguments[i] = Describe(variables[i], function);
        }

        return _described.ListOf(arguments);
    }

    /// <summary>The local variables of one frame, with what a person reads.</summary>
    public async ValueTask<ImmutableArray<TraceArgument>> LocalsAsync(UnwindResult stack, SelectedFrame frame, string function, CancellationToken cancellationToken)
    {
        ImmutableArray<TraceArgument> described;
        var round = 0;
        do
        {
            described = [.. variables.LocalsOf(stack, frame.Physical, frame.InlineDepth, memory, _missing, scope.SkippedInlines).Select(v => Describe(v, function))];
        }
        while (await FetchMissingAsync(round++, cancellationToken));

        return described;
    }

    private TraceArgument Describe(FrameVariable variable, string function)
    {
        if (variable.Value is not { Provenance: not Provenance.Unreadable } value)
        {
            return _described.Unknown(variable);
        }

        if (_described.Find(variable, value, function, memory) is { } known)
        {
            return known;
        }

        _trail.Clear();
        memory.Trail = _trail;
        var printed = ValuePrinter.Print(new NamedValue(variable.Name, value, function), scope, ArgumentOptions);
        memory.Trail = null;
        _ranges.AddRange(printed.Missing);
        var argument = new TraceArgument(variable.Name, variable.Type.ToString(), (ulong?)value.Number, printed.Text, Word(value.Provenance), variable.IsAtEntry);
        if (printed.Missing.IsEmpty)
        {
            _described.Keep(variable, value, function, argument, _trail);
        }

        return argument;
    }

    /// <summary>Evaluates, and fetches whatever that takes.</summary>
    public async ValueTask<ExpressionOutcome> EvaluateAsync(Expression expression, bool isCondition, CancellationToken cancellationToken)
    {
        for (var round = 0; ; round++)
        {
            var outcome = isCondition ? expression.EvaluateCondition(scope) : expression.Evaluate(scope);
            _missing.AddRange(scope.Missing);
            if (outcome is ExpressionOutcome.Missing missing)
            {
                _ranges.AddRange(missing.Ranges);
            }

            if (!await FetchMissingAsync(round, cancellationToken))
            {
                return outcome;
            }

            scope.ForgetLocals();
        }
    }

    /// <summary>Prints, and fetches whatever that takes.</summary>
    public async ValueTask<string> TextAsync(NamedValue value, PrintOptions options, CancellationToken cancellationToken)
    {
        PrintedValue printed;
        var round = 0;
        do
        {
            printed = ValuePrinter.Print(value, scope, options);
            _ranges.AddRange(printed.Missing);
        }
        while (await FetchMissingAsync(round++, cancellationToken));

        return printed.Text;
    }

    /// <summary>What stands below a value in a tree, each with its text. The texts of all take one trip for each level of pointers.</summary>
    /// <param name="limit">So many at most.</param>
    public async ValueTask<ImmutableArray<ValueMember>> MembersAsync(TypedValue value, int limit, CancellationToken cancellationToken)
    {
        ValueChildren children;
        var round = 0;
        do
        {
            children = ValuePrinter.Children(value, scope, limit);
            _ranges.AddRange(children.Missing);
        }
        while (await FetchMissingAsync(round++, cancellationToken));

        ImmutableArray<ValueMember> members;
        round = 0;
        do
        {
            members = [.. children.Values.Select(Member)];
        }
        while (await FetchMissingAsync(round++, cancellationToken));

        return members;
    }

    private ValueMember Member(NamedValue child)
    {
        var printed = ValuePrinter.Print(child, scope, ArgumentOptions);
        _ranges.AddRange(printed.Missing);
        return new ValueMember(child.Name, child.Value.Type.ToString(), printed.Text, ValuePrinter.HasChildren(child.Value) && printed.Text != "NULL");
    }

    /// <summary>Fetches what was noted as missing, all in one trip where it fits into one.</summary>
    /// <returns>True when something new is known: ask again. False when nothing was missing, nothing of it can be fetched any more, or it has been asked often enough.</returns>
    private async ValueTask<bool> FetchMissingAsync(int round, CancellationToken cancellationToken)
    {
        if (_missing.Count == 0 && _ranges.Count == 0)
        {
            return false;
        }

        var wanted = false;
        if (round < MaximumRounds)
        {
            foreach (var range in _missing)
            {
                wanted |= memory.Want(range.Start, (int)(range.End - range.Start));
            }

            foreach (var range in _ranges)
            {
                wanted |= memory.Want(range.Address, range.Length);
            }
        }

        _missing.Clear();
        _ranges.Clear();
        await memory.FetchAsync(cancellationToken);
        return wanted;
    }

    internal static string Word(Provenance provenance) => provenance switch
    {
        Provenance.Register => ArgumentProvenance.Register,
        Provenance.Memory => ArgumentProvenance.Memory,
        Provenance.Constant => ArgumentProvenance.Constant,
        Provenance.EntryValue => ArgumentProvenance.EntryValue,
        Provenance.Recovered => ArgumentProvenance.Recovered,
        Provenance.Unreadable => ArgumentProvenance.Unreadable,
        _ => ArgumentProvenance.OptimizedOut,
    };
}
