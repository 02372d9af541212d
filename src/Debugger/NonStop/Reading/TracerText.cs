// KTrace's own code on the guest's stacks. An interrupt comes before a trampoline's cli and behind its popf, an NMI anywhere; and on an emulated CPU interrupts come where blocks of translated code end, of which a
// return stub's first instruction is one. What is found there, and what stands for it in the kernel's own path:
//   trampolines, the code behind return stubs   a frame of their own, which is left out; the frame above is the traced function at its entry, or the caller that is returned to
//   a return stub's first instruction           the return address that the stub replaced: registers and stack are as they will be there
//   moved first instructions                    the instruction in the function that was moved: registers and stack are the same
using System.Collections.Immutable;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>The kernel's unwind table, and KTrace's own code in the guest with it.</summary>
/// <param name="original">What a return address was before a stub's took its place; itself when it is none.</param>
internal sealed class TracerText(IUnwindTable kernel, NonStopReadingOptions code, Func<ulong, ulong> original, Architecture architecture) : IUnwindTable
{
    /// <summary>Walks a stack, and leaves KTrace's own frames out.</summary>
    public UnwindResult Unwind(RegisterSet registers, IMemoryReader memory)
    {
        var result = StackUnwinder.Unwind(registers, memory, this);
        return result.Frames.Any(f => IsTracer(f.ProgramCounter)) ? result with { Frames = result.Frames.RemoveAll(f => IsTracer(f.ProgramCounter)) } : result;
    }

    /// <summary>Whether a frame at this address is none of the kernel's.</summary>
    public bool IsTracer(ulong address) => code.Stubs?.IndexAt(address) is null && BlockAt(address) is not null;

    public bool IsText(ulong address) => kernel.IsText(address) || IsTracer(address);

    public string? FunctionAt(ulong address) => kernel.FunctionAt(address);

    public RuntimeTextAnswer FindRuntimeText(ulong address, IMemoryReader memory)
    {
        if (code.Stubs?.IndexAt(address) is not null && original(address) is var replaced && replaced != address)
        {
            return new RuntimeTextAnswer(replaced, null);
        }

        return code.Moved.Count > 0 && code.Moved[Math.Max(0, LastUpTo(address, code.Moved.Count, i => code.Moved[i].Block.Address))].OriginOf(address) is { } origin
            ? new RuntimeTextAnswer(origin, null)
            : kernel.FindRuntimeText(address, memory);
    }

    public ReadOnlySpan<UnwindRow> FindRows(ulong address)
    {
        if (!IsTracer(address))
        {
            return kernel.FindRows(address);
        }

        return BlockAt(address)!.FrameDistanceAt(address) is { } distance ? (UnwindRow[])[RowOf(distance)] : [];
    }

    /// <summary>Who is found there goes on as if it had been interrupted: the return into a traced function is no return from a call of its own, and what a stub returns to has been returned to.</summary>
    private UnwindRow RowOf(int distance)
    {
        var word = architecture.WordSize;
        var saved = ImmutableArray.CreateBuilder<SavedRegister>();
        saved.Add(new SavedRegister(architecture.ProgramCounter, new RegisterRule(RegisterRuleKind.AtCfa, -word)));
        foreach (var register in TrampolineFrame.Saved)
        {
            if (TrampolineFrame.SavedBelow(register, word) is var below && below <= distance)
            {
                saved.Add(new SavedRegister(RecordRegisters.Numbers(architecture)[(int)register], new RegisterRule(RegisterRuleKind.AtCfa, -below)));
            }
        }

        return new UnwindRow(UnwindRule.Cfi, FrameShape.Call, new CfaRule(CfaKind.Register, architecture.StackPointer, distance), saved.ToImmutable(), IsInterrupted: true);
    }

    private CodeBlock? BlockAt(ulong address) =>
        LastUpTo(address, code.Code.Count, i => code.Code[i].Address) is >= 0 and var index && code.Code[index] is var block && block.Contains(address) ? block : null;

    /// <summary>The last of so many ascending starts that is not above an address; −1: all are.</summary>
    private static int LastUpTo(ulong address, int count, Func<int, ulong> start)
    {
        var (low, high) = (0, count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = start(middle) <= address ? (middle + 1, high) : (low, middle);
        }

        return low - 1;
    }
}
