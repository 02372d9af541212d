using KTrace.Debugger.Memory;

namespace KTrace.Tests.Debugger.Memory;

/// <summary>The walk by itself; that it is the right one, PagingModesTests ask QEMU.</summary>
public sealed class PageTablesTests
{
    [Theory]
    [InlineData(PagingKind.TwoLevels, 2)]
    [InlineData(PagingKind.Pae, 3)]
    [InlineData(PagingKind.FourLevels, 4)]
    [InlineData(PagingKind.FiveLevels, 5)]
    public void A_table_that_points_to_itself_is_walked_once_a_level(PagingKind kind, int levels)
    {
        var memory = new OneTable(0x5000, 0x5001);
        var place = PageTables.Translate(0x1234, new PagingMode(kind, 0x5000), memory);
        Assert.Equal(new Translation(TranslationStatus.Mapped, 0x5234, 0x1000 - 0x234), place);
        Assert.Equal(levels, memory.Reads);
    }

    [Theory]
    [InlineData(PagingKind.TwoLevels)]
    [InlineData(PagingKind.Pae)]
    [InlineData(PagingKind.FourLevels)]
    [InlineData(PagingKind.FiveLevels)]
    public void Tables_outside_of_RAM_leave_the_question_to_others(PagingKind kind) =>
        Assert.Equal(TranslationStatus.Unknown, PageTables.Translate(0x1234, new PagingMode(kind, 0x5000), new OneTable(0x8000, 1)).Status);

    [Fact]
    public void An_address_that_is_not_canonical_asks_no_table()
    {
        var memory = new OneTable(0x5000, 0x5001);
        Assert.Equal(TranslationStatus.Unmapped, PageTables.Translate(0x0000_8000_0000_0000, new PagingMode(PagingKind.FourLevels, 0x5000), memory).Status);
        Assert.Equal(TranslationStatus.Unmapped, PageTables.Translate(0x0100_0000_0000_0000, new PagingMode(PagingKind.FiveLevels, 0x5000), memory).Status);
        Assert.Equal(0, memory.Reads);
    }

    [Fact]
    public void Before_paging_the_odd_megabytes_are_left_to_whoever_knows_the_address_line_20()
    {
        var mode = PagingMode.Of(cr0: 1, cr3: 0, cr4: 0, efer: 0);
        Assert.Equal(new Translation(TranslationStatus.Mapped, 0xffff8, 8), PageTables.Translate(0xffff8, mode, new OneTable(0, 0)));
        Assert.Equal(TranslationStatus.Unknown, PageTables.Translate(0x10_0000, mode, new OneTable(0, 0)).Status);
        Assert.Equal(TranslationStatus.Mapped, PageTables.Translate(0x20_0000, mode, new OneTable(0, 0)).Status);
    }

    [Theory]
    [InlineData(0x8005_0033, 0x1234_5fff, 0x06f0, 0xd01, PagingKind.FourLevels, 0x1234_5000)]
    [InlineData(0x8005_0033, 0x1234_5fff, 0x16f0, 0xd01, PagingKind.FiveLevels, 0x1234_5000)]
    [InlineData(0x8005_0033, 0x1234_5fff, 0x06f0, 0x801, PagingKind.Pae, 0x1234_5fe0)]
    [InlineData(0x8005_0033, 0x1234_5fff, 0x06d0, 0x000, PagingKind.TwoLevels, 0x1234_5000)]
    [InlineData(0x0005_0033, 0x1234_5fff, 0x06f0, 0xd01, PagingKind.Off, 0)]
    public void Control_registers_tell_the_mode_and_the_topmost_table_without_CR3s_flags(ulong cr0, ulong cr3, ulong cr4, ulong efer, PagingKind kind, ulong root)
    {
        var mode = PagingMode.Of(cr0, cr3, cr4, efer);
        Assert.Equal((kind, root), (mode.Kind, mode.Root));
    }

    /// <summary>One page whose entries are all the same.</summary>
    private sealed class OneTable(ulong address, ulong entry) : IPhysicalMemory
    {
        public int Reads { get; private set; }

        public bool TryRead(ulong at, Span<byte> destination)
        {
            Reads++;
            var isHere = at - address < 4096;
            BitConverter.GetBytes(entry).AsSpan(0, destination.Length).CopyTo(destination);
            return isHere;
        }
    }
}
