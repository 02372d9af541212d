using System.Collections.Immutable;

namespace KTrace.Symbols.Dwarf;

/// <summary>A subprogram's declaration: DWARF 5, section 3.3. An out-of-line copy of an inlined function leaves all but addresses to its origin.</summary>
internal static class FunctionDeclarations
{
    public static FunctionExtent? Read(UnitSymbols symbols, in FunctionPiece piece)
    {
        if (!DieFacts.TryReadWithOrigin(symbols.Unit, piece.Entry, out var facts))
        {
            return null;
        }

        var parameters = ImmutableArray.CreateBuilder<FunctionParameter>();
        var isVariadic = false;
        foreach (var child in TypeNames.Children(in facts, DwTag.FormalParameter, DwTag.UnspecifiedParameters))
        {
            isVariadic |= child.Tag == DwTag.UnspecifiedParameters;
            if (child.Tag == DwTag.FormalParameter && DieFacts.TryReadWithOrigin(child.Unit, child.Entry, out var parameter))
            {
                var (kind, size) = ValueShape.Of(parameter.Unit, parameter.Type);
                parameters.Add(new FunctionParameter(
                    parameter.Name.IsNone ? "" : parameter.Unit.Sections.Text(parameter.Name), TypeNames.Describe(parameter.Unit, parameter.Type), kind, size));
            }
        }

        SourceLine? declaration = null;
        if (facts.DeclFile >= 0 && facts.DeclUnit == symbols.Unit && symbols.TryReadLines())
        {
            declaration = new SourceLine(symbols.Lines.Header.Path(facts.DeclFile, shortForm: true), facts.DeclLine);
        }

        var name = symbols.Unit.FunctionName(piece.Entry);
        return new FunctionExtent(
            symbols.Unit.Sections.Text(name), piece.FunctionLow, piece.FunctionLow == piece.Low ? piece.High - piece.Low : SizeAt(symbols, piece.FunctionLow),
            declaration, TypeNames.Describe(symbols.Unit, facts.Type), parameters.ToImmutable(), isVariadic)
        {
            ReturnsStructure = facts.Type >= 0 && ValueShape.Of(symbols.Unit, facts.Type).Kind == ValueKind.Other,
        };
    }

    private static ulong SizeAt(UnitSymbols symbols, ulong low) =>
        symbols.Functions.TryFind(low, out var entered) ? entered.High - low : 0;
}
