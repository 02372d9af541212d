// Room in the ring, taken with one compare-and-exchange on Head and only where it fits behind Tail: who holds reserved bytes never waits for others (RingFormat.cs).
// i386: Head and Tail are 64 bits wide there too. Their low halves tell whether a record fits, as the ring is smaller than 2 GiB; cmpxchg8b carries into the high half.
using Iced.Intel;
using KTrace.Debugger.NonStop.Ring;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>Reserves a record: di is its size in bytes and stays, bx becomes its address. Uses ax, cx, dx.</summary>
internal sealed class Reservation(TrampolineFrame frame, bool lossy)
{
    // include/linux/preempt.h: NMI_MASK of 5.8 and later; before, it is one bit of these and the others belong to hard interrupts of a depth that does not happen.
    private const uint NonMaskable = 0x00f0_0000;

    private readonly CodeEmitter _code = frame.Code;
    private CodeLabel _full = frame.Code.NewLabel();
    private CodeLabel _reserved = frame.Code.NewLabel();

    /// <summary>What happens nearly always.</summary>
    public void Write()
    {
        var again = _code.NewLabel();
        LoadHead();
        _code.Place(again);
        WriteTry(_full, again);
        _code.Place(_reserved);
        _code.Do32(Mnemonic.And, Reg.Ax, frame.Layout.RingSize - 1);
        _code.Address(Reg.Bx, Mem.At(Reg.Ax, (long)frame.Layout.Ring));
    }

    /// <summary>What happens when the ring is full.</summary>
    /// <param name="leave">Where to go without a record.</param>
    public void WriteRare(CodeLabel leave)
    {
        _code.Place(_full);
        if (lossy)
        {
            _code.LockedIncrement(frame.Control(ControlBlock.Dropped));
            _code.Jump(leave);
            return;
        }

        var wait = _code.NewLabel();
        if (frame.Kernel.PreemptCount is { } preempt)
        {
            var mayWait = _code.NewLabel();
            _code.Test32(Mem.PerCpu(preempt), NonMaskable);
            _code.Jump(ConditionCode.e, mayWait);
            _code.LockedIncrement(frame.Control(ControlBlock.Dropped));
            _code.Jump(leave);
            _code.Place(mayWait);
        }

        _code.LockedIncrement(frame.Control(ControlBlock.Waits));
        _code.Place(wait);
        _code.Pause();
        _code.Do32(Mnemonic.Cmp, frame.Control(ControlBlock.Closed), 0);
        _code.Jump(ConditionCode.ne, leave);
        LoadHead();
        WriteTry(wait, wait);
        _code.Jump(_reserved);
    }

    private void LoadHead()
    {
        _code.Load(Reg.Ax, frame.Control(ControlBlock.Head));
        if (_code.Word == 4)
        {
            _code.Load(Reg.Dx, frame.Control(ControlBlock.Head + 4));
        }
    }

    private void WriteTry(CodeLabel full, CodeLabel lost)
    {
        // Under 32 bits dx is the high half of what is expected, so the sum is made in bx.
        var sum = _code.Word == 8 ? Reg.Dx : Reg.Bx;
        _code.Address(sum, new Mem(Reg.Ax, 0, Index: Reg.Di));
        if (_code.Word == 8)
        {
            _code.Move(Reg.Cx, sum);
        }

        _code.Do(Mnemonic.Sub, sum, frame.Control(ControlBlock.Tail));
        _code.Do(Mnemonic.Cmp, sum, frame.Layout.RingLimit);
        _code.Jump(ConditionCode.a, full);
        if (_code.Word == 8)
        {
            _code.LockedCompareExchange(frame.Control(ControlBlock.Head), Reg.Cx);
        }
        else
        {
            _code.Move(Reg.Bx, Reg.Ax);
            _code.Move(Reg.Cx, Reg.Dx);
            _code.Do(Mnemonic.Add, Reg.Bx, Reg.Di);
            _code.Do(Mnemonic.Adc, Reg.Cx, 0);
            _code.LockedCompareExchange8(frame.Control(ControlBlock.Head));
        }

        _code.Jump(ConditionCode.ne, lost);
    }
}
