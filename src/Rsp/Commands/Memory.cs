// GDB Remote Serial Protocol, "Packets": m, M, x, X. QEMU 7.2 has m and M only and answers E14 for a whole range when one page of it
// is not mapped; gdbserver answers with the bytes before the first that it cannot read. gdb 16 gave `x` a reply that begins with `b`.
namespace KTrace.Rsp.Commands;

/// <summary>What one packet carries.</summary>
internal static class MemoryLimits
{
    // An empty read would have an empty reply, which means "unknown request".
    public static void Check(int length, int limit)
    {
        if (length < 1 || length > limit)
        {
            throw new ArgumentException($"one packet carries 1 to {limit} bytes of memory, {length} were asked for");
        }
    }
}

/// <summary>`m`: reads guest memory into the caller's buffer; one packet, so at most <see cref="StubFeatures.MaxMemoryRead"/> bytes.
/// The outcome's length is how many bytes were read, from the start on.</summary>
public sealed record ReadMemory(ulong Address, Memory<byte> Destination) : RspCommand
{
    internal override bool OnlyReads => true;

    /// <summary>
    /// Reads of one range, cut at 4 KiB page boundaries and at what one packet carries, for a batch: a page that is refused (the guard page above a kernel
    /// stack, say) then takes no other with it.
    /// </summary>
    /// <returns>How many reads were appended.</returns>
    public static int AppendByPage(ICollection<RspCommand> batch, StubFeatures features, ulong address, Memory<byte> destination)
    {
        var count = 0;
        for (; !destination.IsEmpty; count++)
        {
            var length = (int)Math.Min((ulong)Math.Min(destination.Length, features.MaxMemoryRead), 4096 - (address & 4095));
            batch.Add(features.BinaryUpload ? new ReadMemoryBinary(address, destination[..length]) : new ReadMemory(address, destination[..length]));
            address += (ulong)length;
            destination = destination[length..];
        }

        return count;
    }

    internal override void Write(PacketWriter packet) =>
        packet.Text("m"u8).Hex(Address).Text(","u8).Hex((ulong)Destination.Length);

    internal override void EnsureOffered(StubFeatures features) => MemoryLimits.Check(Destination.Length, features.MaxMemoryRead);

    internal override int Read(ReadOnlySpan<byte> reply) =>
        HexText.TryDecode(reply, Destination.Span, out var written) ? written : throw Malformed(reply);
}

/// <summary>`x`: the same, as bytes. Only where qSupported offered `binary-upload`.</summary>
public sealed record ReadMemoryBinary(ulong Address, Memory<byte> Destination) : RspCommand
{
    internal override bool OnlyReads => true;

    internal override void Write(PacketWriter packet) =>
        packet.Text("x"u8).Hex(Address).Text(","u8).Hex((ulong)Destination.Length);

    internal override void EnsureOffered(StubFeatures features)
    {
        StubFeatures.Require(features.BinaryUpload, "x (binary-upload)");
        MemoryLimits.Check(Destination.Length, features.MaxMemoryRead);
    }

    internal override int Read(ReadOnlySpan<byte> reply)
    {
        if (reply[0] != 'b' || reply.Length - 1 > Destination.Length)
        {
            throw Malformed(reply);
        }

        reply[1..].CopyTo(Destination.Span);
        return reply.Length - 1;
    }
}

/// <summary>`M`: writes guest memory; one packet, so at most <see cref="StubFeatures.MaxMemoryWrite"/> bytes.</summary>
public sealed record WriteMemory(ulong Address, ReadOnlyMemory<byte> Source) : RspCommand
{
    internal override void Write(PacketWriter packet) =>
        packet.Text("M"u8).Hex(Address).Text(","u8).Hex((ulong)Source.Length).Text(":"u8).HexBytes(Source.Span);

    internal override void EnsureOffered(StubFeatures features) => MemoryLimits.Check(Source.Length, features.MaxMemoryWrite);
}

/// <summary>`X`: the same, as bytes. An empty one asks whether the stub has it.</summary>
public sealed record WriteMemoryBinary(ulong Address, ReadOnlyMemory<byte> Source) : RspCommand
{
    internal override void Write(PacketWriter packet) =>
        packet.Text("X"u8).Hex(Address).Text(","u8).Hex((ulong)Source.Length).Text(":"u8).Binary(Source.Span);
}
