// The stack of a trampoline, from above: [the address that the function's caller is returned to] [return into the function, or an address in a return stub] flags ax cx dx bx si di bp [scratch].
using System.Collections.Immutable;
using Iced.Intel;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Ring;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>Saves and restores what trampolines use, and knows where it lies.</summary>
internal sealed class TrampolineFrame(CodeEmitter code, KernelOffsets kernel, NonStopLayout layout)
{
    /// <summary>Saved in this order behind the flags; they are what all trampolines use.</summary>
    internal static readonly ImmutableArray<Reg> Saved = [Reg.Ax, Reg.Cx, Reg.Dx, Reg.Bx, Reg.Si, Reg.Di, Reg.Bp];

    public CodeEmitter Code => code;

    public KernelOffsets Kernel => kernel;

    public NonStopLayout Layout => layout;

    private int Word => code.Word;

    /// <summary>Bytes of the scratch room: the second and third windows' addresses and lengths, and how many there are.</summary>
    private int ScratchSize => (2 * Word) + 16;

    /// <summary>The word at the frame's address: at a function's entry the caller's return address.</summary>
    public Mem Top => Mem.At(Reg.Sp, code.Distance);

    /// <summary>The word below it: what the call at the function's entry pushed, or a return stub's.</summary>
    public Mem Pushed => Mem.At(Reg.Sp, code.Distance - Word);

    public Mem Flags => Mem.At(Reg.Sp, code.Distance - (2 * Word));

    /// <summary>A u32.</summary>
    public Mem WindowCount => Mem.At(Reg.Sp, Scratch + (2 * Word) + 8);

    private int Scratch => code.Distance - (Saved.Length * Word) - (2 * Word) - ScratchSize;

    /// <summary>A word; for the second window (1) or the third (2).</summary>
    public Mem WindowStart(int index) => Mem.At(Reg.Sp, Scratch + ((index - 1) * Word));

    /// <summary>A u32.</summary>
    public Mem WindowLength(int index) => Mem.At(Reg.Sp, Scratch + (2 * Word) + ((index - 1) * 4));

    /// <summary>Where a register's value is; any but sp.</summary>
    public Mem SavedAt(Reg register) => Mem.At(Reg.Sp, code.Distance - SavedBelow(register, Word));

    /// <summary>How far below the frame's address a register is saved, in bytes; it is there once the stack reaches so far.</summary>
    internal static int SavedBelow(Reg register, int word) => (3 + Saved.IndexOf(register)) * word;

    /// <summary>A field of the control block.</summary>
    public Mem Control(int offset) => Mem.Fixed(layout.Control + (ulong)offset);

    /// <summary>The beginning of every trampoline; afterwards si is the current task, or 0.</summary>
    /// <param name="closed">Where to go, with the flags on the stack alone, when nothing is to be recorded; null: that does not matter.</param>
    public void Enter(CodeLabel? closed)
    {
        code.PushFlags();
        code.DisableInterrupts();
        if (closed is { } elsewhere)
        {
            code.Do32(Mnemonic.Cmp, Control(ControlBlock.Closed), 0);
            code.Jump(ConditionCode.ne, elsewhere);
        }

        foreach (var register in Saved)
        {
            code.Push(register);
        }

        code.Grow(ScratchSize);
        code.ClearDirection();
        var known = code.NewLabel();
        code.Load(Reg.Si, Mem.PerCpu(kernel.CurrentTask));
        code.Test(Reg.Si, Reg.Si);
        code.Jump(ConditionCode.s, known);
        code.Do32(Mnemonic.Xor, Reg.Si, Reg.Si);
        code.Place(known);
    }

    /// <summary>How far above the stack pointer the frame is between <see cref="Enter"/> and <see cref="Leave"/>.</summary>
    public int FullDistance => ((2 + Saved.Length) * Word) + ScratchSize;

    /// <summary>The end: everything is as it was.</summary>
    /// <param name="next">Another trampoline that is gone on with, as if it had been called instead; null: none.</param>
    public void Leave(ulong? next = null)
    {
        code.MarkDone();
        code.Grow(-ScratchSize);
        foreach (var register in Saved.Reverse())
        {
            code.Pop(register);
        }

        code.PopFlags();
        if (next is { } address)
        {
            code.JumpOut(address);
        }
        else
        {
            code.Return();
        }
    }
}
