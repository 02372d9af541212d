// A condition in machine code: its steps one after the other, the topmost value in ax and those under it in the frame. No way leads back, nothing is called, and what it reads beyond the current task it reads
// as GuardedRead.cs does. It comes before anything is counted or reserved: a call whose condition does not hold leaves nothing behind.
using Iced.Intel;
using KTrace.Debugger.NonStop.Ring;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>Writes the question whether a call counts. Uses all registers but si, which is the current task or 0 before and after.</summary>
internal sealed class ConditionWriter
{
    private readonly TrampolineFrame _frame;
    private readonly CodeEmitter _code;
    private readonly CompiledCondition _condition;
    private readonly ulong _unreadableCounter;
    private readonly GuestView? _view;
    private readonly GuardedRead? _memory;
    private readonly CodeLabel _leave;
    private readonly CodeLabel _unreadable;
    private readonly int _size;
    private int _depth;

    /// <param name="view">Needed where memory is read.</param>
    /// <param name="counters">Address of the program's counters.</param>
    /// <param name="leave">Where to go when the call does not count.</param>
    /// <exception cref="ArgumentException">The steps are none that the compiler makes.</exception>
    public ConditionWriter(TrampolineFrame frame, CompiledCondition condition, GuestView? view, ulong counters, CodeLabel leave)
    {
        (_frame, _code, _condition, _view, _leave) = (frame, frame.Code, condition, view, leave);
        (_unreadableCounter, _unreadable) = (counters + ControlBlock.ProgramUnreadable, _code.NewLabel());
        var slots = ConditionStep.MaximumDepth * _code.Word;
        var bytes = condition.Steps.Max(step => step switch
        {
            ConditionStep.Load { IsOwnTask: false } load => Touched(load.Bytes),
            ConditionStep.TextEquals { IsOwnTask: false } text => text.Text.Length,
            _ => 0,
        });
        _size = slots;
        if (bytes > 0)
        {
            _memory = new GuardedRead(_code, view ?? throw new ArgumentException("a condition reads memory, and there is no view of it", nameof(view)), slots, _unreadable);
            _size += GuardedRead.ScratchSize(bytes, _code.Word);
        }
    }

    private bool Is64Bit => _code.Word == 8;

    public void Write()
    {
        var targets = _condition.Steps.SelectMany(TargetsOf).Distinct().ToDictionary(t => t, _ => _code.NewLabel());
        _code.Grow(_size);
        for (var number = 0; number < _condition.Steps.Length; number++)
        {
            Land(number);
            var step = _condition.Steps[number];
            if (TargetsOf(step).Any(t => t <= number || t > _condition.Steps.Length))
            {
                throw new ArgumentException($"step {number} of a condition leads nowhere", nameof(_condition));
            }

            Write(step, targets);
        }

        Land(_condition.Steps.Length);
        if (_depth != 1)
        {
            throw new ArgumentException("a condition has no value", nameof(_condition));
        }

        _code.Test(Reg.Ax, Reg.Ax);
        _code.Grow(-_size);
        _code.Jump(ConditionCode.e, _leave);

        void Land(int number)
        {
            if (targets.TryGetValue(number, out var label))
            {
                _code.Place(label);
            }
        }
    }

    /// <summary>What happens seldom.</summary>
    public void WriteRare()
    {
        _code.Begin(_frame.FullDistance + _size);
        _memory?.WriteRare();
        _code.Place(_unreadable, _frame.FullDistance + _size);
        _code.LockedIncrement(Mem.Fixed(_unreadableCounter));
        _code.Grow(-_size);
        _code.Jump(_leave);
    }

    private static IEnumerable<int> TargetsOf(ConditionStep step) => step switch
    {
        ConditionStep.SkipIf skip => [skip.Target],
        ConditionStep.JumpIfZero jump => [jump.Target],
        ConditionStep.Jump jump => [jump.Target],
        _ => [],
    };

    private static int Touched(int bytes) => bytes switch { 1 => 1, 2 => 2, <= 4 => 4, _ => 8 };

    private void Write(ConditionStep step, Dictionary<int, CodeLabel> targets)
    {
        switch (step)
        {
            case ConditionStep.Constant constant:
                Push();
                _code.Constant(Reg.Ax, constant.IsKernelAddress ? Word(constant.Value + (_view?.Slide ?? throw new ArgumentException("a kernel address without a slide", nameof(step)))) : Word(constant.Value));
                break;
            case ConditionStep.EntryRegister { Number: (int)Reg.Sp }:
                Push();
                _code.Address(Reg.Ax, _frame.Top);
                break;
            case ConditionStep.EntryRegister { Number: < 8 } register:
                Push();
                _code.Load(Reg.Ax, _frame.SavedAt((Reg)register.Number));
                break;
            case ConditionStep.EntryRegister { Number: < RecordFormat.RegisterCount } register when Is64Bit:
                Push();
                _code.MoveExtended(Reg.Ax, register.Number);
                break;
            case ConditionStep.CurrentTask:
                Push();
                _code.Move(Reg.Ax, Reg.Si);
                break;
            case ConditionStep.CpuNumber:
                Push();
                _code.Do32(Mnemonic.Xor, Reg.Ax, Reg.Ax);
                if (_frame.Kernel.CpuNumber is { } cpu)
                {
                    _code.Load32(Reg.Ax, Mem.PerCpu(cpu));
                }

                break;
            case ConditionStep.Load load:
                WriteLoad(load);
                break;
            case ConditionStep.TextEquals text:
                WriteText(text);
                break;
            case ConditionStep.Field field:
                WriteField(field);
                break;
            case ConditionStep.Operate operate:
                WriteOperation(operate.Operation);
                break;
            case ConditionStep.Require { IsPointer: true }:
                // NULL and the errors are the last 4095 addresses and the first.
                const int maximumError = 4095;
                _code.Address(Reg.Cx, Mem.At(Reg.Ax, maximumError));
                _code.Do(Mnemonic.Cmp, Reg.Cx, maximumError);
                _code.Jump(ConditionCode.be, _unreadable);
                break;
            case ConditionStep.Require:
                _code.Test(Reg.Ax, Reg.Ax);
                _code.Jump(ConditionCode.e, _unreadable);
                break;
            case ConditionStep.RequireLess require:
                _code.Do(Mnemonic.Cmp, Reg.Ax, require.Limit);
                _code.Jump(ConditionCode.ae, _unreadable);
                break;
            case ConditionStep.SkipIf skip:
                _code.Test(Reg.Ax, Reg.Ax);
                _code.SetAx(ConditionCode.ne);
                _code.Jump(skip.Truth ? ConditionCode.ne : ConditionCode.e, targets[skip.Target]);
                Drop();
                break;
            case ConditionStep.JumpIfZero jump:
                _code.Move(Reg.Cx, Reg.Ax);
                Drop();
                _code.Test(Reg.Cx, Reg.Cx);
                _code.Jump(ConditionCode.e, targets[jump.Target]);
                break;
            case ConditionStep.Jump jump:
                _code.Jump(targets[jump.Target]);

                // The other way, which is written next, is reached with what was under the value in ax.
                _depth--;
                break;
            default:
                throw new ArgumentException($"{step} is no step for this kernel", nameof(step));
        }
    }

    private ulong Word(ulong value) => Is64Bit ? value : (uint)value;

    private Mem Slot(int depth) => Mem.At(Reg.Sp, depth * _code.Word);

    private void Push()
    {
        if (_depth > 0)
        {
            _code.Store(Slot(_depth - 1), Reg.Ax);
        }

        if (++_depth > ConditionStep.MaximumDepth)
        {
            throw new ArgumentException("a condition is too deep", nameof(_condition));
        }
    }

    /// <summary>Changes no flags.</summary>
    private void Drop()
    {
        if (--_depth > 0)
        {
            _code.Load(Reg.Ax, Slot(_depth - 1));
        }
    }

    private void WriteLoad(ConditionStep.Load load)
    {
        if (load.IsOwnTask)
        {
            _code.LoadWidened(Reg.Ax, Mem.At(Reg.Ax, load.Offset), Touched(load.Bytes), load.IsSigned);
            return;
        }

        AddOffset(load.Offset);
        _memory!.Write(load.Bytes, Touched(load.Bytes));
        _code.LoadWidened(Reg.Ax, Reg.Bx, Touched(load.Bytes), load.IsSigned);
    }

    private void WriteText(ConditionStep.TextEquals step)
    {
        var (differs, done) = (_code.NewLabel(), _code.NewLabel());
        var at = Mem.At(Reg.Ax, step.Offset);
        if (step.IsPointer)
        {
            _code.Test(Reg.Ax, Reg.Ax);
            _code.Jump(ConditionCode.e, differs);
        }

        if (!step.IsOwnTask)
        {
            AddOffset(step.Offset);
            _memory!.Write(step.Text.Length, step.Text.Length, differs);
            at = Reg.Bx;
        }

        var offset = 0;
        foreach (var size in (ReadOnlySpan<int>)[8, 4, 2, 1])
        {
            for (; size <= _code.Word && step.Text.Length - offset >= size; offset += size)
            {
                var wanted = 0UL;
                for (var i = 0; i < size; i++)
                {
                    wanted |= (ulong)(byte)step.Text[offset + i] << (8 * i);
                }

                _code.LoadWidened(Reg.Cx, at.Plus(offset), size, isSigned: false);
                _code.Constant(Reg.Dx, wanted);
                _code.Do(Mnemonic.Cmp, Reg.Cx, Reg.Dx);
                _code.Jump(ConditionCode.ne, differs);
            }
        }

        _code.Constant(Reg.Ax, 1);
        _code.Jump(done);
        _code.Place(differs);
        _code.Do32(Mnemonic.Xor, Reg.Ax, Reg.Ax);
        _code.Place(done);
    }

    private void AddOffset(int offset)
    {
        if (offset != 0)
        {
            _code.Address(Reg.Ax, Mem.At(Reg.Ax, offset));
        }
    }

    private void WriteField(ConditionStep.Field field)
    {
        var bits = 8 * _code.Word;
        if (bits - field.BitOffset - field.BitSize is > 0 and var above)
        {
            _code.Shift(Mnemonic.Shl, Reg.Ax, above);
        }

        if (bits - field.BitSize is > 0 and var unused)
        {
            _code.Shift(field.IsSigned ? Mnemonic.Sar : Mnemonic.Shr, Reg.Ax, unused);
        }
    }

    private void WriteOperation(ConditionOperation operation)
    {
        switch (operation)
        {
            case ConditionOperation.Negate:
                _code.DoOne(Mnemonic.Neg, Reg.Ax);
                return;
            case ConditionOperation.Complement:
                _code.DoOne(Mnemonic.Not, Reg.Ax);
                return;
            case ConditionOperation.IsZero or ConditionOperation.IsNotZero:
                _code.Test(Reg.Ax, Reg.Ax);
                _code.SetAx(operation == ConditionOperation.IsZero ? ConditionCode.e : ConditionCode.ne);
                return;
            case ConditionOperation.SwapBytes32:
                _code.SwapBytes32(Reg.Ax);
                return;
        }

        // The right value is in cx then, the left one in ax.
        _code.Move(Reg.Cx, Reg.Ax);
        Drop();
        switch (operation)
        {
            case ConditionOperation.Add or ConditionOperation.Subtract or ConditionOperation.And or ConditionOperation.Or or ConditionOperation.ExclusiveOr:
                _code.Do(MnemonicOf(operation), Reg.Ax, Reg.Cx);
                break;
            case ConditionOperation.Multiply:
                _code.Multiply(Reg.Ax, Reg.Cx);
                break;
            case ConditionOperation.ShiftLeft or ConditionOperation.ShiftRight or ConditionOperation.ShiftRightSigned:
                _code.ShiftByCl(MnemonicOf(operation), Reg.Ax);
                break;
            case ConditionOperation.DivideSigned or ConditionOperation.Divide or ConditionOperation.RemainderSigned or ConditionOperation.Remainder:
                WriteDivision(operation is ConditionOperation.DivideSigned or ConditionOperation.RemainderSigned, operation is ConditionOperation.Divide or ConditionOperation.DivideSigned);
                break;
            default:
                _code.Do(Mnemonic.Cmp, Reg.Ax, Reg.Cx);
                _code.SetAx(FlagOf(operation));
                break;
        }
    }

    private void WriteDivision(bool isSigned, bool isQuotient)
    {
        var (divide, done) = (_code.NewLabel(), _code.NewLabel());
        _code.Test(Reg.Cx, Reg.Cx);
        _code.Jump(ConditionCode.e, _unreadable);
        if (isSigned)
        {
            // The smallest number divided by -1 faults.
            _code.Do(Mnemonic.Cmp, Reg.Cx, -1);
            _code.Jump(ConditionCode.ne, divide);
            if (isQuotient)
            {
                _code.DoOne(Mnemonic.Neg, Reg.Ax);
            }
            else
            {
                _code.Do32(Mnemonic.Xor, Reg.Ax, Reg.Ax);
            }

            _code.Jump(done);
            _code.Place(divide);
            _code.ExtendIntoDx();
            _code.DoOne(Mnemonic.Idiv, Reg.Cx);
        }
        else
        {
            _code.Do32(Mnemonic.Xor, Reg.Dx, Reg.Dx);
            _code.DoOne(Mnemonic.Div, Reg.Cx);
        }

        if (!isQuotient)
        {
            _code.Move(Reg.Ax, Reg.Dx);
        }

        _code.Place(done);
    }

    private static Mnemonic MnemonicOf(ConditionOperation operation) => operation switch
    {
        ConditionOperation.Add => Mnemonic.Add,
        ConditionOperation.Subtract => Mnemonic.Sub,
        ConditionOperation.And => Mnemonic.And,
        ConditionOperation.Or => Mnemonic.Or,
        ConditionOperation.ExclusiveOr => Mnemonic.Xor,
        ConditionOperation.ShiftLeft => Mnemonic.Shl,
        ConditionOperation.ShiftRight => Mnemonic.Shr,
        _ => Mnemonic.Sar,
    };

    private static ConditionCode FlagOf(ConditionOperation operation) => operation switch
    {
        ConditionOperation.Equal => ConditionCode.e,
        ConditionOperation.NotEqual => ConditionCode.ne,
        ConditionOperation.Less => ConditionCode.b,
        ConditionOperation.LessOrEqual => ConditionCode.be,
        ConditionOperation.Greater => ConditionCode.a,
        ConditionOperation.GreaterOrEqual => ConditionCode.ae,
        ConditionOperation.LessSigned => ConditionCode.l,
        ConditionOperation.LessOrEqualSigned => ConditionCode.le,
        ConditionOperation.GreaterSigned => ConditionCode.g,
        ConditionOperation.GreaterOrEqualSigned => ConditionCode.ge,
        _ => throw new ArgumentOutOfRangeException(nameof(operation)),
    };
}
