namespace KTrace.Symbols.Dwarf.Locations;

/// <summary>Tells expressions whose value cannot change while their function runs: constants, addresses of the frame, what was passed to the function.</summary>
internal static class LastingExpression
{
    public static bool Is(Unit unit, in ExpressionBytes expression)
    {
        if (expression.IsNone)
        {
            return false;
        }

        try
        {
            var reader = expression.Section!.ReaderAt(expression.Start);
            var end = expression.Start + expression.Length;
            var isValue = false;
            while (reader.Position < end)
            {
                var op = reader.ReadU8();
                if (!Pass(op, unit, ref reader))
                {
                    return false;
                }

                isValue = op is DwOp.StackValue or DwOp.ImplicitValue || (isValue && op is DwOp.Piece or DwOp.BitPiece);
            }

            return isValue && reader.Position == end;
        }
        catch (MalformedFileException)
        {
            return false;
        }
    }

    private static bool Pass(byte op, Unit unit, ref ByteReader reader)
    {
        switch (op)
        {
            case >= DwOp.Lit0 and <= DwOp.Lit31 or (>= DwOp.Abs and <= DwOp.Plus) or (>= DwOp.Shl and <= DwOp.Xor) or (>= DwOp.Eq and <= DwOp.Ne):
            case DwOp.Dup or DwOp.Drop or DwOp.Over or DwOp.Swap or DwOp.Rot or DwOp.Nop or DwOp.StackValue or DwOp.CallFrameCfa:
                return true;
            case DwOp.Addr:
                reader.Skip((ulong)unit.Header.AddressSize);
                return true;
            case DwOp.Const1U or DwOp.Const1S or DwOp.Pick:
                reader.Skip(1);
                return true;
            case DwOp.Const2U or DwOp.Const2S or DwOp.Bra or DwOp.Skip:
                reader.Skip(2);
                return true;
            case DwOp.Const4U or DwOp.Const4S:
                reader.Skip(4);
                return true;
            case DwOp.Const8U or DwOp.Const8S:
                reader.Skip(8);
                return true;
            case DwOp.ConstU or DwOp.ConstS or DwOp.PlusUconst or DwOp.Addrx or DwOp.Constx or DwOp.GnuAddrIndex or DwOp.GnuConstIndex or DwOp.Fbreg or DwOp.Piece
                or DwOp.Convert or DwOp.GnuConvert or DwOp.Reinterpret or DwOp.GnuReinterpret:
                reader.ReadUleb128();
                return true;
            case DwOp.ImplicitValue or DwOp.EntryValue or DwOp.GnuEntryValue:
                reader.Skip(reader.ReadUleb128());
                return true;
            case DwOp.BitPiece:
                reader.ReadUleb128();
                reader.ReadUleb128();
                return true;
            case DwOp.ConstType or DwOp.GnuConstType:
                reader.ReadUleb128();
                reader.Skip(reader.ReadU8());
                return true;
            default:
                return false;
        }
    }
}
