// The few expressions by which debug information names the place that an argument is passed in.
namespace KTrace.Symbols.Dwarf.Locations;

internal enum PassingPlaceKind : byte
{
    /// <summary>None of the others.</summary>
    Unknown,

    /// <summary>DW_OP_regN.</summary>
    Register,

    /// <summary>DW_OP_bregN 0; DW_OP_deref: what a register points to.</summary>
    BehindRegister,

    /// <summary>On the stack: DW_OP_fbreg N in the callee (whose frame base is its CFA), DW_OP_breg(stack pointer) N at the call.</summary>
    Stack,
}

/// <summary>Where an argument is passed.</summary>
/// <param name="Register">DWARF number.</param>
/// <param name="Offset">Bytes from the frame base, or from the stack pointer at the call.</param>
/// <param name="Size">Bytes that DW_OP_deref_size reads; 0 for DW_OP_deref and for a location.</param>
internal readonly record struct PassingPlace(PassingPlaceKind Kind, int Register = -1, long Offset = 0, int Size = 0)
{
    /// <param name="frameBaseIsCfa">DW_AT_frame_base is DW_OP_call_frame_cfa (GCC); clang's is the frame pointer, when it keeps one.</param>
    public static PassingPlace Of(in ExpressionBytes expression, int stackPointer, bool frameBaseIsCfa = true)
    {
        if (expression.IsNone)
        {
            return default;
        }

        var reader = expression.Section!.ReaderAt(expression.Start);
        var end = expression.Start + expression.Length;
        PassingPlace place = default;
        var op = reader.ReadU8();
        if (op is >= DwOp.Reg0 and <= DwOp.Reg31)
        {
            place = new PassingPlace(PassingPlaceKind.Register, op - DwOp.Reg0);
        }
        else if (op == DwOp.Regx)
        {
            place = new PassingPlace(PassingPlaceKind.Register, (int)Math.Min(reader.ReadUleb128(), int.MaxValue));
        }
        else if (op is (>= DwOp.Breg0 and <= DwOp.Breg31) or DwOp.Fbreg or DwOp.Bregx)
        {
            var register = op == DwOp.Fbreg ? stackPointer : op == DwOp.Bregx ? (int)Math.Min(reader.ReadUleb128(), int.MaxValue) : op - DwOp.Breg0;
            var offset = reader.ReadSleb128();
            var (dereferenced, size) = Dereference(ref reader, end);
            place = op == DwOp.Fbreg && !frameBaseIsCfa ? default
                : register == stackPointer ? new PassingPlace(PassingPlaceKind.Stack, -1, offset, size)
                : dereferenced && offset == 0 ? new PassingPlace(PassingPlaceKind.BehindRegister, register, 0, size)
                : default;
        }

        return reader.Position == end ? place : default;
    }

    public static bool IsCfa(in ExpressionBytes frameBase) => frameBase.Span is [DwOp.CallFrameCfa];

    private static (bool Dereferenced, int Size) Dereference(ref ByteReader reader, int end)
    {
        if (reader.Position >= end)
        {
            return (false, 0);
        }

        var before = reader.Position;
        switch (reader.ReadU8())
        {
            case DwOp.Deref:
                return (true, 0);
            case DwOp.DerefSize:
                return (true, reader.ReadU8());
            default:
                reader.Position = before;
                return (false, 0);
        }
    }
}
