// Expressions that say no more than "follow these pointers": a base register or an address, and from there offsets and dereferences. GCC describes a variable so whose value it
// loads when it needs it (DW_OP_breg3 1360; DW_OP_deref; DW_OP_plus_uconst 64; DW_OP_stack_value: adapter->rx_ring->name).
using System.Collections.Immutable;
using KTrace.Symbols.Recovery;

namespace KTrace.Symbols.Dwarf.Locations;

/// <summary>Reads such expressions.</summary>
internal static class LoadedExpression
{
    private const int MaximumLoads = 6;

    /// <summary>The value of a variable of that size; null for any other expression, and for one that loads nothing.</summary>
    /// <exception cref="MalformedFileException">The expression is cut off.</exception>
    public static LoadedTerm? Read(Unit unit, in ExpressionBytes expression, int size)
    {
        if (expression.IsNone || size is not (1 or 2 or 4 or 8) || size > unit.Header.AddressSize)
        {
            return null;
        }

        var reader = expression.Section!.ReaderAt(expression.Start);
        var end = expression.Start + expression.Length;
        var op = reader.ReadU8();
        int register;
        long offset;
        switch (op)
        {
            case >= DwOp.Breg0 and <= DwOp.Breg31:
                (register, offset) = (op - DwOp.Breg0, reader.ReadSleb128());
                break;
            case DwOp.Addr:
                (register, offset) = (-1, unit.Header.AddressSize == 8 ? (long)reader.ReadU64() : reader.ReadU32());
                break;
            default:
                return null;
        }

        var offsets = ImmutableArray.CreateBuilder<long>();
        while (reader.Position < end && offsets.Count < MaximumLoads)
        {
            switch (reader.ReadU8())
            {
                case DwOp.PlusUconst:
                    offset += (long)reader.ReadUleb128();
                    break;
                case DwOp.Deref:
                    offsets.Add(offset);
                    offset = 0;
                    break;
                case DwOp.StackValue when reader.Position == end && offsets.Count > 0:
                    return new LoadedTerm(register, offsets.ToImmutable(), unit.Header.AddressSize, offset);
                default:
                    return null;
            }
        }

        if (reader.Position < end)
        {
            return null;
        }

        offsets.Add(offset);
        return new LoadedTerm(register, offsets.ToImmutable(), size, 0);
    }
}
