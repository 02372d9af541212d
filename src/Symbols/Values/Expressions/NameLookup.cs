// What a name means, in gdb's order: the frame's variables first, then globals, functions and enumerators; types only where a type is asked for.
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>Looks names up in a scope.</summary>
internal static class NameLookup
{
    /// <summary>The name is a type, and no value has it.</summary>
    public static bool IsOnlyType(IExpressionScope scope, string name) => !IsValue(scope, name) && scope.Types.FindType(TypeTag.Ordinary, name) is not null;

    /// <summary>A value for a name, or the reason why there is none. A per-cpu variable is still its template.</summary>
    public static (TypedValue? Value, bool IsPerCpu, string? Failure) Find(IExpressionScope scope, string name, bool isScoped, BasicTypes types)
    {
        if (!isScoped && scope.FindLocal(name) is { } local)
        {
            return local.Value is { Provenance: not (Provenance.OptimizedOut or Provenance.Unreadable) } value && (!value.Bytes.IsEmpty || value.Address is not null)
                ? (value, false, null)
                : (null, false, local.Provenance == Provenance.Unreadable ? $"{name} could not be read" : $"{name} is optimized out here{(local.IsParameter ? " (it is an argument)" : "")}");
        }

        if (name == "current" && !isScoped)
        {
            return scope.CurrentTask is { } task ? (task, false, null) : (null, false, "the current task is not known here");
        }

        if (scope.Types.FindVariable(name) is { } variable)
        {
            return (new TypedValue { Type = variable.Type, Address = variable.Address, Provenance = Provenance.Memory }, variable.IsPerCpu, null);
        }

        if (scope.Types.FindFunction(name) is { } function)
        {
            // Of a symbol without debug information only the address is known.
            var type = function.Type.Resolved is FunctionType known ? known : new FunctionType(() => VoidType.Instance, () => [], isVariadic: true);
            return (new TypedValue { Type = type, Address = function.Address, Provenance = Provenance.Memory }, false, null);
        }

        if (scope.Types.FindEnumerator(name) is { } enumerator)
        {
            return (TypedValue.OfNumber(enumerator.Type, (ulong)enumerator.Value), false, null);
        }

        switch (name)
        {
            case "NULL":
                return (TypedValue.OfNumber(types.PointerTo(VoidType.Instance), 0), false, null);
            case "true" or "false":
                return (TypedValue.OfNumber(types.Bool, name == "true" ? 1UL : 0), false, null);
        }

        var display = isScoped ? name.Replace(":", "::", StringComparison.Ordinal) : name;
        var suffix = scope.Types.FindType(TypeTag.Ordinary, name) is not null
            ? $" ({name} is a type)"
            : NearMembers.Suggestion(scope.SuggestNames(name, 3));
        return (null, false, $"there is no {display} here{suffix}");
    }

    private static bool IsValue(IExpressionScope scope, string name) =>
        name == "current" || scope.FindLocal(name) is not null || scope.Types.FindVariable(name) is not null || scope.Types.FindFunction(name) is not null
        || scope.Types.FindEnumerator(name) is not null;
}
