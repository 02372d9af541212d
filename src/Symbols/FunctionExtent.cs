using System.Collections.Immutable;

namespace KTrace.Symbols;

/// <summary>A function as DWARF declares it.</summary>
/// <param name="Name">As in the source; for a function that DWARF does not know, the symbol's name.</param>
/// <param name="LowPc">Where it is entered.</param>
/// <param name="Size">Bytes of the piece that is entered (without a <c>.cold</c> part elsewhere).</param>
/// <param name="Declaration">File and line of the declaration, or null.</param>
/// <param name="ReturnType">As C writes it; <c>void</c> when DWARF gives none.</param>
/// <param name="Parameters">In order; empty when DWARF does not know the function (assembly).</param>
/// <param name="IsVariadic">The parameter list ends with <c>...</c>.</param>
public sealed record FunctionExtent(
    string Name, ulong LowPc, ulong Size, SourceLine? Declaration, string ReturnType, ImmutableArray<FunctionParameter> Parameters, bool IsVariadic)
{
    /// <summary>The result is a structure: a hidden first argument may say where it goes.</summary>
    public bool ReturnsStructure { get; init; }
}

/// <summary>What kind of value a type holds, as far as passing and showing it goes.</summary>
public enum ValueKind
{
    /// <summary>A structure, an array, a floating-point number, or unknown: in no single general register.</summary>
    Other,

    /// <summary>A signed integer or an enumeration.</summary>
    Signed,

    /// <summary>An unsigned integer, a boolean or a character.</summary>
    Unsigned,

    Pointer,

    /// <summary>A pointer to char: most likely text.</summary>
    Text,
}

/// <summary>A formal parameter: its name and its type as C writes it (<c>struct irq_data *</c>).</summary>
/// <param name="Size">Bytes; 0 when unknown.</param>
public sealed record FunctionParameter(string Name, string Type, ValueKind Kind = ValueKind.Other, int Size = 0);
