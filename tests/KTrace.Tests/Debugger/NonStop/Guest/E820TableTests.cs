using System.Collections.Immutable;
using KTrace.Debugger.NonStop.Guest;

namespace KTrace.Tests.Debugger.NonStop.Guest;

/// <summary>The memory map that a kernel is about to read, and what is taken out of it.</summary>
public sealed class E820TableTests
{
    private const ulong Mega = 1 << 20;

    // QEMU's q35 with 512 MiB.
    private static readonly ImmutableArray<E820Entry> Q35 =
    [
        new(0, 0x9fc00, E820Entry.Ram), new(0x9fc00, 0x400, E820Entry.Reserved), new(0xf0000, 0x10000, E820Entry.Reserved),
        new(0x100000, 0x1fedf000, E820Entry.Ram), new(0x1ffdf000, 0x21000, E820Entry.Reserved), new(0xb0000000, 0x10000000, E820Entry.Reserved),
    ];

    [Fact]
    public void A_table_is_read_as_it_was_written()
    {
        var page = Page(Q35);
        Assert.Equal(Q35.ToArray(), E820Table.Read(page)!.Value.ToArray());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(129)]
    [InlineData(255)]
    public void A_number_of_entries_that_no_table_has_is_no_table(int count)
    {
        var page = Page(Q35);
        page[E820Table.CountOffset] = (byte)count;
        Assert.Null(E820Table.Read(page));
    }

    [Fact]
    public void An_entry_that_wraps_around_is_no_table() => Assert.Null(E820Table.Read(Page([new(ulong.MaxValue - 10, 100, 1)])));

    [Fact]
    public void Room_is_found_at_the_upper_end_of_memory() =>
        Assert.Equal(0x1fe00000UL - (36 * Mega), E820Table.FindRoom(Q35, 36 * Mega, 2 * Mega, [], 1UL << 32));

    [Fact]
    public void What_lies_in_memory_is_avoided()
    {
        // An initramfs at the upper end, as QEMU puts it, and the kernel below it.
        PhysicalRange[] occupied = [new(0x1f000000, 0x1ffdf000), new(0x1c000000, 0x1e000000), new(0, Mega)];
        Assert.Equal(0x1c000000UL - (36 * Mega), E820Table.FindRoom(Q35, 36 * Mega, 2 * Mega, occupied, 1UL << 32));
        Assert.Equal(0x1e000000UL, E820Table.FindRoom(Q35, 16 * Mega, 2 * Mega, occupied, 1UL << 32));
    }

    [Fact]
    public void A_reserved_entry_that_overlaps_RAM_counts() =>
        Assert.Equal(0x10000000UL - (36 * Mega), E820Table.FindRoom(Q35.Add(new(0x10000000, 0x10000000, 20)), 36 * Mega, 2 * Mega, [], 1UL << 32));

    [Fact]
    public void Memory_above_the_limit_is_not_taken() =>
        Assert.Equal(8 * Mega, E820Table.FindRoom(Q35.Add(new(1UL << 32, 64 * Mega, 1)), 8 * Mega, 2 * Mega, [], 16 * Mega));

    [Fact]
    public void Too_little_memory_has_no_room() => Assert.Null(E820Table.FindRoom([new(0, 0x9fc00, 1), new(Mega, 20 * Mega, 1)], 36 * Mega, 2 * Mega, [], 1UL << 32));

    [Fact]
    public void Reserving_splits_RAM_and_nothing_else()
    {
        var table = E820Table.Reserve(Q35, 0x10000000, 32 * Mega)!.Value;
        E820Entry[] split = [new(0x100000, 0xff00000, 1), new(0x10000000, 32 * Mega, 2), new(0x12000000, 0xdfdf000, 1)];
        Assert.Equal([.. Q35[..3], .. split, .. Q35[4..]], table.ToArray());
        Assert.Equal(Sum(Q35), Sum(table));

        static ulong Sum(ImmutableArray<E820Entry> entries) => entries.Aggregate(0UL, (sum, e) => sum + e.Size);
    }

    [Fact]
    public void Reserving_the_end_of_RAM_leaves_no_empty_entry() =>
        Assert.DoesNotContain(E820Table.Reserve(Q35, 0x1ffdf000 - (32 * Mega), 32 * Mega)!.Value, e => e.Size == 0);

    [Fact]
    public void A_full_table_is_left_as_it_is() =>
        Assert.Null(E820Table.Reserve([.. Enumerable.Range(0, 128).Select(i => new E820Entry((ulong)i * 64 * Mega, 64 * Mega, 1))], 10 * Mega, Mega));

    private static byte[] Page(ImmutableArray<E820Entry> entries)
    {
        var page = new byte[4096];
        page[E820Table.CountOffset] = (byte)entries.Length;
        E820Table.Write(entries).CopyTo(page, E820Table.TableOffset);
        return page;
    }
}
