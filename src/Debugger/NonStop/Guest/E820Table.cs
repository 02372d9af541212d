// The memory map that a boot loader hands to the kernel: struct boot_e820_entry { u64 addr; u64 size; u32 type; } (packed, 20 bytes) of
// arch/x86/include/uapi/asm/bootparam.h, in boot_params.e820_table (0x2d0, 128 entries), their number in boot_params.e820_entries (u8, 0x1e8).
// e820__memory_setup (arch/x86/kernel/e820.c) reads it, early in setup_arch; what is of type 2 there is nobody's.
using System.Buffers.Binary;
using System.Collections.Immutable;

namespace KTrace.Debugger.NonStop.Guest;

/// <param name="Start">Physical, in bytes.</param>
/// <param name="Size">Bytes.</param>
public readonly record struct E820Entry(ulong Start, ulong Size, uint Type)
{
    public const uint Ram = 1;

    public const uint Reserved = 2;

    /// <summary>Exclusive.</summary>
    public ulong End => Start + Size;
}

/// <summary>A piece of physical memory, as boundaries in bytes.</summary>
/// <param name="End">Exclusive.</param>
public readonly record struct PhysicalRange(ulong Start, ulong End);

/// <summary>Reads the table, and takes a piece of RAM out of it. Pure.</summary>
public static class E820Table
{
    public const int CountOffset = 0x1e8;
    public const int TableOffset = 0x2d0;
    public const int EntrySize = 20;
    public const int MaximumEntries = 128;

    /// <summary>Entries as the kernel will see them; null when the table is none (no entries, or one that wraps around).</summary>
    /// <param name="parameters">The whole page of boot parameters.</param>
    public static ImmutableArray<E820Entry>? Read(ReadOnlySpan<byte> parameters)
    {
        int count = parameters[CountOffset];
        if (count is 0 or > MaximumEntries || parameters.Length < TableOffset + (count * EntrySize))
        {
            return null;
        }

        var entries = ImmutableArray.CreateBuilder<E820Entry>(count);
        for (var i = 0; i < count; i++)
        {
            var bytes = parameters.Slice(TableOffset + (i * EntrySize), EntrySize);
            var entry = new E820Entry(
                BinaryPrimitives.ReadUInt64LittleEndian(bytes), BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]), BinaryPrimitives.ReadUInt32LittleEndian(bytes[16..]));
            if (entry.End < entry.Start)
            {
                return null;
            }

            entries.Add(entry);
        }

        return entries.MoveToImmutable();
    }

    /// <summary>The bytes of a table, from <see cref="TableOffset"/> on.</summary>
    public static byte[] Write(ImmutableArray<E820Entry> entries)
    {
        var bytes = new byte[entries.Length * EntrySize];
        for (var i = 0; i < entries.Length; i++)
        {
            var entry = bytes.AsSpan(i * EntrySize, EntrySize);
            BinaryPrimitives.WriteUInt64LittleEndian(entry, entries[i].Start);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], entries[i].Size);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[16..], entries[i].Type);
        }

        return bytes;
    }

    /// <summary>Where a piece of RAM could be taken: as high as possible, where nothing lies yet.</summary>
    /// <param name="occupied">What must not be touched, in any order.</param>
    /// <param name="limit">Everything ends below this address.</param>
    public static ulong? FindRoom(ImmutableArray<E820Entry> entries, ulong size, ulong alignment, IReadOnlyCollection<PhysicalRange> occupied, ulong limit)
    {
        // Entries may overlap, and then the higher type counts: what is not plainly RAM is occupied.
        var taken = occupied.Concat(entries.Where(e => e.Type != E820Entry.Ram).Select(e => new PhysicalRange(e.Start, e.End))).ToList();
        foreach (var ram in entries.Where(e => e.Type == E820Entry.Ram && e.Start < limit).OrderByDescending(e => e.Start))
        {
            var end = Math.Min(ram.End, limit);
            while (end >= size && (end - size) / alignment * alignment is var start && start >= ram.Start && start > 0)
            {
                if (taken.Where(t => t.Start < start + size && t.End > start).Select(t => (ulong?)t.Start).Min() is not { } conflict)
                {
                    return start;
                }

                end = conflict;
            }
        }

        return null;
    }

    /// <summary>The table with a piece of its RAM reserved; null when it would not fit into the page any more.</summary>
    public static ImmutableArray<E820Entry>? Reserve(ImmutableArray<E820Entry> entries, ulong start, ulong size)
    {
        var end = start + size;
        var result = ImmutableArray.CreateBuilder<E820Entry>(entries.Length + 2);
        foreach (var entry in entries)
        {
            if (entry.Type != E820Entry.Ram || entry.End <= start || entry.Start >= end)
            {
                result.Add(entry);
                continue;
            }

            if (entry.Start < start)
            {
                result.Add(entry with { Size = start - entry.Start });
            }

            result.Add(new E820Entry(Math.Max(start, entry.Start), Math.Min(end, entry.End) - Math.Max(start, entry.Start), E820Entry.Reserved));
            if (entry.End > end)
            {
                result.Add(new E820Entry(end, entry.End - end, E820Entry.Ram));
            }
        }

        return result.Count <= MaximumEntries ? result.ToImmutable() : null;
    }
}
