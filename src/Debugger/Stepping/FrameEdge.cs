// Below the stack pointer is where the processor puts an interrupt's frame. QEMU (accel/tcg, cpu_check_watchpoint; seen with 7.2) gives up the delivery of an interrupt when that
// frame is written over watched memory, after it has told the interrupt controller that the interrupt is being served: the interrupt is lost, and with the timer's the
// whole guest stands still. So memory on the stack is watched only as long as it belongs to a function.
using System.Collections.Immutable;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Stepping;

/// <summary>Where a function puts a variable on the stack or takes it off, in one activation.</summary>
/// <param name="Address">Behind the instruction that moves the stack pointer below the variable; at the one that moves it above.</param>
/// <param name="Register">That the frame is found by there, …</param>
/// <param name="Value">… and what it is in this activation.</param>
/// <param name="IsBegin">From here on the variable is on the stack; else it is no longer.</param>
internal sealed record FrameEdge(ulong Address, int Register, ulong Value, bool IsBegin)
{
    // A stack of the kernel's has 16 KiB on x86-64.
    private const ulong MaximumFrame = 16 << 10;
    private const int MaximumCode = 64 << 10;

    // TCG crawls with hundreds of breakpoints; functions return at a handful of places.
    private const int MaximumPlaces = 16;

    public bool IsAt(ulong pc, RegisterSet registers) => pc == Address && registers.IsKnown(Register) && registers[Register] == Value;

    /// <summary>All of a function; none where its code or its rows do not tell.</summary>
    /// <param name="pc">Inside the function.</param>
    /// <param name="frameAddress">The stack pointer's value that it was called with.</param>
    /// <param name="variable">Address of the variable's first byte.</param>
    public static async ValueTask<ImmutableArray<FrameEdge>> FindAsync(
        Machine machine, KernelMap map, ulong pc, ulong frameAddress, ulong variable, CancellationToken cancellationToken)
    {
        if (map.FunctionRange(pc) is not { } range || range.End - range.Start > MaximumCode || frameAddress - variable - 1 >= MaximumFrame)
        {
            return [];
        }

        var code = new byte[range.End - range.Start];
        var read = await machine.Memory.ReadAsync(range.Start, code, cancellationToken);
        var found = ImmutableArray.CreateBuilder<FrameEdge>();
        using var decoder = new FlowDecoder(machine.Architecture, machine.Architecture.WordSize * 8);
        for (var at = range.Start; at - range.Start < (ulong)read.ReadableFromStart && decoder.TryDecode(code.AsSpan((int)(at - range.Start)), at, out var flow); at = flow.Next)
        {
            if (flow.Kind != FlowKind.Sequential || flow.Next >= range.End || RowAt(map, at) is not { } before || RowAt(map, flow.Next) is not { } after)
            {
                continue;
            }

            var (was, isNow) = (IsOnStack(map, before, frameAddress, variable), IsOnStack(map, after, frameAddress, variable));
            if (was != isNow)
            {
                var row = isNow ? after : before;
                found.Add(new FrameEdge(isNow ? flow.Next : at, row.Register, frameAddress - (ulong)row.Offset, isNow));
            }
        }

        return found.Count <= MaximumPlaces ? found.ToImmutable() : [];
    }

    /// <summary>Whether the stack pointer is not above the variable. A frame that is found by another register has its stack pointer further down.</summary>
    private static bool IsOnStack(KernelMap map, CfaRule row, ulong frameAddress, ulong variable) =>
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
