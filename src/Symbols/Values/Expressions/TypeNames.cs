using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>The types that casts, sizeof, offsetof and container_of name.</summary>
internal static class TypeNames
{
    /// <summary>The type, or the reason why there is none.</summary>
    public static (CType? Type, string? Failure) Find(IExpressionScope scope, string text)
    {
        var type = TypeNameParser.Parse(text, scope.Types, out var failure);

        // "(irq)(desc)" reads like a cast, and "irq" may be anything else.
        return type is not null || scope.FindLocal(text) is null && scope.Types.FindFunction(text) is null && scope.Types.FindVariable(text) is null
            ? (type, failure)
            : (null, $"{text} is no type; if a call was meant: those would run code in the guest, and are refused");
    }
}
