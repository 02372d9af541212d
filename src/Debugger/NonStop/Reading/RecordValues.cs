using System.Collections.Immutable;
using KTrace.Debugger.Values;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Tracing;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>The arguments of every frame of a record, as far as its registers and its stacks tell; and what their pointers lead to, as it is a moment later.</summary>
internal sealed class RecordValues(KernelMap map, FrameVariables variables, RecordScope scope)
{
    private static readonly PrintOptions Options = new() { MaximumLength = 120, MaximumDepth = 1, MaximumElements = 8, MaximumText = 80, FollowPointers = false };

    private (LateMemory Memory, RecordScope Scope)? _late;

    /// <summary>From now on texts say what pointers lead to.</summary>
    public void LookBehind(LateMemory memory) => _late = (memory, scope.With(memory));

    /// <param name="skippedInlines">Inlined functions whose first instruction is the hit, and which count as not entered yet.</param>
    /// <param name="names">The functions, in the order of the path.</param>
    /// <returns>Empty when they do not fit the path.</returns>
    public ImmutableArray<ArgumentList> Of(UnwindResult stack, int skippedInlines, CallPath names)
    {
        var frames = variables.ArgumentsOf(stack, scope.Memory, null, skippedInlines);
        if (frames is [{ IsEmpty: true }, ..] && !map.Image.HasDwarf)
        {
            frames = frames.SetItem(0, EntryArguments.Of(map, scope.Types, stack.Frames[0].Registers));
        }

        _late?.Memory.Enter();
        return frames.Length != names.Frames.Length ? [] : [.. frames.Select((f, i) => f.IsEmpty ? ArgumentList.Empty : new ArgumentList([.. f.Select(v => Describe(v, names.Frames[i].Function))]))];
    }

    private TraceArgument Describe(FrameVariable variable, string function)
    {
        if (variable.Value is not { } value || value.Provenance == Provenance.Unreadable)
        {
            return new TraceArgument(variable.Name, variable.Type.ToString(), null, null, variable.Value is null ? ArgumentProvenance.OptimizedOut : ArgumentProvenance.Unreadable);
        }

        var provenance = HitValues.Word(value.Provenance);
        var named = new NamedValue(variable.Name, value, function);
        if (_late is not { } late)
        {
            return new TraceArgument(variable.Name, variable.Type.ToString(), (ulong?)value.Number, ValuePrinter.Print(named, scope, Options).Text, provenance, variable.IsAtEntry);
        }

        late.Memory.Begin();
        var text = ValuePrinter.Print(named, late.Scope, Options with { FollowPointers = true }).Text;
        return new TraceArgument(
            variable.Name, variable.Type.ToString(), (ulong?)value.Number, text, late.Memory.WasUsed ? $"{provenance}, {ArgumentProvenance.Later}" : provenance, variable.IsAtEntry);
    }
}
