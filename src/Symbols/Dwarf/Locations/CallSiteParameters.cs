// What a call passed: DWARF 5, section 3.4.2 (DW_TAG_call_site_parameter) and GNU's form of it. A parameter names the register, or the place on the stack, in which the
// callee finds it (DW_AT_location), and says with what expression of the caller's frame its value can be had as long as the callee runs (DW_AT_call_value); GCC leaves a
// parameter out when there is no such expression. Where it is passed by reference, DW_AT_call_data_value has what it points to. On the stack the place counts from the
// caller's stack pointer at the call (DW_OP_breg7 (rsp) 0), which is the callee's CFA.
using System.Collections.Immutable;
using KTrace.Symbols.Arch;

namespace KTrace.Symbols.Dwarf.Locations;

/// <summary>One passed parameter.</summary>
/// <param name="Register">DWARF number of the register that it is passed in, or -1.</param>
/// <param name="StackOffset">Bytes from the callee's CFA, when <paramref name="Register"/> is -1.</param>
/// <param name="Parameter">The callee's DW_TAG_formal_parameter, or -1 when the site does not name it.</param>
/// <param name="Value">Its value, in the caller's frame.</param>
/// <param name="DataValue">What it points to.</param>
internal readonly record struct CallSiteParameter(int Register, long StackOffset, long Parameter, ExpressionBytes Value, ExpressionBytes DataValue);

/// <summary>All that a call's DIE says besides what is called.</summary>
/// <param name="Unit">The unit of the expressions.</param>
/// <param name="Target">For a call through a pointer, where it goes; evaluated in the caller's frame after the call, so that registers that the call clobbers do not count.</param>
internal sealed record CallSiteParameters(Unit Unit, ImmutableArray<CallSiteParameter> Parameters, ExpressionBytes Target)
{
    private const int MaximumParameters = 256;

    /// <exception cref="MalformedFileException">The DIE, or one of its children, is damaged.</exception>
    public static unsafe CallSiteParameters Read(Unit unit, int entry, Architecture architecture)
    {
        var parameters = ImmutableArray.CreateBuilder<CallSiteParameter>();
        ExpressionBytes target = default;
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, entry);
            if (!reader.ReadEntry())
            {
                throw unit.Malformed(entry, "a null entry where a call site is expected");
            }

            var hasChildren = reader.Entry.HasChildren;
            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                if (attribute.Name is DwAt.CallTarget or DwAt.GnuCallSiteTarget)
                {
                    target = Expression(ref reader, in attribute, unit);
                }
                else
                {
                    reader.Skip(in attribute);
                }
            }

            while (hasChildren && reader.ReadEntry())
            {
                if (reader.Entry.Tag is DwTag.CallSiteParameter or DwTag.GnuCallSiteParameter && parameters.Count < MaximumParameters)
                {
                    var childHasChildren = reader.Entry.HasChildren;
                    ReadParameter(ref reader, unit, architecture, parameters);
                    if (childHasChildren)
                    {
                        reader.SkipChildren();
                    }
                }
                else
                {
                    reader.SkipTree();
                }
            }
        }

        return new CallSiteParameters(unit, parameters.DrainToImmutable(), target);
    }

    /// <summary>The value that was passed in a register; "none" when the site does not say.</summary>
    public ExpressionBytes ValueOfRegister(int register, bool data)
    {
        foreach (ref readonly var parameter in Parameters.AsSpan())
        {
            if (parameter.Register == register)
            {
                return data ? parameter.DataValue : parameter.Value;
            }
        }

        return default;
    }

    /// <summary>The value that was passed on the stack.</summary>
    /// <param name="offset">Bytes from the callee's CFA.</param>
    public ExpressionBytes ValueOfSlot(long offset)
    {
        foreach (ref readonly var parameter in Parameters.AsSpan())
        {
            if (parameter.Register < 0 && parameter.StackOffset == offset)
            {
                return parameter.Value;
            }
        }

        return default;
    }

    /// <summary>The value that was passed for the parameter of that DIE.</summary>
    public ExpressionBytes ValueOfParameter(long entry)
    {
        foreach (ref readonly var parameter in Parameters.AsSpan())
        {
            if (parameter.Parameter == entry)
            {
                return parameter.Value;
            }
        }

        return default;
    }

    /// <summary>Reads an attribute of class exprloc (a block before DWARF 4); "none" for other classes.</summary>
    public static ExpressionBytes Expression(ref DieReader reader, in AttributeSpecification attribute, Unit unit)
    {
        if (!AttributeForm.IsBlock(attribute.Form))
        {
            reader.Skip(in attribute);
            return default;
        }

        var length = reader.ReadBlock(in attribute).Length;
        return new ExpressionBytes(unit.Sections.Info, reader.Position - length, length);
    }

    private static void ReadParameter(ref DieReader reader, Unit unit, Architecture architecture, ImmutableArray<CallSiteParameter>.Builder into)
    {
        ExpressionBytes location = default, value = default, data = default;
        long named = -1;
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            switch (attribute.Name)
            {
                case DwAt.Location:
                    location = Expression(ref reader, in attribute, unit);
                    break;
                case DwAt.CallValue or DwAt.GnuCallSiteValue:
                    value = Expression(ref reader, in attribute, unit);
                    break;
                case DwAt.CallDataValue or DwAt.GnuCallSiteDataValue:
                    data = Expression(ref reader, in attribute, unit);
                    break;
                case DwAt.CallParameter or DwAt.AbstractOrigin:
                    named = reader.ReadReference(in attribute);
                    break;
                default:
                    reader.Skip(in attribute);
                    break;
            }
        }

        var place = PassingPlace.Of(location, architecture.StackPointer);
        if (place.Kind is PassingPlaceKind.Register or PassingPlaceKind.Stack || named >= 0)
        {
            into.Add(new CallSiteParameter(
                place.Kind == PassingPlaceKind.Register ? place.Register : -1, place.Kind == PassingPlaceKind.Stack ? place.Offset : long.MinValue, named, value, data));
        }
    }
}
