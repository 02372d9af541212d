// What a type is to a calling convention: DWARF 5, sections 5.1 (base types, with DW_AT_encoding of section 7.8), 5.3 and 5.7.
namespace KTrace.Symbols.Dwarf;

/// <summary>Classifies types: integers, pointers, text, and everything that takes no single register.</summary>
internal static class ValueShape
{
    private const int MaximumDepth = 24;
    private const int EncodingBoolean = 2, EncodingSigned = 5, EncodingSignedChar = 6, EncodingUnsigned = 7, EncodingUnsignedChar = 8, EncodingUtf = 16;

    /// <param name="type">Bytes from the start of .debug_info; -1 is void.</param>
    public static (ValueKind Kind, int Size) Of(Unit unit, long type)
    {
        for (var depth = 0; depth < MaximumDepth && type >= 0 && DieFacts.TryRead(unit, type, out var facts); depth++)
        {
            var size = (int)Math.Clamp(facts.ByteSize, 0, int.MaxValue);
            switch (facts.Tag)
            {
                case DwTag.Typedef or DwTag.ConstType or DwTag.VolatileType or DwTag.RestrictType or DwTag.AtomicType:
                    (unit, type) = (facts.Unit, facts.Type);
                    continue;
                case DwTag.PointerType or DwTag.ReferenceType:
                    return (IsCharacter(facts.Unit, facts.Type) ? ValueKind.Text : ValueKind.Pointer, size > 0 ? size : facts.Unit.Header.AddressSize);
                case DwTag.EnumerationType:
                    return (ValueKind.Signed, size);
                case DwTag.BaseType:
                    return (facts.Encoding switch
                    {
                        EncodingSigned or EncodingSignedChar => ValueKind.Signed,
                        EncodingBoolean or EncodingUnsigned or EncodingUnsignedChar or EncodingUtf => ValueKind.Unsigned,
                        _ => ValueKind.Other,
                    }, size);
                default:
                    return (ValueKind.Other, size);
            }
        }

        return (ValueKind.Other, 0);
    }

    /// <summary>char and const char are text; u8 and bool, which are as small, are not.</summary>
    private static bool IsCharacter(Unit unit, long type)
    {
        for (var depth = 0; depth < MaximumDepth && type >= 0 && DieFacts.TryRead(unit, type, out var facts); depth++)
        {
            if (facts.Tag == DwTag.BaseType)
            {
                return facts.ByteSize == 1 && !facts.Name.IsNone && facts.Unit.Sections.Text(facts.Name) == "char";
            }

            if (facts.Tag is not (DwTag.ConstType or DwTag.VolatileType))
            {
                return false;
            }

            (unit, type) = (facts.Unit, facts.Type);
        }

        return false;
    }
}
