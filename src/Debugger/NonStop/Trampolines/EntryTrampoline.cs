// What runs in the guest when a traced function is entered. It is called by five bytes at the function's entry: the stack holds the return into the function and, above, the caller's.
//
// Interrupts are off from the first instruction to the last, which is popf's work to undo. That is not for speed: a context that waits for room waits for the reader, and the reader waits for
// the oldest record that is not committed. If an interrupt's handler could find the ring full while the context under it holds reserved bytes, both would wait for ever; so would a task
// that is preempted there. A non-maskable interrupt can still come between: what runs in its context (its bits in __preempt_count; what runs before they are set cannot be traced) never
// waits, and is counted as dropped where there is no room. Reading per-cpu data needs the same: the CPU must not change under it.
// Under TCG cli costs a few ns; popf ends a translation block, and is needed for the flags anyway.
//
// Tracepoints that ask for different things of one function have a trampoline each. The first goes on with the next where it would return: registers, flags and stack are then as they were at the function's entry, and
// whatever the first did to the return address the next takes for the caller's, as after a tail call (ReturnTrampoline.cs).
//
// Nothing here can fault: what is read and written is the stack between the stack pointer and the stack's end, per-cpu data, the current task's task_struct, and KTrace's own mapping. A condition may
// read more, and looks first (GuardedRead.cs).
using Iced.Intel;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Ring;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>Makes the code that traced functions call at their entry.</summary>
public static class EntryTrampoline
{
    /// <summary>Bytes of stack that the code of all programs uses at most, where it is called.</summary>
    public const int StackUse = 256;

    /// <summary>Makes the code of one program for one kernel. It can be called as soon as its bytes are at <paramref name="address"/>, and the control block and ring are zero.</summary>
    /// <param name="lossy">A full ring makes it count and go on; otherwise it waits.</param>
    /// <param name="address">Where its first byte will be: where calls go to.</param>
    /// <param name="returns">Needed where <see cref="TrampolineProgram.Returns"/> is set.</param>
    /// <param name="view">Needed where the program's condition reads memory or knows an address of the kernel.</param>
    /// <param name="next">The trampoline of another program that the same functions lead through next; null: none.</param>
    /// <exception cref="ArgumentException">The program cannot be run with this layout: its largest record does not fit in the ring, or return stubs or the view are missing.</exception>
    public static CodeBlock Assemble(
        KernelOffsets offsets, NonStopLayout layout, TrampolineProgram program, bool lossy, ulong address, ReturnTrampoline? returns = null, GuestView? view = null, ulong? next = null)
    {
        if (program.StackBytes < offsets.WordSize || program.StackBytes % 8 != 0 || RecordSize(program.StackBytes) > Math.Min(layout.RingLimit, RingRecord.MaximumSize))
        {
            throw new ArgumentException($"{program.StackBytes} bytes of stack do not fit in a ring that takes {layout.RingLimit}", nameof(program));
        }

        if (program.Index is < 0 or >= ControlBlock.MaximumPrograms || program.Sample < 1 || program.First < 0)
        {
            throw new ArgumentException($"program {program.Index} has numbers that no program can have", nameof(program));
        }

        if (program.Returns && returns is null)
        {
            throw new ArgumentException("returns are recorded, but there are no stubs for them", nameof(returns));
        }

        var code = new CodeEmitter(offsets);
        code.Begin(offsets.WordSize);
        new Body(new TrampolineFrame(code, offsets, layout), program, lossy, returns, view, next).Write();
        return code.Assemble(address);
    }

    /// <summary>Bytes of a call's record with so many bytes of stack.</summary>
    internal static int RecordSize(int stackBytes) => (RecordFormat.CallHeader + stackBytes + RecordFormat.Alignment - 1) & -RecordFormat.Alignment;

    /// <summary>One program's code in the order of its writing: first what a hit on a task's stack passes through, then what is rare.</summary>
    private sealed class Body(TrampolineFrame frame, TrampolineProgram program, bool lossy, ReturnTrampoline? returns, GuestView? view, ulong? next)
    {
        private readonly CodeEmitter _code = frame.Code;

        private ulong CountersOf(int index) => frame.Layout.Control + ControlBlock.Programs + (ulong)(index * ControlBlock.ProgramStride);

        public void Write()
        {
            var closed = _code.NewLabel();
            var leave = _code.NewLabel();
            frame.Enter(closed);

            var condition = program.Condition is { } asked ? new ConditionWriter(frame, asked, view, CountersOf(program.Index), leave) : null;
            condition?.Write();
            WriteCounters(leave);
            var windows = new StackWindows(frame, program.StackBytes);
            windows.Write();
            _code.Do32(Mnemonic.Add, Reg.Di, RecordFormat.CallHeader + RecordFormat.Alignment - 1);
            _code.Do32(Mnemonic.And, Reg.Di, -RecordFormat.Alignment);
            var reservation = new Reservation(frame, lossy);
            reservation.Write();
            RecordWriter.WriteHeader(frame, RingRecordKind.Call);
            _code.Load(Reg.Ax, frame.Pushed);
            _code.Store(Mem.At(Reg.Bx, RecordFormat.Site), Reg.Ax);
            _code.Put32(Mem.At(Reg.Bx, RecordFormat.Program), (uint)program.Index);
            windows.WriteCopy();
            if (program.Returns)
            {
                returns!.WriteTaking(frame, program.Index);
            }

            RecordWriter.WriteCommit(_code, RingRecordKind.Call);
            _code.Place(leave);
            frame.Leave(next);

            _code.Place(closed, 2 * _code.Word);
            _code.PopFlags();
            _code.Return();
            _code.Begin(frame.FullDistance);
            windows.WriteRare();
            reservation.WriteRare(leave);
            condition?.WriteRare();
        }

        private void WriteCounters(CodeLabel leave)
        {
            if (program.Sample > 1)
            {
                Count(CountersOf(program.CountsAt) + ControlBlock.ProgramCalls);
                _code.Do(Mnemonic.Xor, Reg.Dx, Reg.Dx);
                _code.Constant(Reg.Cx, (ulong)program.Sample);
                _code.DoOne(Mnemonic.Div, Reg.Cx);
                _code.Test(Reg.Dx, Reg.Dx);
                _code.Jump(ConditionCode.ne, leave);
            }

            if (program.First is { } first)
            {
                Count(CountersOf(program.CountsAt) + ControlBlock.ProgramTaken);
                _code.Constant(Reg.Cx, (ulong)first);
                _code.Do(Mnemonic.Cmp, Reg.Ax, Reg.Cx);
                _code.Jump(ConditionCode.ae, leave);
            }
        }

        /// <summary>ax is what was there before.</summary>
        private void Count(ulong counter)
        {
            _code.Constant(Reg.Ax, 1);
            _code.LockedExchangeAdd(Mem.Fixed(counter), Reg.Ax);
        }
    }
}
