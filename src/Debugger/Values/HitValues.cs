using System.Collections.Immutable;
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

    /// <summary>The arguments of every named frame, in the order of the call path.</summary>
    public async ValueTask<ImmutableArray<ImmutableArray<FrameVariable>>> ArgumentsAsync(UnwindResult stack, CancellationToken cancellationToken)
    {
        for (var round = 0; ; round++)
        {
            _missing.Clear();
            var arguments = variables.ArgumentsOf(stack, memory, _missing);
            if (_missing.Count == 0 || round == MaximumRounds || !await FetchAsync(_missing, cancellationToken))
            {
                return arguments is [{ IsEmpty: true }, ..] && scope.EntryArguments is { IsEmpty: false } entered ? arguments.SetItem(0, entered) : arguments;
            }
        }
    }

    /// <summary>Arguments as a trace keeps them: with what a person reads.</summary>
    /// <param name="path">The frames' names.</param>
    public async ValueTask<ImmutableArray<ArgumentList>> DescribeAsync(
        ImmutableArray<ImmutableArray<FrameVariable>> frames, CallPath path, CancellationToken cancellationToken)
    {
        for (var round = 0; ; round++)
        {
            _ranges.Clear();
            var lists = ImmutableArray.CreateBuilder<ArgumentList>(frames.Length);
            for (var i = 0; i < frames.Length; i++)
            {
                var function = path.Frames[i].Function;
                lists.Add(frames[i].IsEmpty ? ArgumentList.Empty : new ArgumentList([.. frames[i].Select(v => Describe(v, function))]));
            }

            if (_ranges.Count == 0 || round == MaximumRounds || !await FetchAsync(_ranges, cancellationToken))
            {
                return lists.MoveToImmutable();
            }
        }
    }

    /// <summary>The local variables of one frame, with what a person reads.</summary>
    /// <param name="skippedInlines">Inlined functions whose first instruction is the pc, and which count as not entered yet.</param>
    public async ValueTask<ImmutableArray<TraceArgument>> LocalsAsync(
        UnwindResult stack, SelectedFrame frame, int skippedInlines, string function, CancellationToken cancellationToken)
    {
        for (var round = 0; ; round++)
        {
            _missing.Clear();
            _ranges.Clear();
            var locals = variables.LocalsOf(stack, frame.Physical, skippedInlines + frame.InlineDepth, memory, _missing);
            var described = locals.Select(v => Describe(v, function)).ToImmutableArray();
            var wanted = _missing.Count > 0 && await FetchAsync(_missing, cancellationToken);
            wanted |= _ranges.Count > 0 && await FetchAsync(_ranges, cancellationToken);
            if (!wanted || round == MaximumRounds)
            {
                return described;
            }
        }
    }

    private TraceArgument Describe(FrameVariable variable, string function)
    {
        if (variable.Value is not { } value)
        {
            return new TraceArgument(variable.Name, variable.Type.ToString(), null, null, ArgumentProvenance.OptimizedOut);
        }

        if (value.Provenance == Provenance.Unreadable)
        {
            return new TraceArgument(variable.Name, variable.Type.ToString(), null, null, ArgumentProvenance.Unreadable);
        }

        var printed = ValuePrinter.Print(new NamedValue(variable.Name, value, function), scope, ArgumentOptions);
        _ranges.AddRange(printed.Missing);
        return new TraceArgument(variable.Name, variable.Type.ToString(), (ulong?)value.Number, printed.Text, Word(value.Provenance), variable.IsAtEntry);
    }

    /// <summary>Evaluates, and fetches whatever that takes.</summary>
    public async ValueTask<ExpressionOutcome> EvaluateAsync(Expression expression, bool isCondition, CancellationToken cancellationToken)
    {
        for (var round = 0; ; round++)
        {
            var outcome = isCondition ? expression.EvaluateCondition(scope) : expression.Evaluate(scope);
            var fetched = scope.Missing.Count > 0 && await FetchAsync(scope.Missing, cancellationToken);
            if (outcome is ExpressionOutcome.Missing missing)
            {
                fetched |= await FetchAsync(missing.Ranges, cancellationToken);
            }

            if (!fetched || round == MaximumRounds)
            {
                return outcome;
            }

            scope.ForgetLocals();
        }
    }

    /// <summary>Prints, and fetches whatever that takes.</summary>
    public async ValueTask<string> TextAsync(NamedValue value, PrintOptions options, CancellationToken cancellationToken)
    {
        for (var round = 0; ; round++)
        {
            var printed = ValuePrinter.Print(value, scope, options);
            if (printed.Missing.IsEmpty || round == MaximumRounds || !await FetchAsync(printed.Missing, cancellationToken))
            {
                return printed.Text;
            }
        }
    }

    private async ValueTask<bool> FetchAsync(IEnumerable<AddressRange> ranges, CancellationToken cancellationToken) =>
        await FetchAsync(ranges.Select(r => new MemoryRange(r.Start, (int)(r.End - r.Start))), cancellationToken);

    /// <returns>False when nothing of it can be fetched any more.</returns>
    private async ValueTask<bool> FetchAsync(IEnumerable<MemoryRange> ranges, CancellationToken cancellationToken)
    {
        var wanted = false;
        foreach (var range in ranges.ToList())
        {
            wanted |= memory.Want(range.Address, range.Length);
        }

        await memory.FetchAsync(cancellationToken);
        return wanted;
    }

    private static string Word(Provenance provenance) => provenance switch
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
