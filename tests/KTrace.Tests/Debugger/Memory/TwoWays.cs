using KTrace.Debugger;
using KTrace.Debugger.Memory;
using KTrace.Rsp;
using KTrace.Rsp.Commands;

namespace KTrace.Tests.Debugger.Memory;

/// <summary>One machine, and its memory by both ways: out of mapped RAM, and by the stub alone.</summary>
internal sealed class TwoWays(Machine machine)
{
    private readonly GuestMemory _stub = new(machine.Client, machine.Architecture.WordSize);

    public int Reads { get; private set; }

    public int ReadWhole { get; private set; }

    public int ReadInPart { get; private set; }

    public int Unreadable { get; private set; }

    /// <summary>Bytes that came out of RAM without the stub.</summary>
    public long Bytes { get; private set; }

    /// <summary>Reads by both ways; they must not differ in a byte, nor in what they call unreadable.</summary>
    public async Task CompareAsync(ulong address, int length)
    {
        var mapped = new byte[length];
        var stub = new byte[length];
        var ours = await machine.Memory.ReadAsync(address, mapped, default);
        var theirs = await _stub.ReadAsync(address, stub, default);
        var where = $"0x{address:x}, {length} bytes";
        Assert.True(ours.Unreadable.SequenceEqual(theirs.Unreadable), $"{where}: mapped {Text(ours)}, stub {Text(theirs)}");
        Assert.True(mapped.AsSpan().SequenceEqual(stub), $"{where}: differ at +0x{mapped.AsSpan().CommonPrefixLength(stub):x}");
        Reads++;
        ReadWhole += ours.IsComplete ? 1 : 0;
        Unreadable += !ours.IsComplete && ours.Unreadable.Sum(range => range.Length) == length ? 1 : 0;
        ReadInPart += !ours.IsComplete && ours.Unreadable.Sum(range => range.Length) < length ? 1 : 0;
        Bytes += length;
    }

    public async Task ComparePhysicalAsync(ulong address, int length)
    {
        var mapped = new byte[length];
        var stub = new byte[length];
        await machine.Memory.ReadPhysicalAsync(address, mapped, default);
        await _stub.ReadPhysicalAsync(address, stub, default);
        Assert.True(mapped.AsSpan().SequenceEqual(stub), $"physical 0x{address:x}, {length} bytes: differ at +0x{mapped.AsSpan().CommonPrefixLength(stub):x}");
        Reads++;
    }

    public override string ToString() => $"{Reads} reads: {ReadWhole} whole, {ReadInPart} in part, {Unreadable} unreadable";

    private static string Text(MemoryRead read) => read.IsComplete ? "all" : "without " + string.Join(", ", read.Unreadable);
}
