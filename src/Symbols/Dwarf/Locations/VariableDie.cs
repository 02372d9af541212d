// Parameters and variables: DWARF 5, section 4.1. A copy of an inlined function, and a clone, has DIEs of its own with locations, and leaves names, types and constants to
// the abstract instance (DW_AT_abstract_origin). GCC leaves a parameter of a copy out altogether when it knows neither place nor value: the abstract instance has them all.
using System.Buffers.Binary;

namespace KTrace.Symbols.Dwarf.Locations;

/// <summary>One variable or parameter, as much of it as concerns its value.</summary>
internal sealed class VariableDie
{
    private const int MaximumOrigins = 8;
    private const int MaximumConstant = 4096;

    private Unit? _locationUnit;
    private ushort _form;
    private ulong _list;
    private ExpressionBytes _expression;

    private VariableDie(int entry) => Entry = entry;

    /// <summary>Bytes from the start of .debug_info.</summary>
    public int Entry { get; }

    public string Name { get; private set; } = "";

    /// <summary>DW_AT_type, bytes from the start of .debug_info; -1 for none.</summary>
    public long Type { get; private set; } = -1;

    /// <summary>DW_AT_abstract_origin of the DIE itself, or -1.</summary>
    public long Origin { get; private set; } = -1;

    /// <summary>DW_AT_const_value, little-endian; null when it has none. Of a number the 8 bytes of it, sign-extended where the form says so.</summary>
    public byte[]? Constant { get; private set; }

    public bool IsParameter { get; private set; }

    /// <summary>The unit of its location expressions.</summary>
    public Unit Unit { get; private set; } = null!;

    /// <summary>The place holds wherever the variable is visible: it is no list.</summary>
    public bool HasOneLocation => !_expression.IsNone;

    public bool HasLocation => _locationUnit is not null;

    /// <summary>Reads a DIE and what it leaves to its origins; null when there is none at that offset.</summary>
    /// <exception cref="MalformedFileException">The DIE, or an origin of it, is damaged.</exception>
    public static VariableDie? Read(Unit from, long entry)
    {
        if (from.Holding(entry) is not { } unit)
        {
            return null;
        }

        var variable = new VariableDie((int)entry) { Unit = unit };
        var (at, origin) = (unit, entry);
        for (var depth = 0; depth < MaximumOrigins && origin >= 0 && at.Holding(origin) is { } holder; depth++)
        {
            at = holder;
            origin = variable.ReadOne(holder, (int)origin, isFirst: depth == 0);
        }

        return variable;
    }

    /// <summary>Its location description at an address of the object file; "none" where it was optimized out.</summary>
    /// <exception cref="MalformedFileException">Its location list is damaged.</exception>
    public ExpressionBytes At(ulong address) => _locationUnit is null ? default
        : HasOneLocation ? _expression
        : LocationLists.Find(_locationUnit, _form, _list, address);

    private unsafe long ReadOne(Unit unit, int entry, bool isFirst)
    {
        long origin = -1;
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, entry);
            if (!reader.ReadEntry())
            {
                return -1;
            }

            if (isFirst)
            {
                IsParameter = reader.Entry.Tag == DwTag.FormalParameter;
            }

            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                switch (attribute.Name)
                {
                    case DwAt.Name when Name.Length == 0:
                        Name = unit.Sections.Text(reader.ReadString(in attribute));
                        break;
                    case DwAt.Type when Type < 0:
                        Type = reader.ReadReference(in attribute);
                        break;
                    case DwAt.AbstractOrigin or DwAt.Specification:
                        origin = reader.ReadReference(in attribute);
                        break;
                    case DwAt.Location when _locationUnit is null:
                        ReadLocation(unit, ref reader, in attribute);
                        break;
                    case DwAt.ConstValue when Constant is null && _locationUnit is null:
                        Constant = ReadConstant(unit, ref reader, in attribute);
                        break;
                    default:
                        reader.Skip(in attribute);
                        break;
                }
            }
        }

        if (isFirst)
        {
            Origin = origin;
        }

        return origin;
    }

    private void ReadLocation(Unit unit, ref DieReader reader, in AttributeSpecification attribute)
    {
        (_locationUnit, Unit) = (unit, unit);
        _form = attribute.Form;
        if (AttributeForm.IsBlock(attribute.Form))
        {
            _expression = CallSiteParameters.Expression(ref reader, in attribute, unit);
            if (_expression.IsNone)
            {
                // An empty expression says "optimized out" (section 2.6.1.1.4).
                _locationUnit = null;
            }
        }
        else
        {
            _list = reader.ReadNumber(in attribute);
        }
    }

    private static byte[]? ReadConstant(Unit unit, ref DieReader reader, in AttributeSpecification attribute)
    {
        if (AttributeForm.IsBlock(attribute.Form))
        {
            var block = reader.ReadBlock(in attribute);
            return block.Length is > 0 and <= MaximumConstant ? block.ToArray() : null;
        }

        if (attribute.Form is DwForm.String or DwForm.Strp or DwForm.LineStrp or DwForm.Strx or DwForm.Strx1 or DwForm.Strx2 or DwForm.Strx3 or DwForm.Strx4)
        {
            var text = unit.Sections.Bytes(reader.ReadString(in attribute));
            return text.Length < MaximumConstant ? [.. text, 0] : null;
        }

        if (attribute.Form == DwForm.Data16)
        {
            var position = reader.Position;
            reader.Skip(in attribute);
            return unit.Sections.Info.Span.Slice(position, 16).ToArray();
        }

        if (!AttributeForm.IsConstant(attribute.Form) && attribute.Form != DwForm.Addr)
        {
            reader.Skip(in attribute);
            return null;
        }

        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, reader.ReadNumber(in attribute));
        return bytes;
    }
}
