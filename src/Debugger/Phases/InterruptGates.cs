// The interrupt descriptor table (Intel SDM volume 3, 6.10 and 6.14.1): gates of 16 bytes in long mode, of 8 in protected mode; the handler's address in two or three pieces.
using System.Buffers.Binary;
using KTrace.Rsp;

namespace KTrace.Debugger.Phases;

/// <summary>Reads where a CPU's interrupts go.</summary>
internal static class InterruptGates
{
    private const int GateBytes32 = 8;
    private const int GateBytes64 = 16;
    private const ulong LongModeActive = 1 << 10;

    /// <summary>The handler of vector 0 of a CPU; null when the stub does not tell where the table is, or it is not mapped or empty.</summary>
    public static async ValueTask<ulong?> TryReadDivideErrorAsync(Machine machine, int cpu, CancellationToken cancellationToken)
    {
        if (await SegmentBases.TryReadAsync(machine.Client, cpu, cancellationToken) is not { InterruptTable: not 0 } bases)
        {
            return null;
        }

        var block = await machine.RegisterBlockAsync(cpu, cancellationToken);
        var isLong = block.Layout.TryFind("efer", out var efer) && block.TryGetValue(efer, out var value) && (value & LongModeActive) != 0;
        var gate = new byte[isLong ? GateBytes64 : GateBytes32];
        await machine.SelectAsync(cpu, cancellationToken);
        return await machine.Memory.TryReadAsync(bases.InterruptTable, gate, cancellationToken) ? Handler(gate) : null;
    }

    internal static ulong? Handler(ReadOnlySpan<byte> gate)
    {
        ulong address = BinaryPrimitives.ReadUInt16LittleEndian(gate) | ((ulong)BinaryPrimitives.ReadUInt16LittleEndian(gate[6..]) << 16);
        if (gate.Length == GateBytes64)
        {
            address |= (ulong)BinaryPrimitives.ReadUInt32LittleEndian(gate[8..]) << 32;
        }

        return address == 0 ? null : address;
    }
}
