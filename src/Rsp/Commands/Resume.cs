// GDB Remote Serial Protocol, "Packets": vCont, c, C, s, S, bc, bs. Their reply is a stop reply, whenever the target stops.
// QEMU: `vCont;s:TID` steps one CPU and leaves the others stopped, `s` steps one and lets the others run; a step goes past a
// breakpoint on its instruction, a continue does not. bc and bs outside replay make QEMU abort: they are refused here.
namespace KTrace.Rsp.Commands;

/// <summary>A request after which the target runs. <see cref="RspClient"/> makes the form that the stub offers.</summary>
public abstract record ResumeCommand : RspCommand
{
    public sealed override bool Resumes => true;
}

/// <summary>`vCont;c`, or `vCont;CSS:TID;c` to deliver a signal to one of them: all threads run.</summary>
/// <param name="Signal">gdb's number; 0 for none.</param>
/// <param name="Receiver">Who gets the signal; null: every thread does.</param>
public sealed record ContinueAll(int Signal = 0, ThreadId? Receiver = null) : ResumeCommand
{
    internal override void Write(PacketWriter packet)
    {
        if (Signal == 0)
        {
            packet.Text("vCont;c"u8);
            return;
        }

        packet.Text("vCont;C"u8).HexByte((byte)Signal);
        if (Receiver is { } thread)
        {
            packet.Text(":"u8);
            thread.Write(packet);
            packet.Text(";c"u8);
        }
    }
}

/// <summary>`vCont;c:TID`: one thread runs, the others stay stopped.</summary>
public sealed record ContinueThread(ThreadId Thread) : ResumeCommand
{
    internal override void Write(PacketWriter packet)
    {
        packet.Text("vCont;c:"u8);
        Thread.Write(packet);
    }
}

/// <summary>`vCont;s:TID`, or `vCont;SSS:TID` to deliver a signal: one thread executes one instruction.</summary>
/// <param name="OthersRun">Whether the other threads run meanwhile.</param>
public sealed record StepThread(ThreadId Thread, bool OthersRun = false, int Signal = 0) : ResumeCommand
{
    internal override void Write(PacketWriter packet)
    {
        packet.Text(Signal == 0 ? "vCont;s"u8 : "vCont;S"u8);
        if (Signal != 0)
        {
            packet.HexByte((byte)Signal);
        }

        packet.Text(":"u8);
        Thread.Write(packet);
        if (OthersRun)
        {
            packet.Text(";c"u8);
        }
    }
}

/// <summary>`c`, or `CSS` to deliver a signal: for stubs without vCont.</summary>
public sealed record PlainContinue(int Signal = 0) : ResumeCommand
{
    internal override void Write(PacketWriter packet)
    {
        packet.Text(Signal == 0 ? "c"u8 : "C"u8);
        if (Signal != 0)
        {
            packet.HexByte((byte)Signal);
        }
    }
}

/// <summary>`cADDR`: all threads run, the one that stopped last from that address. See <see cref="StubProfile.ContinuesFromAddress"/>.</summary>
public sealed record ContinueFrom(ulong Address) : ResumeCommand
{
    internal override void Write(PacketWriter packet) => packet.Text("c"u8).Hex(Address);
}

/// <summary>`s`, or `SSS` to deliver a signal: one instruction of the thread that stopped last (or that Hc named).</summary>
public sealed record PlainStep(int Signal = 0) : ResumeCommand
{
    internal override void Write(PacketWriter packet)
    {
        packet.Text(Signal == 0 ? "s"u8 : "S"u8);
        if (Signal != 0)
        {
            packet.HexByte((byte)Signal);
        }
    }
}

/// <summary>`bc`: runs backwards, where qSupported offered ReverseContinue.</summary>
public sealed record ReverseContinue : ResumeCommand
{
    internal override void Write(PacketWriter packet) => packet.Text("bc"u8);

    internal override void EnsureOffered(StubFeatures features) => StubFeatures.Require(features.ReverseContinue, "bc (ReverseContinue)");
}

/// <summary>`bs`: one instruction backwards, where qSupported offered ReverseStep.</summary>
public sealed record ReverseStep : ResumeCommand
{
    internal override void Write(PacketWriter packet) => packet.Text("bs"u8);

    internal override void EnsureOffered(StubFeatures features) => StubFeatures.Require(features.ReverseStep, "bs (ReverseStep)");
}
