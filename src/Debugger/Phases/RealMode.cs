// Intel SDM volume 3, 21.1 "Real-Address Mode": a linear address is the segment's base and the offset; the base is sixteen times the selector, except from reset to the first far
// jump, where CS is f000 and its base 0xffff0000 (10.1.4).
using KTrace.Rsp;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Phases;

/// <summary>Addresses in real mode.</summary>
internal static class RealMode
{
    public const ulong ResetBase = 0xffff0000;
    public const ulong ResetOffset = 0xfff0;

    private const ulong ResetSelector = 0xf000;

    /// <summary>The base of CS, when the stub sends its selector alone.</summary>
    public static ulong CodeBase(ulong selector, ulong offset) => selector == ResetSelector && offset == ResetOffset ? ResetBase : selector << 4;

    /// <summary>Where a CPU in real mode executes.</summary>
    public static async ValueTask<ulong> LinearPcAsync(RspClient client, int cpu, RegisterSet registers, RegisterBlock block, CancellationToken cancellationToken)
    {
        var offset = registers.ProgramCounter;
        if (await SegmentBases.TryReadAsync(client, cpu, cancellationToken) is { } bases)
        {
            return (bases.CodeBase + offset) & uint.MaxValue;
        }

        return client.Layout.TryFind("cs", out var cs) && block.TryGetValue(cs, out var selector) ? (CodeBase(selector, offset) + offset) & uint.MaxValue : offset;
    }
}
