using KTrace.Symbols.Disassembly;

namespace KTrace.Symbols.Recovery;

/// <summary>Runs instructions over states of symbolic values.</summary>
internal sealed class FlowTransfer
{
    private readonly CodeObject _code;
    private readonly RegisterNumbers _registers;
    private readonly FlowValues _values;
    private readonly FlowPlaces _places;
    private readonly StackEscapes _escapes;
    private readonly FlowMemory _memory;

    public FlowTransfer(CodeObject code, RegisterNumbers registers, FlowValues values, FlowPlaces places, StackEscapes escapes)
    {
        _code = code;
        _registers = registers;
        _values = values;
        _places = places;
        _escapes = escapes;
        _memory = new FlowMemory(code, registers, values, places, escapes);
    }

    public FlowMemory Memory => _memory;

    /// <summary>Changes the state to what it is behind the instruction.</summary>
    public void Apply(FlowState state, in MachineInstruction instruction)
    {
        _memory.At = instruction.Address;
        var stackBefore = state[_registers.StackPointer];
        Run(state, in instruction);
        var stack = state[_registers.StackPointer];
        if (stackBefore.IsCfa && stack.IsCfa && stack.Addend > stackBefore.Addend)
        {
            // What lies below the stack pointer belongs to interrupts.
            _memory.Forget(state, long.MinValue, stack.Addend);
        }
    }

    /// <summary>The registers that a call takes away.</summary>
    public uint CallClobbers(in MachineInstruction call)
    {
        if (call.First.IsImmediate)
        {
            switch (_code.Special(call.Address, call.Length, (ulong)call.First.Number))
            {
                case SpecialFunction.Tracer:
                    return 0;
                case SpecialFunction.TakesRbx:
                    return _registers.CallerSaved | _registers.Bx;
                case SpecialFunction.ProgramCounterThunk:
                    return _registers.CallerSaved | _registers.CalleeSaved;
                default:
                    return _code.ClobbersOf((ulong)call.First.Number) | _registers.CallerSaved;
            }
        }

        return _registers.CallerSaved;
    }

    /// <summary>What it did when it faulted and its fixup runs: anything to its own operands and to all that calls may change.</summary>
    public void Fault(FlowState state, in MachineInstruction instruction, int fixup)
    {
        var mask = _registers.CallerSaved;
        for (var i = 0; i < instruction.OperandCount; i++)
        {
            var operand = instruction.Operand(i);
            mask |= operand.IsRegister ? 1u << operand.Register : 0;
        }

        // EX_DATA_REG numbers registers as pt_regs_nr does, in the order of their machine encoding (arch/x86/mm/extable.c).
        mask |= _registers.Is64Bit ? FixupRegister64(fixup >> 8 & 15) : FixupRegister32(fixup >> 8 & 15);
        Clobber(state, in instruction, mask & ~(1u << _registers.StackPointer), 100);
        if ((fixup & 0xff) == 16)
        {
            // EX_TYPE_POP_REG moves the stack pointer.
            state[_registers.StackPointer] = _values.Result(instruction.Address, 100 + _registers.StackPointer);
            _memory.Forget(state, long.MinValue, long.MaxValue);
        }
    }

    private static uint FixupRegister64(int number) => number switch
    {
        0 => 1u << 0, 1 => 1u << 2, 2 => 1u << 1, 3 => 1u << 3, 5 => 1u << 6, 6 => 1u << 4, 7 => 1u << 5, >= 8 => 1u << number, _ => 0,
    };

    private static uint FixupRegister32(int number) => number is < 8 and not 4 ? 1u << number : 0;

    private void Run(FlowState state, in MachineInstruction instruction)
    {
        var isExternal = _code.External(instruction.Address, instruction.Length) is not null;
        switch (InstructionEffects.Of(instruction.Id))
        {
            case EffectKind.WritesNothing or EffectKind.Compare:
                break;
            case EffectKind.Mov:
                Store(state, in instruction, instruction.First, isExternal ? FlowValues.Unknown : Load(state, instruction.Second, instruction.First.Size), instruction.Second);
                break;
            case EffectKind.MovZeroExtend:
                Store(state, in instruction, instruction.First, _values.Extend(Load(state, instruction.Second, instruction.Second.Size), instruction.Second.Size * 8, isSigned: false), instruction.Second);
                break;
            case EffectKind.MovSignExtend:
                Store(state, in instruction, instruction.First, _values.Extend(Load(state, instruction.Second, instruction.Second.Size), instruction.Second.Size * 8, isSigned: true), instruction.Second);
                break;
            case EffectKind.Lea:
                Store(state, in instruction, instruction.First, isExternal ? FlowValues.Unknown : _memory.Address(state, instruction.Second), default);
                break;
            case EffectKind.Add:
                Arithmetic(state, in instruction, isExternal, 1);
                break;
            case EffectKind.Subtract when IsSameRegister(in instruction):
            case EffectKind.Xor when IsSameRegister(in instruction):
                Store(state, in instruction, instruction.First, _values.Constant(0), default);
                break;
            case EffectKind.Subtract:
                Arithmetic(state, in instruction, isExternal, -1);
                break;
            case EffectKind.Increment:
                Store(state, in instruction, instruction.First, _values.Add(Load(state, instruction.First, instruction.First.Size), 1), instruction.First);
                break;
            case EffectKind.Decrement:
                Store(state, in instruction, instruction.First, _values.Add(Load(state, instruction.First, instruction.First.Size), -1), instruction.First);
                break;
            case EffectKind.And:
                And(state, in instruction);
                break;
            case EffectKind.Or:
                Store(state, in instruction, instruction.First, instruction.Second.IsImmediate && IsAllOnes(instruction.Second.Number, instruction.First.Size) ? _values.Constant(-1) : Computed(state, in instruction), default);
                break;
            case EffectKind.Xor:
                Store(state, in instruction, instruction.First, Computed(state, in instruction), default);
                break;
            case EffectKind.Push:
                Push(state, in instruction, isExternal);
                break;
            case EffectKind.Pop:
                Pop(state, in instruction);
                break;
            case EffectKind.PushFlags:
                MoveStack(state, -_registers.Word);
                _memory.Store(state, _values.Add(state[_registers.StackPointer], 0), _registers.Word, FlowValues.Unknown, isStack: true);
                break;
            case EffectKind.PopFlags:
                MoveStack(state, _registers.Word);
                break;
            case EffectKind.Leave:
                var saved = _memory.Load(state, state[_registers.FramePointer], _registers.Word);
                state[_registers.StackPointer] = _values.Add(state[_registers.FramePointer], _registers.Word);
                SetRegister(state, in instruction, _registers.FramePointer, saved);
                break;
            case EffectKind.Exchange:
                Exchange(state, in instruction);
                break;
            case EffectKind.Call:
                Call(state, in instruction);
                break;
            case EffectKind.SignExtendAx:
                var half = instruction.Id == Gee.External.Capstone.X86.X86InstructionId.X86_INS_CDQE ? 32 : 16;
                var extended = _values.Extend(state[_registers.AxIndex], half, isSigned: true);
                SetRegister(state, in instruction, _registers.AxIndex, half == 16 ? _values.Extend(extended, 32, isSigned: false) : extended);
                break;
            case EffectKind.StringStore:
                StringStore(state, in instruction);
                break;
            case EffectKind.WritesFirst:
                NoteSources(state, in instruction, 0);
                Store(state, in instruction, instruction.First, FlowValues.Unknown, default);
                Clobber(state, in instruction, InstructionEffects.Implicit(in instruction, _registers));
                break;
            case EffectKind.WritesImplicit:
                Clobber(state, in instruction, InstructionEffects.Implicit(in instruction, _registers));
                break;
            case EffectKind.Clobbers:
                NoteSources(state, in instruction, 0);
                Clobber(state, in instruction, ((1u << _registers.Count) - 1) & ~(1u << _registers.StackPointer));
                _memory.Forget(state, long.MinValue, long.MaxValue);
                break;
            default:
                NoteSources(state, in instruction, 0);
                for (var i = 0; i < instruction.OperandCount; i++)
                {
                    Store(state, in instruction, instruction.Operand(i), FlowValues.Unknown, default);
                }

                Clobber(state, in instruction, InstructionEffects.Implicit(in instruction, _registers));
                break;
        }
    }

    private static bool IsAllOnes(long number, int size) => size >= 4 && number << (64 - (size * 8)) >> (64 - (size * 8)) == -1;

    private static bool IsSameRegister(in MachineInstruction instruction) =>
        instruction is { First.IsRegister: true, Second.IsRegister: true } && instruction.First == instruction.Second && instruction.First.Size >= 4;

    /// <summary>What an operand holds, its low <paramref name="size"/> bytes at least.</summary>
    private FlowValue Load(FlowState state, in MachineOperand operand, int size)
    {
        switch (operand.Kind)
        {
            case OperandKind.Register:
                return operand.IsHighByte ? FlowValues.Unknown : state[operand.Register];
            case OperandKind.Immediate:
                var number = size >= 8 ? operand.Number : operand.Number << (64 - (size * 8)) >> (64 - (size * 8));
                if (_registers.Is64Bit && size == 4)
                {
                    number = (uint)number;
                }

                return _memory.NumberOrAddress(number);
            case OperandKind.Memory:
                return operand.HasSegment ? FlowValues.Unknown : _memory.Load(state, _memory.Address(state, operand), operand.Size);
            default:
                return FlowValues.Unknown;
        }
    }

    private void NoteSources(FlowState state, in MachineInstruction instruction, int from)
    {
        for (var i = from; i < instruction.OperandCount; i++)
        {
            var operand = instruction.Operand(i);
            if (operand.IsRegister)
            {
                _memory.Note(state[operand.Register], 0);
            }
        }
    }

    private FlowValue Computed(FlowState state, in MachineInstruction instruction)
    {
        NoteSources(state, in instruction, 0);
        return FlowValues.Unknown;
    }

    /// <summary>Writes an operand. An unknown value becomes the result of this instruction.</summary>
    private void Store(FlowState state, in MachineInstruction instruction, in MachineOperand destination, FlowValue value, in MachineOperand source)
    {
        switch (destination.Kind)
        {
            case OperandKind.Register:
                if (destination.Size == _registers.Word)
                {
                    SetRegister(state, in instruction, destination.Register, value);
                }
                else if (destination.Size == 4)
                {
                    if (_values.IsStackAddress(value, out var offset))
                    {
                        _escapes.Add(offset);
                    }

                    SetRegister(state, in instruction, destination.Register, _values.Extend(value, 32, isSigned: false));
                }
                else
                {
                    SetRegister(state, in instruction, destination.Register, FlowValues.Unknown);
                }

                break;
            case OperandKind.Memory when !destination.HasSegment:
                _memory.Store(state, _memory.Address(state, destination), destination.Size, value, destination.Register == _registers.StackPointer);
                break;
            case OperandKind.Memory or OperandKind.OtherRegister:
                _memory.Note(value, 0);
                break;
            default:
                break;
        }
    }

    private void SetRegister(FlowState state, in MachineInstruction instruction, int register, FlowValue value) =>
        state[register] = value.IsUnknown ? _values.Result(instruction.Address, register) : value;

    private void Clobber(FlowState state, in MachineInstruction instruction, uint mask, int place = 0)
    {
        for (var register = 0; register < _registers.Count; register++)
        {
            if ((mask & (1u << register)) != 0)
            {
                state[register] = _values.Result(instruction.Address, place + register);
            }
        }
    }

    private void Arithmetic(FlowState state, in MachineInstruction instruction, bool isExternal, int sign)
    {
        var left = Load(state, instruction.First, instruction.First.Size);
        var right = isExternal ? FlowValues.Unknown : Load(state, instruction.Second, instruction.First.Size);
        if (instruction.Second.IsImmediate && !isExternal)
        {
            // A number that looks like an address is one only as an operand of its own.
            right = _values.Constant(instruction.Second.Number);
        }

        FlowValue result;
        if (right.IsConstant)
        {
            result = _values.Add(left, sign * right.Addend);
        }
        else if (left.IsConstant && sign > 0)
        {
            result = _values.Add(right, left.Addend);
        }
        else
        {
            _memory.Note(left, 0);
            _memory.Note(right, 0);
            result = FlowValues.Unknown;
        }

        Store(state, in instruction, instruction.First, result, instruction.First);
    }

    private void And(FlowState state, in MachineInstruction instruction)
    {
        var bits = instruction.Second is { IsImmediate: true } mask ? mask.Number switch { 0xff => 8, 0xffff => 16, _ => 0 } : 0;
        var value = bits > 0 && instruction.First is { IsRegister: true, Size: >= 4 }
            ? _values.Extend(state[instruction.First.Register], bits, isSigned: false)
            : Computed(state, in instruction);
        Store(state, in instruction, instruction.First, value, default);
    }

    private void MoveStack(FlowState state, long bytes) => state[_registers.StackPointer] = _values.Add(state[_registers.StackPointer], bytes);

    private void Push(FlowState state, in MachineInstruction instruction, bool isExternal)
    {
        var value = isExternal || instruction.First.Kind == OperandKind.OtherRegister ? FlowValues.Unknown : Load(state, instruction.First, _registers.Word);
        MoveStack(state, -_registers.Word);
        if (instruction.HasNarrowPrefix)
        {
            state[_registers.StackPointer] = _values.Result(instruction.Address, _registers.StackPointer);
        }

        var stack = state[_registers.StackPointer];
        if (stack.IsCfa && instruction.First.IsRegister && (_registers.CalleeSaved & (1u << instruction.First.Register)) != 0
            && value == _values.EntryRegister(instruction.First.Register))
        {
            // Where a function saves a register, none of its variables can be.
            _escapes.AddSaveSlot(stack.Addend);
        }

        _memory.Store(state, stack, _registers.Word, value, isStack: true);
    }

    private void Pop(FlowState state, in MachineInstruction instruction)
    {
        var observer = _memory.Observer;
        if (instruction.First is not { IsRegister: true, Register: var target } || (_registers.CalleeSaved & (1u << target)) == 0)
        {
            // Taking an argument off the stack again, most likely.
            _memory.Observer = null;
        }

        var value = _memory.Load(state, state[_registers.StackPointer], _registers.Word);
        _memory.Observer = observer;
        MoveStack(state, _registers.Word);
        if (instruction.HasNarrowPrefix)
        {
            state[_registers.StackPointer] = _values.Result(instruction.Address, _registers.StackPointer);
        }

        Store(state, in instruction, instruction.First, value, default);
    }

    private void Exchange(FlowState state, in MachineInstruction instruction)
    {
        var (first, second) = (instruction.First, instruction.Second);
        if (first.IsRegister && second.IsRegister && first.Size == _registers.Word)
        {
            (state[first.Register], state[second.Register]) = (state[second.Register], state[first.Register]);
            return;
        }

        NoteSources(state, in instruction, 0);
        Store(state, in instruction, first, FlowValues.Unknown, default);
        Store(state, in instruction, second, FlowValues.Unknown, default);
    }

    private void StringStore(FlowState state, in MachineInstruction instruction)
    {
        var mask = InstructionEffects.StringRegisters(in instruction, _registers);
        if (instruction.First.IsMemory && (mask & _registers.Di) != 0)
        {
            // An inlined memset or memcpy stays in its object like a function that is given it.
            _memory.NotePointer(state[_registers.DiIndex]);
        }

        for (var i = 0; i < instruction.OperandCount; i++)
        {
            Store(state, in instruction, instruction.Operand(i), FlowValues.Unknown, default);
        }

        Clobber(state, in instruction, instruction.HasRepeat ? mask : mask & ~_registers.Cx);
    }

    private void Call(FlowState state, in MachineInstruction instruction)
    {
        if (instruction.First.IsImmediate && (ulong)instruction.First.Number == instruction.End && _code.External(instruction.Address, instruction.Length) is null)
        {
            // call 1f; 1: pop %ebx
            MoveStack(state, -_registers.Word);
            _memory.Store(state, state[_registers.StackPointer], _registers.Word, FlowValues.Unknown, isStack: true);
            return;
        }

        var clobbers = CallClobbers(in instruction);
        if (clobbers == 0)
        {
            return;
        }

        for (var register = 0; register < _registers.Count; register++)
        {
            if ((_registers.CallerSaved & (1u << register)) != 0)
            {
                _memory.NotePointer(state[register]);
            }
        }

        for (var place = _places.Registers; place < state.Length; place++)
        {
            // An argument on the stack, or what an object on the stack holds.
            _memory.NotePointer(state[place]);
        }

        Clobber(state, in instruction, clobbers);
        _memory.Forget(state, long.MinValue, state[_registers.StackPointer] is { IsCfa: true } stack ? stack.Addend : long.MaxValue);
    }
}
