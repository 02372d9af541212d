using Iced.Intel;
using KTrace.Debugger.NonStop.Ring;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>Writes a record's fields: bx is its address, si the current task or 0. Uses ax, dx.</summary>
internal static class RecordWriter
{
    /// <summary>What calls and returns have in common; for a call all registers, for a return those that hold its result.</summary>
    public static void WriteHeader(TrampolineFrame frame, RingRecordKind kind)
    {
        var code = frame.Code;
        code.ReadClock();
        code.Store32(Mem.At(Reg.Bx, RecordFormat.Clock), Reg.Ax);
        code.Store32(Mem.At(Reg.Bx, RecordFormat.Clock + 4), Reg.Dx);
        code.Load(Reg.Ax, frame.Flags);
        code.Store32(Mem.At(Reg.Bx, RecordFormat.Flags), Reg.Ax);
        CopyPerCpu(code, frame.Kernel.CpuNumber, RecordFormat.Cpu);
        CopyPerCpu(code, frame.Kernel.PreemptCount, RecordFormat.PreemptCount);
        foreach (var register in kind == RingRecordKind.Call ? [Reg.Ax, Reg.Cx, Reg.Dx, Reg.Bx, Reg.Bp, Reg.Si, Reg.Di] : (Reg[])[Reg.Ax, Reg.Cx, Reg.Dx])
        {
            code.Load(Reg.Ax, frame.SavedAt(register));
            code.Store(Mem.At(Reg.Bx, RegisterAt((int)register)), Reg.Ax);
        }

        if (code.Word == 8 && kind == RingRecordKind.Call)
        {
            for (var number = 8; number < RecordFormat.RegisterCount; number++)
            {
                code.StoreExtended(Mem.At(Reg.Bx, RegisterAt(number)), number);
            }
        }

        WriteTask(frame);
    }

    /// <summary>The stack pointer that a record tells; it is in ax.</summary>
    public static void WriteStackPointer(CodeEmitter code)
    {
        code.Store(Mem.At(Reg.Bx, RecordFormat.StackPointer), Reg.Ax);
        code.Store(Mem.At(Reg.Bx, RegisterAt((int)Reg.Sp)), Reg.Ax);
    }

    /// <summary>The last word, in one store: whoever reads sees all of the record. bp is its size. bx is lost.</summary>
    public static void WriteCommit(CodeEmitter code, RingRecordKind kind)
    {
        const int magicShift = 48, kindShift = 32;
        var high = (RecordFormat.Magic << magicShift) | ((ulong)kind << kindShift);
        if (code.Word == 8)
        {
            code.Constant(Reg.Ax, high);
            code.Do(Mnemonic.Or, Reg.Ax, Reg.Bp);
            code.Store(Mem.At(Reg.Bx, RecordFormat.Commit), Reg.Ax);
            return;
        }

        // 64 bits at once without SSE: cmpxchg8b. The word was 0; if it was not, the second turn knows what it was.
        var again = code.NewLabel();
        code.Move(Reg.Si, Reg.Bx);
        code.Do(Mnemonic.Xor, Reg.Ax, Reg.Ax);
        code.Do(Mnemonic.Xor, Reg.Dx, Reg.Dx);
        code.Move(Reg.Bx, Reg.Bp);
        code.Constant(Reg.Cx, high >> 32);
        code.Place(again);
        code.LockedCompareExchange8(Mem.At(Reg.Si, RecordFormat.Commit));
        code.Jump(ConditionCode.ne, again);
    }

    private static int RegisterAt(int number) => RecordFormat.Registers + (8 * number);

    private static void CopyPerCpu(CodeEmitter code, ulong? variable, int field)
    {
        if (variable is { } address)
        {
            code.Load32(Reg.Ax, Mem.PerCpu(address));
            code.Store32(Mem.At(Reg.Bx, field), Reg.Ax);
        }
    }

    private static void WriteTask(TrampolineFrame frame)
    {
        var code = frame.Code;
        var task = frame.Kernel.Task;
        var unknown = code.NewLabel();
        code.Test(Reg.Si, Reg.Si);
        code.Jump(ConditionCode.e, unknown);
        code.Store(Mem.At(Reg.Bx, RecordFormat.Task), Reg.Si);
        Copy32(code, task.Pid, RecordFormat.Pid);
        Copy32(code, task.ThreadGroup, RecordFormat.ThreadGroup);
        Copy32(code, task.Flags, RecordFormat.TaskFlags);
        for (var offset = 0; offset < RecordFormat.CommLength; offset += code.Word)
        {
            code.Load(Reg.Ax, Mem.At(Reg.Si, task.Comm + offset));
            code.Store(Mem.At(Reg.Bx, RecordFormat.Comm + offset), Reg.Ax);
        }

        code.Place(unknown);
    }

    private static void Copy32(CodeEmitter code, int? member, int field)
    {
        if (member is { } offset)
        {
            code.Load32(Reg.Ax, Mem.At(Reg.Si, offset));
            code.Store32(Mem.At(Reg.Bx, field), Reg.Ax);
        }
    }
}
