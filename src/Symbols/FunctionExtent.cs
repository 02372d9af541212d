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
    string Name, ulong LowPc, ulong Size, SourceLine? Declaration, string ReturnType, ImmutableArray<FunctionParameter> Parameters, bool IsVariadic);

/// <summary>A formal parameter: its name and its type as C writes it (<c>struct irq_data *</c>).</summary>
public sealed record FunctionParameter(string Name, string Type);
