using System.Collections.Immutable;

namespace KTrace.Symbols;

/// <summary>What kind of value a parameter is, as far as showing it goes.</summary>
public enum ParameterKind
{
    /// <summary>A signed integer or enumeration.</summary>
    Signed,

    /// <summary>An unsigned integer, a boolean or a character.</summary>
    Unsigned,

    Pointer,

    /// <summary>A pointer to char: most likely text.</summary>
    Text,

    /// <summary>Passed in no single register (a structure, an array, a floating-point number), or unknown.</summary>
    Other,
}

/// <param name="Name">As in the source; "" for an unnamed one.</param>
/// <param name="Type">In C's words, such as <c>struct irq_data *</c>.</param>
/// <param name="Size">sizeof in bytes; 0 when unknown.</param>
public sealed record FunctionParameter(string Name, string Type, ParameterKind Kind, int Size);

/// <param name="ReturnsInMemory">The result is a structure, so a hidden first argument may say where it goes.</param>
/// <param name="IsVariadic">The list ends with "…".</param>
public sealed record FunctionSignature(ImmutableArray<FunctionParameter> Parameters, bool ReturnsInMemory, bool IsVariadic);
