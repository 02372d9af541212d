// GDB Remote Serial Protocol, "Packets": Z0 to Z4 and z0 to z4. QEMU takes inserting twice, but removing what is not there is E22.
// Under TCG Z0 and Z1 are the same to the guest: neither changes guest memory.
namespace KTrace.Rsp.Commands;

public enum BreakpointKind
{
    Software = 0,
    Hardware = 1,
    WriteWatchpoint = 2,
    ReadWatchpoint = 3,
    AccessWatchpoint = 4,
}

/// <summary>`Z`. <paramref name="Length"/>: bytes watched, or for breakpoints the architecture's kind (1 on x86).</summary>
public sealed record InsertBreakpoint(BreakpointKind Kind, ulong Address, int Length = 1) : RspCommand
{
    internal override string Ability => Kind switch
    {
        BreakpointKind.Software => "software breakpoints (Z0)",
        BreakpointKind.Hardware => "hardware breakpoints (Z1)",
        BreakpointKind.WriteWatchpoint => "write watchpoints (Z2)",
        BreakpointKind.ReadWatchpoint => "read watchpoints (Z3)",
        _ => "access watchpoints (Z4)",
    };

    internal override void Write(PacketWriter packet) =>
        packet.Text("Z"u8).Hex((ulong)Kind).Text(","u8).Hex(Address).Text(","u8).Hex((ulong)Length);
}

/// <summary>`z`, with the same kind, address and length as the insertion.</summary>
public sealed record RemoveBreakpoint(BreakpointKind Kind, ulong Address, int Length = 1) : RspCommand
{
    internal override void Write(PacketWriter packet) =>
        packet.Text("z"u8).Hex((ulong)Kind).Text(","u8).Hex(Address).Text(","u8).Hex((ulong)Length);
}
