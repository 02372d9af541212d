// GDB Remote Serial Protocol, "General Query Packets", and QEMU's own (docs/system/gdb.rst, gdbstub.c): qemu.sstepbits, qemu.sstep,
// qemu.PhyMemMode. QEMU's qC always names the first CPU; its thread list comes one or a few ids a packet.
using System.Text;

namespace KTrace.Rsp.Commands;

/// <summary>`qSupported`: what both sides can do.</summary>
/// <param name="ClientFeatures">As sent, separated by semicolons.</param>
internal sealed record QuerySupported(string ClientFeatures) : RspQuery<StubFeatures>
{
    internal override void Write(PacketWriter packet) => packet.Text("qSupported:"u8).Text(Encoding.ASCII.GetBytes(ClientFeatures));

    internal override StubFeatures Read(ReadOnlySpan<byte> reply) => StubFeatures.Parse(reply);
}

/// <summary>`QStartNoAckMode`.</summary>
internal sealed record StartNoAckMode : RspCommand
{
    internal override void Write(PacketWriter packet) => packet.Text("QStartNoAckMode"u8);
}

/// <summary>`QNonStop:0`: the threads stop together. gdbserver keeps the mode that an earlier client chose.</summary>
internal sealed record StartAllStop : RspCommand
{
    internal override void Write(PacketWriter packet) => packet.Text("QNonStop:0"u8);
}

/// <summary>`vStopped`: takes one more stop of a stub in non-stop mode; its answer OK means that there is none.</summary>
internal sealed record TakeNextStop : RspRequest
{
    internal override void Write(PacketWriter packet) => packet.Text("vStopped"u8);
}

/// <summary>`?`: why the target is stopped. QEMU also deletes all breakpoints on it: part of the handshake only.</summary>
internal sealed record QueryHaltReason : RspQuery<StopReply>
{
    internal override void Write(PacketWriter packet) => packet.Text("?"u8);

    internal override StopReply Read(ReadOnlySpan<byte> reply) => StopReply.Parse(reply);
}

/// <summary>`vCont?`: the actions that vCont takes, such as `c;C;s;S`.</summary>
internal sealed record QueryVContActions : RspQuery<IReadOnlyList<string>>
{
    internal override void Write(PacketWriter packet) => packet.Text("vCont?"u8);

    internal override IReadOnlyList<string> Read(ReadOnlySpan<byte> reply) => reply.StartsWith("vCont"u8)
        ? PacketText.Escape(reply[5..]).Split(';', StringSplitOptions.RemoveEmptyEntries)
        : throw Malformed(reply);
}

/// <summary>`qXfer:OBJECT:read`: a piece of an object, such as `features` with the annex target.xml.</summary>
internal sealed record TransferObject(string Item, string Annex, int Offset, int Length) : RspQuery<TransferPiece>
{
    internal override void Write(PacketWriter packet) => packet.Text("qXfer:"u8).Text(Encoding.ASCII.GetBytes(Item)).Text(":read:"u8)
        .Binary(Encoding.UTF8.GetBytes(Annex)).Text(":"u8).Hex((ulong)Offset).Text(","u8).Hex((ulong)Length);

    internal override TransferPiece Read(ReadOnlySpan<byte> reply) => reply[0] is (byte)'l' or (byte)'m'
        ? new TransferPiece(reply[1..].ToArray(), IsLast: reply[0] == 'l' || reply.Length == 1)
        : throw Malformed(reply);
}

internal sealed record TransferPiece(byte[] Bytes, bool IsLast);

/// <summary>`qC`: the stub's current thread.</summary>
internal sealed record QueryCurrentThread : RspQuery<ThreadId>
{
    internal override void Write(PacketWriter packet) => packet.Text("qC"u8);

    internal override ThreadId Read(ReadOnlySpan<byte> reply) =>
        reply.StartsWith("QC"u8) && ThreadId.TryParse(reply[2..], out var id) ? id : throw Malformed(reply);
}

/// <summary>`qfThreadInfo` and `qsThreadInfo`: a piece of the thread list, empty at its end.</summary>
internal sealed record QueryThreads(bool First) : RspQuery<IReadOnlyList<ThreadId>>
{
    internal override string Ability => "thread list (qfThreadInfo)";

    internal override void Write(PacketWriter packet) => packet.Text(First ? "qfThreadInfo"u8 : "qsThreadInfo"u8);

    internal override IReadOnlyList<ThreadId> Read(ReadOnlySpan<byte> reply)
    {
        if (reply.SequenceEqual("l"u8))
        {
            return [];
        }

        if (reply[0] != 'm')
        {
            throw Malformed(reply);
        }

        var ids = new List<ThreadId>();
        foreach (var part in reply[1..].Split((byte)','))
        {
            ids.Add(ThreadId.TryParse(reply[1..][part], out var id) ? id : throw Malformed(reply));
        }

        return ids;
    }
}

/// <summary>`T`: whether a thread is there.</summary>
internal sealed record QueryThreadAlive(ThreadId Thread) : RspCommand
{
    internal override void Write(PacketWriter packet)
    {
        packet.Text("T"u8);
        Thread.Write(packet);
    }
}

/// <summary>`qThreadExtraInfo`: the stub's words about a thread; QEMU: `CPU#0 [running]` or `[halted ]`.</summary>
internal sealed record QueryThreadExtra(ThreadId Thread) : RspQuery<string>
{
    internal override string Ability => "words about threads (qThreadExtraInfo)";

    internal override void Write(PacketWriter packet)
    {
        packet.Text("qThreadExtraInfo,"u8);
        Thread.Write(packet);
    }

    internal override string Read(ReadOnlySpan<byte> reply)
    {
        var text = new byte[reply.Length / 2];
        return HexText.TryDecode(reply, text, out _) ? Encoding.UTF8.GetString(text) : throw Malformed(reply);
    }
}

/// <summary>What QEMU masks while a step executes.</summary>
[Flags]
public enum StepMask
{
    None = 0,

    /// <summary>The step is one: without this bit QEMU would not step at all.</summary>
    Enable = 1,

    /// <summary>No interrupts are delivered during a step.</summary>
    NoInterrupts = 2,

    /// <summary>Virtual time stands still during a step.</summary>
    NoTimers = 4,
}

/// <summary>`qqemu.sstepbits`: the bits this QEMU knows. Any other stub answers with an empty packet.</summary>
internal sealed record QueryStepBits : RspQuery<StepMask>
{
    internal override string Ability => "step masks (qqemu.sstep)";

    internal override void Write(PacketWriter packet) => packet.Text("qqemu.sstepbits"u8);

    internal override StepMask Read(ReadOnlySpan<byte> reply)
    {
        var bits = StepMask.None;
        foreach (var part in reply.Split((byte)','))
        {
            var pair = reply[part];
            var equals = pair.IndexOf((byte)'=');
            bits |= equals > 0 && HexText.TryParse(pair[(equals + 1)..], out var bit) && bit <= 0xff ? (StepMask)bit : throw Malformed(reply);
        }

        return bits;
    }
}

/// <summary>`qqemu.sstep`: the bits in force, as `0x7`.</summary>
internal sealed record QueryStepMask : RspQuery<StepMask>
{
    internal override string Ability => "step masks (qqemu.sstep)";

    internal override void Write(PacketWriter packet) => packet.Text("qqemu.sstep"u8);

    internal override StepMask Read(ReadOnlySpan<byte> reply) =>
        reply.StartsWith("0x"u8) && HexText.TryParse(reply[2..], out var bits) && bits <= 0xff ? (StepMask)bits : throw Malformed(reply);
}

/// <summary>`Qqemu.sstep`.</summary>
internal sealed record SetStepMask(StepMask Mask) : RspCommand
{
    internal override string Ability => "step masks (qqemu.sstep)";

    internal override void Write(PacketWriter packet) => packet.Text("Qqemu.sstep="u8).Hex((ulong)Mask);
}

/// <summary>`Qqemu.PhyMemMode`: whether m and M mean physical addresses from now on.</summary>
internal sealed record SetPhysicalMemoryMode(bool Physical) : RspCommand
{
    internal override string Ability => "physical memory (Qqemu.PhyMemMode)";

    internal override void Write(PacketWriter packet) => packet.Text(Physical ? "Qqemu.PhyMemMode:1"u8 : "Qqemu.PhyMemMode:0"u8);
}

/// <summary>`D`: the stub forgets the client; QEMU resumes the machine.</summary>
/// <param name="Process">The process of the multiprocess form, or null.</param>
internal sealed record Detach(long? Process) : RspCommand
{
    internal override void Write(PacketWriter packet)
    {
        packet.Text("D"u8);
        if (Process is { } process)
        {
            packet.Text(";"u8).Hex((ulong)process);
        }
    }
}

/// <summary>`k`: ends the target. QEMU ends itself. There is no reply.</summary>
internal sealed record Kill : RspRequest
{
    internal override void Write(PacketWriter packet) => packet.Text("k"u8);
}
