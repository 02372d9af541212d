using System.Collections.Immutable;
using KTrace.Debugger.Values;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Tracing;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>The arguments of every frame of a record, as far as its registers and its stacks tell.</summary>
internal sealed class RecordValues(FrameVariables variables, RecordScope scope)
{
    private static readonly PrintOptions Options = new() { MaximumLength = 120, MaximumDepth = 1, MaximumElements = 8, MaximumText = 80, FollowPointers = false };

    /// <param name="skippedInlines">Inlined functions whose first instruction is the hit, and which count as not entered yet.</param>
    /// <param name="names">The functions, in the order of the path.</param>
    /// <returns>Empty when they do not fit the path.</returns>
    public ImmutableArray<ArgumentList> Of(UnwindResult stack, int skippedInlines, CallPath names)
    {
        var frames = variables.ArgumentsOf(stack, scope.Memory, null, skippedInlines);
        return frames.Length != names.Frames.Length ? [] : [.. frames.Select((f, i) => f.IsEmpty ? ArgumentList.Empty : new ArgumentList([.. f.Select(v => Describe(v, names.Frames[i].Function))]))];
    }

    private TraceArgument Describe(FrameVariable variable, string function)
    {
        if (variable.Value is not { } value || value.Provenance == Provenance.Unreadable)
        {
            return new TraceArgument(variable.Name, variable.Type.ToString(), null, null, variable.Value is null ? ArgumentProvenance.OptimizedOut : ArgumentProvenance.Unreadable);
        }

        var printed = ValuePrinter.Print(new NamedValue(variable.Name, value, function), scope, Options);
        return new TraceArgument(variable.Name, variable.Type.ToString(), (ulong?)value.Number, printed.Text, HitValues.Word(value.Provenance), variable.IsAtEntry);
    }
}
