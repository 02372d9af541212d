using System.Globalization;
using System.Text.Json;
using KTrace.Symbols.Types;

namespace KTrace.Cli.Verbs;

/// <summary>
/// A type, or a variable or function, as one JSON object on one line. Offsets and sizes are in bytes, offsets from the start of the type that was asked for; of a bit field
/// <c>offset</c> and <c>size</c> are its storage unit's, and <c>bit_offset</c> counts from the unit's lowest bit. Members without a name have <c>members</c> of their own.
/// Control characters in names are escaped.
/// </summary>
internal static class TypeJson
{
    private const int MaximumDepth = 16;
    private const int MaximumMembers = 100_000;

    public static void Write(Stream output, CType? type, Variable? variable)
    {
        using (var json = new Utf8JsonWriter(output))
        {
            json.WriteStartObject();
            if (type is not null)
            {
                WriteType(json, type);
            }
            else
            {
                WriteVariable(json, variable!);
            }

            json.WriteEndObject();
        }

        output.WriteByte((byte)'\n');
    }

    private static void WriteVariable(Utf8JsonWriter json, Variable variable)
    {
        json.WriteString("name", variable.Name);
        json.WriteString("kind", variable.Type is FunctionType ? "function" : "variable");
        json.WriteString("type", variable.Type is VoidType ? null : variable.Type.ToString());
        json.WriteString("declaration", TypeListing.Declare(variable));
        json.WriteString("address", "0x" + variable.Address.ToString("x", CultureInfo.InvariantCulture));
        json.WriteNumber("size", variable.Type.Size);
        json.WriteBoolean("per_cpu", variable.IsPerCpu);
    }

    private static void WriteType(Utf8JsonWriter json, CType type)
    {
        json.WriteString("name", type.Name.Length > 0 ? type.Name : type.ToString());
        json.WriteString("kind", type switch
        {
            StructType composite => composite.Kind.ToString().ToLowerInvariant(),
            EnumType => "enum",
            TypedefType => "typedef",
            IntegerType or FloatType or VoidType => "base",
            PointerType => "pointer",
            ArrayType => "array",
            FunctionType => "function",
            _ => "qualified",
        });
        json.WriteNumber("size", type.Size);
        if (type is TypedefType typedef)
        {
            json.WriteString("type", typedef.Target.ToString());
        }

        switch (type.Resolved)
        {
            case StructType composite:
                if (composite.IsIncomplete)
                {
                    json.WriteBoolean("incomplete", true);
                }

                var left = MaximumMembers;
                WriteMembers(json, composite, 0, 0, ref left);
                break;
            case EnumType enumeration:
                json.WriteStartArray("enumerators");
                foreach (var enumerator in enumeration.Enumerators)
                {
                    json.WriteStartObject();
                    json.WriteString("name", enumerator.Name);
                    if (enumeration.IsSigned)
                    {
                        json.WriteNumber("value", enumerator.Value);
                    }
                    else
                    {
                        json.WriteNumber("value", (ulong)enumerator.Value);
                    }

                    json.WriteEndObject();
                }

                json.WriteEndArray();
                break;
        }
    }

    private static void WriteMembers(Utf8JsonWriter json, StructType type, long origin, int depth, ref int left)
    {
        json.WriteStartArray("members");
        foreach (var placed in MemberGaps.Of(type).Members)
        {
            if (--left < 0)
            {
                break;
            }

            var member = placed.Member;
            json.WriteStartObject();
            json.WriteString("name", member.Name);
            json.WriteString("type", member.Type.ToString());
            json.WriteNumber("offset", origin + placed.Offset);
            json.WriteNumber("size", placed.Size);
            if (member.IsBitField)
            {
                json.WriteNumber("bit_offset", placed.Bit);
                json.WriteNumber("bit_size", member.BitSize);
            }

            if (Inline(member.Type) is { } inner && depth < MaximumDepth)
            {
                WriteMembers(json, inner, origin + placed.Offset, depth + 1, ref left);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>A structure without a tag, as it stands in its place: nothing else would tell its members.</summary>
    private static StructType? Inline(CType type)
    {
        for (var i = 0; i < MaximumDepth; i++)
        {
            switch (type)
            {
                case StructType { Name.Length: 0 } anonymous:
                    return anonymous;
                case QualifiedType qualified:
                    type = qualified.Target;
                    break;
                default:
                    return null;
            }
        }

        return null;
    }
}
