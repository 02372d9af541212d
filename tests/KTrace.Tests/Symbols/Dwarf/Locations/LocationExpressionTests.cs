using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Dwarf.Locations;

public sealed class LocationExpressionTests
{
    private static readonly byte Int = Offset(0), Byte = Offset(1), Double = Offset(2), Wide = Offset(3);

    public static TheoryData<string, byte[], ulong> Numbers => new()
    {
        { "lit31", [0x4f], 31 },
        { "const1u const1s plus", [0x08, 0xff, 0x09, 0xff, 0x22], 0xfe },
        { "const2u const2s minus", [0x0a, 0x00, 0x80, 0x0b, 0x00, 0x80, 0x1c], 0x10000 },
        { "const4s", [0x0d, 0xfe, 0xff, 0xff, 0xff], ulong.MaxValue - 1 },
        { "const4u", [0x0c, 0xfe, 0xff, 0xff, 0xff], 0xfffffffe },
        { "const8u", [0x0e, 1, 0, 0, 0, 0, 0, 0, 0x80], 0x8000000000000001 },
        { "constu consts mul", [0x10, 0x85, 0x01, 0x11, 0x7f, 0x1e], unchecked((ulong)-133) },
        { "addr is slid", [0x03, 0, 0x10, 0, 0, 0, 0, 0, 0], 0x101000 },
        { "breg5 -1", [0x75, 0x7f], 0x4f },
        { "bregx 5, 16", [0x92, 5, 16], 0x60 },
        { "fbreg 8", [0x91, 8], 0x7008 },
        { "call_frame_cfa", [0x9c], 0x7010 },
        { "deref", [0x0a, 0x00, 0x20, 0x06], 0x8877665544332211 },
        { "deref_size 2", [0x0a, 0x00, 0x20, 0x94, 2], 0x2211 },
        { "deref_type 1 unsigned char", [0x0a, 0x07, 0x20, 0xa6, 1, Byte], 0x88 },
        { "dup plus", [0x33, 0x12, 0x22], 6 },
        { "drop", [0x33, 0x34, 0x13], 3 },
        { "over", [0x33, 0x34, 0x14, 0x1e, 0x22], 15 },
        { "pick 2", [0x31, 0x32, 0x33, 0x15, 2], 1 },
        { "swap minus", [0x33, 0x35, 0x16, 0x1c], 2 },
        { "rot", [0x31, 0x32, 0x33, 0x17, 0x1c, 0x22], 2 },
        { "abs", [0x09, 0xfb, 0x19], 5 },
        { "neg", [0x35, 0x1f], unchecked((ulong)-5) },
        { "not", [0x30, 0x20], ulong.MaxValue },
        { "div is signed", [0x09, 0xf9, 0x32, 0x1b], unchecked((ulong)-3) },
        { "mod is unsigned", [0x09, 0xff, 0x3a, 0x1d], ulong.MaxValue % 10 },
        { "and or xor", [0x3f, 0x36, 0x1a, 0x38, 0x21, 0x33, 0x27], 13 },
        { "plus_uconst", [0x33, 0x23, 0x80, 0x01], 131 },
        { "shl", [0x31, 0x44, 0x24], 1 << 20 },
        { "shl by 64", [0x31, 0x08, 64, 0x24], 0 },
        { "shr", [0x09, 0xff, 0x08, 60, 0x25], 15 },
        { "shra", [0x09, 0xf0, 0x32, 0x26], unchecked((ulong)-4) },
        { "lt is signed", [0x09, 0xff, 0x30, 0x2d], 1 },
        { "ge", [0x33, 0x33, 0x2a], 1 },
        { "gt le eq ne", [0x34, 0x33, 0x2b, 0x34, 0x33, 0x2c, 0x22, 0x34, 0x34, 0x29, 0x22, 0x34, 0x34, 0x2e, 0x22], 2 },
        { "bra over a constant", [0x31, 0x28, 1, 0, 0x35, 0x36], 6 },
        { "bra not taken", [0x36, 0x30, 0x28, 1, 0, 0x35], 5 },
        { "skip", [0x36, 0x2f, 1, 0, 0x35], 6 },
        { "nop", [0x96, 0x36, 0x96], 6 },
        { "entry_value reg5", [0xa3, 1, 0x55], 0x55 },
        { "GNU_entry_value reg5", [0xf3, 1, 0x55], 0x55 },
        { "push_object_address", [0x97], 0x9000 },
        { "const_type int, convert to generic", [0xa4, Int, 4, 0xff, 0xff, 0xff, 0xff, 0xa8, 0], ulong.MaxValue },
        { "GNU_const_type unsigned char, GNU_convert to int", [0xf4, Byte, 1, 0xff, 0xf7, Int, 0xf7, 0], 0xff },
        { "regval_type int", [0xa5, 6, Int, 0xa8, 0], unchecked((ulong)int.MinValue) },
        { "reinterpret a double", [0xa4, Double, 8, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0xa9, 0], 0x3ff0000000000000 },
        { "convert a double", [0xa4, Double, 8, 0, 0, 0, 0, 0, 0, 0x14, 0x40, 0xa8, 0], 5 },
        { "typed division", [0xa4, Byte, 1, 200, 0xa4, Byte, 1, 3, 0x1b, 0xa8, 0], 66 },
        { "GNU_parameter_ref", [0xfa, 0x44, 0, 0, 0], 0x44 },
        { "call2", [0x33, 0x98, 0x30, 0, 0x22], 11 },
        { "call4", [0x33, 0x99, 0x30, 0, 0, 0, 0x22], 11 },
        { "call_ref", [0x33, 0x9a, 0x30, 0, 0, 0, 0x22], 11 },
    };

    public static TheoryData<string, byte[]> Refused => new()
    {
        { "an empty stack", [0x96] },
        { "an operator without operands", [0x22] },
        { "a division by zero", [0x31, 0x30, 0x1b] },
        { "an unknown register", [0x70, 0] },
        { "an unknown operator", [0xff] },
        { "thread-local storage", [0x31, 0x9b] },
        { "another address space", [0x31, 0x32, 0x18] },
        { "a branch out of the expression", [0x2f, 0x7f, 0] },
        { "a loop", [0x2f, 0xfd, 0xff] },
        { "a stack that grows for ever", [0x31, 0x2f, 0xfc, 0xff] },
        { "a call of itself", [0x98, 0x31, 0] },
        { "a base type of 16 bytes", [0xa4, Wide, 8, 0, 0, 0, 0, 0, 0, 0, 0] },
        { "arithmetic of two types", [0xa4, Int, 4, 1, 0, 0, 0, 0x31, 0x22] },
        { "a constant that runs over the end", [0x0e, 1] },
        { "an operand behind a register", [0x55, 0x31] },
        { "a dereference of 9 bytes", [0x0a, 0x00, 0x20, 0x94, 9] },
        { "an entry value that is not known", [0xa3, 1, 0x50] },
    };

    [Theory]
    [MemberData(nameof(Numbers))]
    public void An_operator_gives_what_the_standard_says(string what, byte[] expression, ulong expected)
    {
        var result = Frame().Locate([.. expression, DwOp.StackValue]);

        Assert.True(result.Outcome == ExpressionOutcome.Value, $"{what}: {result.Refusal}");
        Assert.Equal(new LocationPiece(LocationKind.Value, expected), Assert.Single(result.Pieces.ToArray()));
    }

    [Theory]
    [MemberData(nameof(Refused))]
    public void What_cannot_be_evaluated_is_refused(string what, byte[] expression)
    {
        var result = Frame().Locate(expression);

        Assert.True(result.Outcome == ExpressionOutcome.Unusable, what);
        Assert.Equal(0, result.Count);
    }

    [Fact]
    public void A_number_without_stack_value_is_an_address() =>
        Assert.Equal(new LocationPiece(LocationKind.Memory, 0x7008), Assert.Single(Frame().Locate([0x91, 8]).Pieces.ToArray()));

    [Fact]
    public void Four_byte_addresses_wrap()
    {
        var frame = Frame();
        var unit = FakeFrame.UnitOf(addressSize: 4);

        Assert.Equal(0x4ul, frame.Locate([0x0c, 0xff, 0xff, 0xff, 0xff, 0x35, 0x22, DwOp.StackValue], unit).Pieces[0].Value);
        Assert.Equal(1ul, frame.Locate([0x0c, 0xff, 0xff, 0xff, 0xff, 0x30, 0x2d, DwOp.StackValue], unit).Pieces[0].Value);
        Assert.Equal(0xffffffff, frame.Locate([0x0c, 0, 0, 0, 0x80, 0x4f, 0x26, DwOp.StackValue], unit).Pieces[0].Value);
    }

    [Fact]
    public void Pieces_keep_their_places()
    {
        var result = Frame().Locate([0x55, 0x93, 4, 0x93, 2, 0x31, 0x9f, 0x93, 1, 0x91, 0, 0x93, 1, 0x54, 0x9d, 3, 5, 0x9e, 2, 7, 8, 0x93, 2]);

        Assert.Equal(
            [
                new LocationPiece(LocationKind.Register, 5, Bits: 32),
                new LocationPiece(LocationKind.Empty, 0, Bits: 16),
                new LocationPiece(LocationKind.Value, 1, Bits: 8),
                new LocationPiece(LocationKind.Memory, 0x7000, Bits: 8),
                new LocationPiece(LocationKind.Register, 4, Bits: 3, BitOffset: 5),
            ],
            result.Pieces[..5].ToArray());
        Assert.Equal([7, 8], result.Pieces[5].Bytes.Span.ToArray());
    }

    [Fact]
    public void An_implicit_pointer_names_its_target() =>
        Assert.Equal(
            new LocationPiece(LocationKind.ImplicitPointer, 0x1234, -2),
            Assert.Single(Frame().Locate([0xa0, 0x34, 0x12, 0, 0, 0x7e]).Pieces.ToArray()));

    [Fact]
    public void Memory_that_was_not_fetched_and_memory_that_cannot_be_read_differ()
    {
        var missing = Frame().Locate([0x0a, 0x00, 0x30, 0x06]);
        var unreadable = Frame().Locate([0x0a, 0xad, 0x0b, 0x06]);

        Assert.Equal((ExpressionOutcome.NotFetched, 0x3000ul), (missing.Outcome, missing.FailedAddress));
        Assert.Equal((ExpressionOutcome.Unreadable, 0xbadul), (unreadable.Outcome, unreadable.FailedAddress));
    }

    [Fact]
    public void Indexed_addresses_come_from_the_units_table()
    {
        var unit = FakeFrame.UnitOf(more: s => s[".debug_addr"] = new ByteWriter().U64(0).U64(0x1111).U64(0x2222).ToArray());

        Assert.Equal(0x102222ul, Frame().Locate([0xa1, 1, DwOp.StackValue], unit).Pieces[0].Value);
        Assert.Equal(0x2222ul, Frame().Locate([0xa2, 1, DwOp.StackValue], unit).Pieces[0].Value);
    }

    [Fact]
    public void What_a_value_came_from_is_kept()
    {
        Assert.Equal(ValueSources.None, Frame().Locate([0x31, 0x9f]).Sources);
        Assert.Equal(ValueSources.Register, Frame().Locate([0x75, 0, 0x9f]).Sources);
        Assert.Equal(ValueSources.Memory, Frame().Locate([0x0a, 0x00, 0x20, 0x06, 0x9f]).Sources);
        Assert.Equal(ValueSources.Entry, Frame().Locate([0xa3, 1, 0x55, 0x9f]).Sources);
    }

    [Fact]
    public void Damaged_expressions_end_soon_and_quietly()
    {
        var random = new Random(20261121);
        var unit = FakeFrame.UnitOf(more: s => s[".debug_addr"] = new byte[64]);
        var seeds = Numbers.Select(row => (byte[])row[1]).Concat(Refused.Select(row => (byte[])row[1])).ToArray();
        for (var i = 0; i < 4000; i++)
        {
            var bytes = Mutation.OfBytes([.. seeds[random.Next(seeds.Length)], .. seeds[random.Next(seeds.Length)]], random);
            var frame = Frame();
            var result = frame.Locate(bytes, unit);

            Assert.True(frame.Budget > -2);
            Assert.True(result.Outcome == ExpressionOutcome.Value || result.Count == 0);
        }
    }

    private static FakeFrame Frame()
    {
        var frame = new FakeFrame { Object = 0x9000, Slide = 0x100000 };
        frame.Registers[5] = 0x50;
        frame.Registers[6] = 0xffffffff80000000;
        frame.Entered[5] = 0x55;
        frame.Callable[0x30] = [0x38];
        frame.Callable[0x31] = [0x98, 0x31, 0];
        for (var i = 0; i < 8; i++)
        {
            frame.Memory[0x2000 + (ulong)i] = (byte)(0x11 * (i + 1));
        }

        return frame;
    }

    private static byte Offset(int type)
    {
        FakeFrame.UnitOf();
        return (byte)FakeFrame.Types[type].Offset;
    }
}
