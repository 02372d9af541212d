// Which parts of which stacks a call's record gets. Nearly always the function runs on its task's stack, and one window goes from its stack pointer to the stack's end.
//
// x86-64: hardirq_stack_ptr points to the interrupt stack's highest word, which holds the stack pointer of whoever was there before (ASM_CALL_ON_STACK, arch/x86/include/asm/irq_stack.h,
// since 5.12). The stacks of the interrupt stack table have the interrupted context's ip, cs, flags, sp and ss at their top (SDM volume 3, 6.14.2); a non-maskable interrupt that nests
// leaves the first one's frame there too, as it is pushed anew with the same values or lies within the handler itself (entry_64.S, asm_exc_nmi).
// i386: the two interrupt stacks hold the stack pointer of before at their lowest address (call_on_stack and execute_on_irq_stack, arch/x86/kernel/irq_32.c).
using Iced.Intel;
using KTrace.Debugger.NonStop.Ring;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>Finds the windows of one program: bp becomes the first one's length with its mark, di the sum of lengths; the others lie in the frame.</summary>
internal sealed class StackWindows(TrampolineFrame frame, int stackBytes)
{
    private const int Page = 4096;

    // arch/x86/include/asm/page_64_types.h: IRQ_STACK_SIZE, doubled with KASAN as the task's is.
    private int IrqStackSize => frame.Kernel.ThreadSize;

    private readonly CodeEmitter _code = frame.Code;
    private CodeLabel _elsewhere = frame.Code.NewLabel();
    private CodeLabel _found = frame.Code.NewLabel();
    private CodeLabel _more = frame.Code.NewLabel();
    private CodeLabel _copied = frame.Code.NewLabel();

    /// <summary>What a function on its task's stack passes through.</summary>
    public void Write()
    {
        var kernel = frame.Kernel;
        _code.Test(Reg.Si, Reg.Si);
        _code.Jump(ConditionCode.e, _elsewhere);
        _code.Load(Reg.Bp, Mem.At(Reg.Si, kernel.Task.Stack));
        _code.Address(Reg.Cx, frame.Top);
        _code.Do(Mnemonic.Sub, Reg.Bp, Reg.Cx);
        _code.Do(Mnemonic.Add, Reg.Bp, kernel.ThreadSize);
        _code.Address(Reg.Ax, Mem.At(Reg.Bp, -1));
        _code.Do(Mnemonic.Cmp, Reg.Ax, kernel.ThreadSize);
        _code.Jump(ConditionCode.ae, _elsewhere);
        _code.Put32(frame.WindowCount, 1);
        WriteOnlyWindow();
        _code.Place(_found);
    }

    /// <summary>Copies them behind the record's header. bx is the record's address, di its size, which moves to bp. Uses ax, cx, si.</summary>
    public void WriteCopy()
    {
        _code.Address(Reg.Ax, frame.Top);
        RecordWriter.WriteStackPointer(_code);
        _code.Store(Mem.At(Reg.Bx, RecordFormat.WindowAddresses), Reg.Ax);
        _code.Store32(Mem.At(Reg.Bx, RecordFormat.WindowLengths), Reg.Bp);
        _code.Move(Reg.Si, Reg.Ax);
        _code.Move32(Reg.Cx, Reg.Bp);
        _code.Move32(Reg.Bp, Reg.Di);
        _code.Address(Reg.Di, Mem.At(Reg.Bx, RecordFormat.CallHeader));
        WriteCopyOfLength();
        _code.Load32(Reg.Ax, frame.WindowCount);
        _code.Store32(Mem.At(Reg.Bx, RecordFormat.WindowCount), Reg.Ax);
        _code.Do32(Mnemonic.Cmp, Reg.Ax, 1);
        _code.Jump(ConditionCode.ne, _more);
        _code.Place(_copied);
    }

    /// <summary>What happens on other stacks.</summary>
    public void WriteRare()
    {
        _code.Place(_elsewhere);
        _code.Address(Reg.Cx, frame.Top);
        if (frame.Kernel.Is64Bit)
        {
            WriteStacks64();
        }
        else
        {
            WriteStacks32();
        }

        WriteMoreCopies();
    }

    /// <summary>bp is the only window's length.</summary>
    private void WriteOnlyWindow()
    {
        var whole = _code.NewLabel();
        _code.Do32(Mnemonic.And, Reg.Bp, -_code.Word);
        _code.Move32(Reg.Di, Reg.Bp);
        _code.Do32(Mnemonic.Cmp, Reg.Bp, stackBytes);
        _code.Jump(ConditionCode.be, whole);
        _code.Constant(Reg.Bp, (uint)stackBytes | RecordFormat.WindowIsCut);
        _code.Constant(Reg.Di, (uint)stackBytes);
        _code.Place(whole);
    }

    /// <summary>cx is the stack pointer throughout: first the function's, then that of the context that its stack interrupted.</summary>
    private void WriteStacks64()
    {
        var irqNext = _code.NewLabel();
        var taskNext = _code.NewLabel();
        var exception = _code.NewLabel();
        var page = _code.NewLabel();
        var only = _code.NewLabel();

        // An interrupt's stack: the task's below it, or nothing.
        if (frame.Kernel.HardIrqStack is { } irq)
        {
            WriteIrqStack64(irq, exception);
            _code.Move(Reg.Bp, Reg.Ax);
            _code.Load(Reg.Cx, Mem.At(Reg.Dx, 0));
            _code.Put32(frame.WindowCount, 1);
            _code.Jump(taskNext);
        }

        _code.Place(exception);
        if (frame.Kernel.ExceptionStackBase is { } stacks)
        {
            _code.Load(Reg.Dx, Mem.PerCpu(stacks));
            _code.Test(Reg.Dx, Reg.Dx);
            _code.Jump(ConditionCode.e, page);
            foreach (var stack in frame.Kernel.ExceptionStacks)
            {
                var another = _code.NewLabel();
                _code.Move(Reg.Ax, Reg.Cx);
                _code.Do(Mnemonic.Sub, Reg.Ax, Reg.Dx);
                _code.Do(Mnemonic.Sub, Reg.Ax, stack.Offset);
                _code.Do(Mnemonic.Cmp, Reg.Ax, stack.Size);
                _code.Jump(ConditionCode.ae, another);
                _code.Do(Mnemonic.Add, Reg.Dx, stack.Offset + stack.Size);
                _code.Move(Reg.Bp, Reg.Dx);
                _code.Do(Mnemonic.Sub, Reg.Bp, Reg.Cx);
                _code.Put32(frame.WindowCount, 1);
                _code.Test32(Mem.At(Reg.Dx, -32), 3);
                _code.Jump(ConditionCode.ne, only);
                _code.Load(Reg.Cx, Mem.At(Reg.Dx, -16));
                _code.Jump(irqNext);
                _code.Place(another);
            }
        }

        WritePage(page, only);

        _code.Place(irqNext);
        if (frame.Kernel.HardIrqStack is { } below)
        {
            WriteIrqStack64(below, taskNext);
            WriteNextWindow(Reg.Ax);
            _code.Load(Reg.Cx, Mem.At(Reg.Dx, 0));
        }

        _code.Place(taskNext);
        WriteTaskNext();
    }

    /// <summary>Where cx is on the interrupt's stack, ax becomes the bytes to its end and dx the address of its highest word.</summary>
    private void WriteIrqStack64(ulong variable, CodeLabel isNot)
    {
        _code.Load(Reg.Dx, Mem.PerCpu(variable));
        _code.Test(Reg.Dx, Reg.Dx);
        _code.Jump(ConditionCode.e, isNot);
        _code.Move(Reg.Ax, Reg.Dx);
        _code.Do(Mnemonic.Sub, Reg.Ax, Reg.Cx);
        _code.Do(Mnemonic.Cmp, Reg.Ax, IrqStackSize - _code.Word);
        _code.Jump(ConditionCode.a, isNot);
        _code.Do(Mnemonic.Add, Reg.Ax, _code.Word);
    }

    private void WriteStacks32()
    {
        var softNext = _code.NewLabel();
        var taskNext = _code.NewLabel();
        var soft = _code.NewLabel();
        var page = _code.NewLabel();
        var only = _code.NewLabel();
        if (frame.Kernel.HardIrqStack is { } hard)
        {
            WriteIrqStack32(hard, soft);
            _code.Move(Reg.Bp, Reg.Ax);
            _code.Load(Reg.Cx, Mem.At(Reg.Dx, 0));
            _code.Put32(frame.WindowCount, 1);
            _code.Jump(softNext);
        }

        _code.Place(soft);
        if (frame.Kernel.SoftIrqStack is { } first)
        {
            WriteIrqStack32(first, page);
            _code.Move(Reg.Bp, Reg.Ax);
            _code.Load(Reg.Cx, Mem.At(Reg.Dx, 0));
            _code.Put32(frame.WindowCount, 1);
            _code.Jump(taskNext);
        }

        WritePage(page, only);

        _code.Place(softNext);
        if (frame.Kernel.SoftIrqStack is { } below)
        {
            WriteIrqStack32(below, taskNext);
            WriteNextWindow(Reg.Ax);
            _code.Load(Reg.Cx, Mem.At(Reg.Dx, 0));
        }

        _code.Place(taskNext);
        WriteTaskNext();
    }

    /// <summary>Where cx is on an interrupt's stack, ax becomes the bytes to its end and dx its lowest address.</summary>
    private void WriteIrqStack32(ulong variable, CodeLabel isNot)
    {
        _code.Load(Reg.Dx, Mem.PerCpu(variable));
        _code.Test(Reg.Dx, Reg.Dx);
        _code.Jump(ConditionCode.e, isNot);
        _code.Move(Reg.Ax, Reg.Cx);
        _code.Do(Mnemonic.Sub, Reg.Ax, Reg.Dx);
        _code.Do(Mnemonic.Cmp, Reg.Ax, frame.Kernel.ThreadSize);
        _code.Jump(ConditionCode.ae, isNot);
        _code.DoOne(Mnemonic.Neg, Reg.Ax);
        _code.Do(Mnemonic.Add, Reg.Ax, frame.Kernel.ThreadSize);
    }

    /// <summary>A stack that is not known: only its page is sure to be there. Ends what <paramref name="only"/> leads to as well.</summary>
    private void WritePage(CodeLabel page, CodeLabel only)
    {
        _code.Place(page);
        _code.Move32(Reg.Bp, Reg.Cx);
        _code.DoOne32(Mnemonic.Neg, Reg.Bp);
        _code.Do32(Mnemonic.Sub, Reg.Bp, 1);
        _code.Do32(Mnemonic.And, Reg.Bp, Page - 1);
        _code.Do32(Mnemonic.Add, Reg.Bp, 1);
        _code.Put32(frame.WindowCount, 1);
        _code.Place(only);
        WriteOnlyWindow();
        _code.Jump(_found);
    }

    /// <summary>The next window begins at cx and has <paramref name="length"/> bytes.</summary>
    private void WriteNextWindow(Reg length)
    {
        var third = _code.NewLabel();
        var done = _code.NewLabel();
        _code.Load32(Reg.Di, frame.WindowCount);
        _code.Do32(Mnemonic.Cmp, Reg.Di, 1);
        _code.Jump(ConditionCode.ne, third);
        _code.Store(frame.WindowStart(1), Reg.Cx);
        _code.Store32(frame.WindowLength(1), length);
        _code.Put32(frame.WindowCount, 2);
        _code.Jump(done);
        _code.Place(third);
        _code.Store(frame.WindowStart(2), Reg.Cx);
        _code.Store32(frame.WindowLength(2), length);
        _code.Put32(frame.WindowCount, 3);
        _code.Place(done);
    }

    /// <summary>The last window is the task's, if cx lies there; then all are cut to what may be copied.</summary>
    private void WriteTaskNext()
    {
        var none = _code.NewLabel();
        _code.Test(Reg.Si, Reg.Si);
        _code.Jump(ConditionCode.e, none);
        _code.Load(Reg.Ax, Mem.At(Reg.Si, frame.Kernel.Task.Stack));
        _code.Do(Mnemonic.Sub, Reg.Ax, Reg.Cx);
        _code.Do(Mnemonic.Add, Reg.Ax, frame.Kernel.ThreadSize);
        _code.Address(Reg.Dx, Mem.At(Reg.Ax, -1));
        _code.Do(Mnemonic.Cmp, Reg.Dx, frame.Kernel.ThreadSize);
        _code.Jump(ConditionCode.ae, none);
        WriteNextWindow(Reg.Ax);
        _code.Place(none);
        WriteLimits();
        _code.Jump(_found);
    }

    /// <summary>bp is the first window's length, the others' are in the frame; dx is what is left, di the sum.</summary>
    private void WriteLimits()
    {
        var done = _code.NewLabel();
        var cutFirst = _code.NewLabel();
        _code.Do32(Mnemonic.And, Reg.Bp, -_code.Word);
        _code.Constant(Reg.Dx, (uint)stackBytes);
        _code.Move32(Reg.Di, Reg.Bp);
        _code.Do32(Mnemonic.Sub, Reg.Dx, Reg.Bp);
        _code.Jump(ConditionCode.b, cutFirst);
        for (var index = 1; index < RecordFormat.MaximumWindows; index++)
        {
            var fits = _code.NewLabel();
            _code.Do32(Mnemonic.Cmp, frame.WindowCount, index);
            _code.Jump(ConditionCode.be, done);
            _code.Load32(Reg.Ax, frame.WindowLength(index));
            _code.Do32(Mnemonic.And, Reg.Ax, -_code.Word);
            _code.Do32(Mnemonic.Cmp, Reg.Ax, Reg.Dx);
            _code.Jump(ConditionCode.be, fits);
            _code.Put32(frame.WindowCount, (uint)index + 1);
            _code.Do32(Mnemonic.Add, Reg.Di, Reg.Dx);
            _code.Do32(Mnemonic.Or, Reg.Dx, int.MinValue);
            _code.Store32(frame.WindowLength(index), Reg.Dx);
            _code.Jump(done);
            _code.Place(fits);
            _code.Store32(frame.WindowLength(index), Reg.Ax);
            _code.Do32(Mnemonic.Add, Reg.Di, Reg.Ax);
            _code.Do32(Mnemonic.Sub, Reg.Dx, Reg.Ax);
        }

        _code.Jump(done);
        _code.Place(cutFirst);
        _code.Constant(Reg.Bp, (uint)stackBytes | RecordFormat.WindowIsCut);
        _code.Constant(Reg.Di, (uint)stackBytes);
        _code.Put32(frame.WindowCount, 1);
        _code.Place(done);
    }

    /// <summary>cx is a length with its mark.</summary>
    private void WriteCopyOfLength()
    {
        _code.Do32(Mnemonic.And, Reg.Cx, int.MaxValue);
        _code.Shift32(Mnemonic.Shr, Reg.Cx, _code.Word == 8 ? 3 : 2);
        _code.CopyWords();
    }

    private void WriteMoreCopies()
    {
        _code.Place(_more);
        for (var index = 1; index < RecordFormat.MaximumWindows; index++)
        {
            _code.Do32(Mnemonic.Cmp, Reg.Ax, index);
            _code.Jump(ConditionCode.be, _copied);
            _code.Load(Reg.Si, frame.WindowStart(index));
            _code.Store(Mem.At(Reg.Bx, RecordFormat.WindowAddresses + (8 * index)), Reg.Si);
            _code.Load32(Reg.Cx, frame.WindowLength(index));
            _code.Store32(Mem.At(Reg.Bx, RecordFormat.WindowLengths + (4 * index)), Reg.Cx);
            WriteCopyOfLength();
        }

        _code.Jump(_copied);
    }
}
