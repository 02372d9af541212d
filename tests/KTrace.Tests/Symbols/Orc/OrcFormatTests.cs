using KTrace.Symbols.Arch;
using KTrace.Symbols.Orc;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Symbols.CallFrame;

namespace KTrace.Tests.Symbols.Orc;

public class OrcFormatTests
{
    [Theory]
    [InlineData("4.14.336", 1, false)]
    [InlineData("5.10.0-28-amd64", 1, false)]
    [InlineData("5.12.0", 1, true)]
    [InlineData("6.1.0-56-amd64", 1, true)]
    [InlineData("6.3-rc1", 2, true)]
    [InlineData("6.4.0", 3, true)]
    [InlineData("7.0.1", 3, true)]
    public void A_release_tells_the_format(string release, int version, bool addsAfter) =>
        Assert.Equal(new OrcFormat(version, addsAfter), OrcFormat.FromRelease(release));

    [Theory]
    [InlineData("")]
    [InlineData("linux")]
    [InlineData("6.x")]
    public void Something_else_tells_nothing(string release) => Assert.Null(OrcFormat.FromRelease(release));

    [Theory]
    // flags: sp_reg 0-3, bp_reg 4-7, then by version
    [InlineData(1, 0x0005, OrcType.Call, false)]
    [InlineData(1, 0x0105, OrcType.Registers, true)]
    [InlineData(1, 0x0205, OrcType.RegistersPartial, true)]
    [InlineData(1, 0x0000, OrcType.Undefined, false)]
    [InlineData(1, 0x0400, OrcType.EndOfStack, false)]
    [InlineData(2, 0x0005, OrcType.Call, false)]
    [InlineData(2, 0x0505, OrcType.Registers, true)]
    [InlineData(2, 0x0105, OrcType.Registers, false)]
    [InlineData(2, 0x0800, OrcType.EndOfStack, false)]
    [InlineData(2, 0x0000, OrcType.Undefined, false)]
    [InlineData(3, 0x0205, OrcType.Call, false)]
    [InlineData(3, 0x0b05, OrcType.Registers, true)]
    [InlineData(3, 0x0405, OrcType.RegistersPartial, false)]
    [InlineData(3, 0x0100, OrcType.EndOfStack, false)]
    [InlineData(3, 0x0000, OrcType.Undefined, false)]
    public void Every_version_is_upgraded_to_one_meaning(int version, int flags, OrcType type, bool isSignal)
    {
        var entry = OrcEntry.Read([0x10, 0, 0xf0, 0xff, (byte)flags, (byte)(flags >> 8)], new OrcFormat(version, true));

        Assert.Equal((16, -16, type, isSignal), (entry.SpOffset, entry.BpOffset, entry.Type, entry.IsSignal));
        Assert.Equal((OrcRegister)(flags & 0xf), entry.SpRegister);
    }

    [Fact]
    public void A_stack_switch_is_dereferenced_before_or_after_the_offset_by_kernel()
    {
        var entry = new OrcEntry(24, 0, OrcRegister.SpIndirect, OrcRegister.Undefined, OrcType.Call, false);

        Assert.Equal(new CfaRule(CfaKind.Dereferenced, X86_64.Rsp, 0, 24), OrcTable.ToRow(entry, new OrcFormat(1, true))!.Cfa);
        Assert.Equal(new CfaRule(CfaKind.Dereferenced, X86_64.Rsp, 24), OrcTable.ToRow(entry, new OrcFormat(1, false))!.Cfa);
    }

    [Fact]
    public void Registers_types_and_ends_become_rows()
    {
        var format = new OrcFormat(3, true);
        Assert.Null(OrcTable.ToRow(new OrcEntry(0, 0, OrcRegister.Undefined, 0, OrcType.Undefined, false), format));
        Assert.Null(OrcTable.ToRow(new OrcEntry(0, 0, OrcRegister.PreviousSp, 0, OrcType.Call, false), format));
        Assert.Equal(FrameShape.EndOfStack, OrcTable.ToRow(new OrcEntry(0, 0, 0, 0, OrcType.EndOfStack, false), format)!.Shape);
        Assert.Equal(new CfaRule(CfaKind.Register, X86_64.R10, 0), OrcTable.ToRow(new OrcEntry(8, 0, OrcRegister.R10, 0, OrcType.Call, false), format)!.Cfa);
        var regs = OrcTable.ToRow(new OrcEntry(8, 0, OrcRegister.Sp, 0, OrcType.Registers, true), format)!;
        Assert.Equal((FrameShape.SavedRegisters, true), (regs.Shape, regs.IsInterrupted));
        Assert.Equal(FrameShape.InterruptFrame, OrcTable.ToRow(new OrcEntry(8, 0, OrcRegister.Sp, 0, OrcType.RegistersPartial, false), format)!.Shape);
        var call = OrcTable.ToRow(new OrcEntry(16, -16, OrcRegister.Sp, OrcRegister.PreviousSp, OrcType.Call, false), format)!;
        Assert.Equal(new RegisterRule(RegisterRuleKind.AtCfa, -16), call.RuleOf(X86_64.Rbp));
        Assert.Equal(new RegisterRule(RegisterRuleKind.AtCfa, -8), call.RuleOf(X86_64.Rip));
        Assert.False(call.KeepsCalleeSaved);
    }

    [Fact]
    public void A_modules_unsorted_table_is_searched_and_a_terminator_yields_to_the_entry_at_its_address()
    {
        // sp+8 at 0x2000, terminator at 0x2010, sp+16 at 0x2010, sp+24 at 0x1000: as a linker leaves them.
        var table = Open(
            0x9000,
            [(0x2000, 8, 0x205), (0x2010, 16, 0x205), (0x2010, 0, 0), (0x1000, 24, 0x205)],
            [0xfe, 0x5d, 0x32, 0xbf, 0x58, 0x1b, 0xd6, 0x3b, 0x2c, 0xa9, 0xa5, 0xc6, 0x5b, 0xa5, 0xa6, 0x25, 0xea, 0xb3, 0xfe, 0x24],
            release: null)!;

        Assert.Null(table.FindEntry(0xfff));
        Assert.Equal(24, table.FindEntry(0x1fff)!.Value.SpOffset);
        Assert.Equal(8, table.FindEntry(0x200f)!.Value.SpOffset);
        Assert.Equal(16, table.FindEntry(0x2010)!.Value.SpOffset);
        Assert.Equal([0x1000ul, 0x2000ul, 0x2010ul, 0x2010ul], Enumerable.Range(0, 4).Select(table.AddressOf));
    }

    [Fact]
    public void An_unknown_header_is_read_by_the_release_and_said_and_neither_gives_no_table()
    {
        var guessed = Open(0x9000, [(0x2000, 8, 0x205)], new byte[20], "6.19.1")!;
        Assert.True(guessed.HasUnknownHeader);
        Assert.Equal((3, OrcType.Call), (guessed.Format.Version, guessed.FindEntry(0x2000)!.Value.Type));
        Assert.False(Open(0x9000, [(0x2000, 8, 0x005)], [], "6.1.0")!.HasUnknownHeader);
        Assert.Null(Open(0x9000, [(0x2000, 8, 0x205)], new byte[20], null));
        Assert.Null(Open(0x9000, [(0x2000, 8, 0x005)], [], null));
        Assert.NotNull(Open(0x9000, [(0x2000, 8, 0x005)], [], "6.1.0"));
    }

    [Fact]
    public void Sections_of_different_counts_are_malformed() =>
        Assert.Throws<KTrace.Symbols.MalformedFileException>(() => OrcTable.TryOpen(
            new CallFrameBytes().With(".orc_unwind_ip", new byte[8]).With(".orc_unwind", new byte[6]), "6.1.0"));

    internal static OrcTable? Open(ulong address, (ulong At, short Sp, ushort Flags)[] entries, byte[] header, string? release)
    {
        var ips = entries.SelectMany((e, i) => BitConverter.GetBytes((int)(e.At - (address + (4 * (ulong)i))))).ToArray();
        var rows = entries.SelectMany(e => (byte[])[.. BitConverter.GetBytes(e.Sp), 0, 0, .. BitConverter.GetBytes(e.Flags)]).ToArray();
        var source = new CallFrameBytes().With(".orc_unwind_ip", ips, address).With(".orc_unwind", rows);
        return OrcTable.TryOpen(header.Length == 0 ? source : source.With(".orc_header", header), release);
    }
}
