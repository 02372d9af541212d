// Below the stack pointer is where the processor puts an interrupt's frame. QEMU (accel/tcg, cpu_check_watchpoint; seen with 7.2) gives up the delivery of an interrupt when that
// frame is written over watched memory, after it has told the interrupt controller that the interrupt is being served: the interrupt is lost, and with the timer's the
// whole guest stands still. So memory on the stack is watched only as long as it belongs to a function.
using System.Collections.Immutable;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Stepping;

/// <summary>An instruction that moves the stack pointer above a variable, in one activation of its function.</summary>
/// <param name="Register">That the frame is found by there, …</param>
/// <param name="Value">… and what it is in this activation.</param>
internal sealed record FrameTeardown(ulong Address, int Register, ulong Value)
{
    private const int MaximumCode = 64 << 10;

    // TCG crawls with hundreds of breakpoints; functions return at a handful of places.
    private const int MaximumPlaces = 16;

    public bool IsAt(ulong pc, RegisterSet registers) => pc == Address && registers.IsKnown(Register) && registers[Register] == Value;

    /// <summary>All of a function; none where its code or its rows do not tell.</summary>
    /// <param name="pc">Inside the function.</param>
    /// <param name="frameAddress">The stack pointer's value that it was called with.</param>
    /// <param name="variable">Address of the variable's first byte.</param>
    public static async ValueTask<ImmutableArray<FrameTeardown>> FindAsync(
        Machine machine, KernelMap map, ulong pc, ulong frameAddress, ulong variable, CancellationToken cancellationToken)
    {
        if (map.FunctionRange(pc) is not { } range || range.End - range.Start > MaximumCode || variable >= frameAddress)
        {
            return [];
        }

        var code = new byte[range.End - range.Start];
        var read = await machine.Memory.ReadAsync(range.Start, code, cancellationToken);
        var found = ImmutableArray.CreateBuilder<FrameTeardown>();
        using var decoder = new FlowDecoder(machine.Architecture, machine.Architecture.WordSize * 8);
        for (var at = range.Start; at - range.Start < (ulong)read.ReadableFromStart && decoder.TryDecode(code.AsSpan((int)(at - range.Start)), at, out var flow); at = flow.Next)
        {
            if (flow.Kind == FlowKind.Sequential && flow.Next < range.End && RowAt(map, at) is { } before && RowAt(map, flow.Next) is { } after
                && !IsBelow(map, after, frameAddress, variable) && IsBelow(map, before, frameAddress, variable))
            {
                found.Add(new FrameTeardown(at, before.Register, frameAddress - (ulong)before.Offset));
            }
        }

        return found.Count <= MaximumPlaces ? found.ToImmutable() : [];
    }

    /// <summary>Whether the stack pointer is not above the variable. A frame that is found by another register has its stack pointer further down.</summary>
    private static bool IsBelow(KernelMap map, CfaRule row, ulong frameAddress, ulong variable) =>
        row.Register != map.Image.Architecture.StackPointer || frameAddress - (ulong)row.Offset <= variable;

    private static CfaRule? RowAt(KernelMap map, ulong address)
    {
        foreach (var row in map.Unwind.FindRows(address))
        {
            if (row is { Shape: FrameShape.Call, Cfa: { Kind: CfaKind.Register } cfa })
            {
                return cfa;
            }
        }

        return null;
    }
}
