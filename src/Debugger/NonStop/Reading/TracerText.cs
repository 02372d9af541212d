using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>
/// The kernel's unwind table, and KTrace's own code in the guest with it: an NMI or an exception may have interrupted a trampoline. Its frame is no part of the kernel's path, and is left out of it
/// (<see cref="IsTracer"/>); the one above it is that of the function whose entry led there.
/// </summary>
internal sealed class TracerText(IUnwindTable kernel, IReadOnlyList<CodeBlock> code, Architecture architecture) : IUnwindTable
{
    public bool IsTracer(ulong address) => BlockAt(address) is not null;

    public bool IsText(ulong address) => kernel.IsText(address) || IsTracer(address);

    public string? FunctionAt(ulong address) => kernel.FunctionAt(address);

    public RuntimeTextAnswer FindRuntimeText(ulong address, IMemoryReader memory) => kernel.FindRuntimeText(address, memory);

    public ReadOnlySpan<UnwindRow> FindRows(ulong address)
    {
        if (BlockAt(address) is not { } block)
        {
            return kernel.FindRows(address);
        }

        var (low, high) = (0, block.Frames.Length);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = (ulong)block.Frames[middle].Offset <= address - block.Address ? (middle + 1, high) : (low, middle);
        }

        if (low == 0)
        {
            return [];
        }

        // What it does with the other registers is its own business: where a frame hangs on one of them, the path ends.
        return (UnwindRow[])
        [
            new UnwindRow(
                UnwindRule.Cfi,
                FrameShape.Call,
                new CfaRule(CfaKind.Register, architecture.StackPointer, block.Frames[low - 1].FrameDistance),
                [new SavedRegister(architecture.ProgramCounter, new RegisterRule(RegisterRuleKind.AtCfa, -architecture.WordSize))],
                KeepsCalleeSaved: false),
        ];
    }

    private CodeBlock? BlockAt(ulong address)
    {
        foreach (var block in code)
        {
            if (address >= block.Address && address < block.End)
            {
                return block;
            }
        }

        return null;
    }
}
