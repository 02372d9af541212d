// GDB Remote Serial Protocol, "Packets": g, G, p, P, H. QEMU 7.2 refuses p and P until target.xml was read (handshake does).
namespace KTrace.Rsp.Commands;

/// <summary>`g`: all registers of the selected thread, decoded into the caller's block.</summary>
public sealed record ReadRegisters(RegisterBlock Destination) : RspCommand
{
    internal override bool OnlyReads => true;

    internal override void Write(PacketWriter packet) => packet.Text("g"u8);

    internal override int Read(ReadOnlySpan<byte> reply) => Destination.TryFill(reply) ? Destination.Received : throw Malformed(reply);
}

/// <summary>`G`: all registers of the selected thread. What the block does not know is sent as zeros.</summary>
public sealed record WriteRegisters(RegisterBlock Source) : RspCommand
{
    internal override void Write(PacketWriter packet) => packet.Text("G"u8).HexBytes(Source.Bytes);
}

/// <summary>`p`: one register into the caller's block.</summary>
public sealed record ReadRegister(RegisterDescription Register, RegisterBlock Destination) : RspCommand
{
    internal override bool OnlyReads => true;

    internal override string Ability => "reads of single registers (p)";

    internal override void Write(PacketWriter packet) => packet.Text("p"u8).Hex((ulong)Register.Number);

    internal override int Read(ReadOnlySpan<byte> reply) =>
        Destination.TryFill(Register, reply) ? Register.ByteSize : throw Malformed(reply);
}

/// <summary>`P`: one register from the caller's block.</summary>
public sealed record WriteRegister(RegisterDescription Register, RegisterBlock Source) : RspCommand
{
    internal override void Write(PacketWriter packet) =>
        packet.Text("P"u8).Hex((ulong)Register.Number).Text("="u8).HexBytes(Source.BytesOf(Register));
}

/// <summary>`Hg`: the thread (for QEMU the CPU) that g, p, m … mean from now on. A stop selects the thread that stopped.</summary>
public sealed record SelectThread(ThreadId Thread) : RspCommand
{
    internal override void Write(PacketWriter packet)
    {
        packet.Text("Hg"u8);
        Thread.Write(packet);
    }
}

/// <summary>`Hc`: the thread that the old `s`, `c` and `cADDR` mean. A stop selects the thread that stopped.</summary>
public sealed record SelectResumeThread(ThreadId Thread) : RspCommand
{
    internal override void Write(PacketWriter packet)
    {
        packet.Text("Hc"u8);
        Thread.Write(packet);
    }
}
