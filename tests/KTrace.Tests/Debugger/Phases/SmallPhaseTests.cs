using KTrace.Debugger.Phases;
using KTrace.Symbols;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.Phases;

/// <summary>The pieces that phases are told by, without a machine.</summary>
public sealed class SmallPhaseTests
{
    private const string Reset = "\r\nCPU#0\r\nEAX=00000000 EBX=00000000\r\nCS =f000 ffff0000 0000ffff 00009b00\r\nSS =0000 00000000 0000ffff 00009300\r\nGDT=     00000000 0000ffff\r\nIDT=     00000000 0000ffff\r\n";
    private const string Long = "\r\nCPU#1\r\nCS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]\r\nIDT=     fffffe0000000000 00000fff\r\n";
    private const string Protected = "CS =0010 00000000 ffffffff 00cf9b00 DPL=0 CS32 [-RA]\r\nIDT=     0000a000 000007ff\r\n";

    [Fact]
    public void The_monitors_registers_tell_base_kind_and_interrupt_table_of_each_cpu()
    {
        Assert.Equal(new SegmentBases(0xffff0000, 16, 0), SegmentBases.TryParse(Reset, 0));
        Assert.Equal(new SegmentBases(0, 64, 0xfffffe0000000000), SegmentBases.TryParse(Reset + Long, 1));
        Assert.Equal(new SegmentBases(0xffff0000, 16, 0), SegmentBases.TryParse(Reset + Long, 0));
        Assert.Equal(new SegmentBases(0, 32, 0xa000), SegmentBases.TryParse(Protected, 0));
    }

    [Theory]
    [InlineData("")]
    [InlineData("unknown command: 'info registers'")]
    [InlineData("CS =f000 ffff0000 0000ffff 0000")]
    [InlineData("CS =f000 ffff0000\nIDT=     00000000 0000ffff")]
    [InlineData("CS =f000 zzzz0000 0000ffff 00009b00\nIDT=     00000000 0000ffff")]
    [InlineData("CS =f000 fffffffffffffffff 0000ffff 00009b00\nIDT=     00000000 0000ffff")]
    public void Anything_else_tells_nothing(string text) => Assert.Null(SegmentBases.TryParse(text, 0));

    [Fact]
    public void A_cpu_that_the_monitor_does_not_name_is_not_known() => Assert.Null(SegmentBases.TryParse(Reset + Long, 2));

    [Fact]
    public void A_gates_handler_is_put_together_from_its_pieces()
    {
        Assert.Equal(0xffffffff81c00990, InterruptGates.Handler([0x90, 0x09, 0x10, 0, 0, 0x8e, 0xc0, 0x81, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
        Assert.Equal(0xc156b160, InterruptGates.Handler([0x60, 0xb1, 0x60, 0, 0, 0x8e, 0x56, 0xc1]));
        Assert.Null(InterruptGates.Handler(new byte[16]));
    }

    [Fact]
    public void Moved_code_is_found_by_its_bytes_and_not_where_they_differ()
    {
        var bytes = new byte[4096];
        new Random(20261121).NextBytes(bytes);
        var code = new MovableCode([(0x200, new SectionData("f", ".head.text", bytes[..64])), (0x1000, new SectionData("f", ".text", bytes))], null);
        Assert.Equal(0x1f03000UL, Locate(code, 0x1f03000, 0x1000, bytes, 700));
        Assert.Equal(0x1f03000UL, Locate(code, 0x1f03000, 0x1000, bytes, 1400));
        Assert.Equal(0x100000UL, Locate(code, 0x100000, 0x1000, bytes, 700));
        Assert.Equal(0x100000UL, Locate(code, 0x100000, 0x200, bytes[..64], 0));
        Assert.Null(Locate(code, 0x100008, 0x1000, bytes, 700));
        var changed = bytes.ToArray();
        changed[720] ^= 1;
        Assert.Null(Locate(code, 0x1f03000, 0x1000, changed, 700));
        changed = bytes.ToArray();
        changed[690] ^= 1;
        Assert.Null(Locate(code, 0x1f03000, 0x1000, changed, 700));

        static ulong? Locate(MovableCode code, ulong start, ulong link, byte[] memory, int offset) =>
            code.Locate(start + link + (ulong)offset, memory.AsSpan(Math.Max(0, offset - 64)..offset), memory.AsSpan(offset, Math.Min(64, memory.Length - offset)));
    }

    [Fact]
    public void Code_that_repeats_itself_takes_bounded_time()
    {
        var code = new MovableCode([(0, new SectionData("f", ".text", new byte[8 << 20]))], null);
        Assert.Null(code.Locate(0x100007, new byte[64], [.. new byte[40], .. Enumerable.Repeat((byte)1, 24)]));
    }

    [Fact]
    public void The_parts_of_the_stock_image_are_where_its_header_says()
    {
        var parts = BootParts.TryOpen(StockKernel.Vmlinuz)!;
        Assert.Equal((0x100000u, 0x200000u, true, 0x1000000UL), (parts.LoadAddress, parts.Alignment, parts.Is64Bit, parts.PreferredAddress));
        Assert.Equal(new FileInfo(StockKernel.Vmlinuz).Length, parts.Setup.Length + parts.Decompressor.Length);
        Assert.True(parts.PayloadOffset + parts.PayloadLength < parts.Decompressor.Length);
        Assert.Null(BootParts.TryOpen(StockKernel.Vmlinux));
    }

    [Fact]
    public void An_image_that_ends_within_its_setup_code_is_malformed()
    {
        using var folder = new ScratchFolder();
        File.WriteAllBytes(folder.File("vmlinuz"), File.ReadAllBytes(StockKernel.Vmlinuz)[..2048]);
        Assert.Throws<MalformedFileException>(() => BootParts.TryOpen(folder.File("vmlinuz")));
        Assert.Contains("truncated", Assert.Single(BootCode.Open(folder.File("vmlinuz")).Problems));
    }
}
