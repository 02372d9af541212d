using KTrace.Debugger.Memory;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Debugger.Memory;

public sealed class ReadTrailTests
{
    [Fact]
    public void A_trail_holds_while_all_that_was_read_reads_the_same()
    {
        var memory = new Bytes { [0x10] = 1, [0x11] = 2, [0x12] = 3, [0x40] = 4 };
        var kept = Follow(memory, (0x10, 3), (0x40, 1), (0x80, 1)).Keep()!;
        Assert.True(kept.Holds(memory));
        foreach (var changed in (ulong[])[0x10, 0x12, 0x40])
        {
            memory[changed]++;
            Assert.False(kept.Holds(memory));
            memory[changed]--;
        }

        // What was unreadable has to be so still.
        memory[0x80] = 0;
        Assert.False(kept.Holds(memory));
        memory.Remove(0x80);
        memory[0x13] = 9;
        Assert.True(kept.Holds(memory));
        memory.IsFetched = false;
        Assert.False(kept.Holds(memory));
    }

    [Fact]
    public void Nothing_is_kept_of_what_was_not_fetched_or_is_much()
    {
        var memory = new Bytes { [0x10] = 1 };
        Assert.True(Follow(memory).Keep()!.Holds(new Bytes()));
        memory.IsFetched = false;
        Assert.Null(Follow(memory, (0x10, 1)).Keep());
        var large = new Bytes();
        for (ulong i = 0; i < 512; i++)
        {
            large[i] = (byte)i;
        }

        Assert.NotNull(Follow(large, (0, 128)).Keep());
        Assert.Null(Follow(large, (0, 257)).Keep());
        Assert.Null(Follow(large, [.. Enumerable.Range(0, 512).Select(i => ((ulong)i, 1))]).Keep());
    }

    private static ReadTrail Follow(Bytes memory, params (ulong Address, int Length)[] reads)
    {
        var trail = new ReadTrail();
        trail.Add(0, [0], MemoryReadResult.Ok);
        trail.Clear();
        foreach (var (address, length) in reads)
        {
            var bytes = new byte[length];
            trail.Add(address, bytes, memory.Read(address, bytes));
        }

        return trail;
    }

    private sealed class Bytes : Dictionary<ulong, byte>, IMemoryReader
    {
        public bool IsFetched { get; set; } = true;

        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            for (var i = 0; i < destination.Length; i++)
            {
                if (!TryGetValue(address + (ulong)i, out destination[i]))
                {
                    return IsFetched ? MemoryReadResult.Unreadable : MemoryReadResult.NotFetched;
                }
            }

            return IsFetched ? MemoryReadResult.Ok : MemoryReadResult.NotFetched;
        }
    }
}
