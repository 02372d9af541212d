// One description of a trampoline makes both its 64-bit and its 32-bit code: registers are named by their number, and "a word" is as wide as the kernel's. Iced encodes; this file chooses
// Iced's codes by their names, which are regular (Add_r64_rm64), and follows the stack pointer, so that every instruction knows how far above it the function's frame is.
using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Globalization;
using Iced.Intel;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>A general register, by the instruction set's number.</summary>
internal enum Reg
{
    Ax, Cx, Dx, Bx, Sp, Bp, Si, Di,
}

/// <summary>A place in memory: a register (or none), a distance, and the per-cpu segment or none.</summary>
internal readonly record struct Mem(Reg? Base, long Displacement, bool IsPerCpu = false, Reg? Index = null, int Scale = 1)
{
    public static implicit operator Mem(Reg register) => new(register, 0);

    public static Mem At(Reg register, long displacement) => new(register, displacement);

    /// <summary>A fixed address.</summary>
    public static Mem Fixed(ulong address) => new(null, (long)address);

    public static Mem PerCpu(ulong address) => new(null, (long)address, IsPerCpu: true);

    public Mem Plus(int more) => this with { Displacement = Displacement + more };
}

/// <summary>A place in code that is jumped to, before or after it is written.</summary>
internal sealed class CodeLabel
{
    /// <summary>Of the instruction that follows; −1 until the place is known.</summary>
    public int Index { get; set; } = -1;
}

/// <summary>Writes instructions for one kernel. Pushes and pops are followed in the order of writing: where code is reached from elsewhere, the depth is the same.</summary>
internal sealed class CodeEmitter
{
    private static readonly ConcurrentDictionary<string, Code> Codes = new();

    private readonly List<Instruction> _instructions = [];
    private readonly List<(int Index, CodeLabel Target)> _jumps = [];
    private readonly KernelOffsets _kernel;
    private readonly List<int> _distances = [];
    private readonly string _bits;
    private int _done = -1;

    public CodeEmitter(KernelOffsets kernel)
    {
        _kernel = kernel;
        _bits = kernel.Is64Bit ? "64" : "32";
    }

    public int Word => _kernel.WordSize;

    /// <summary>How far above the stack pointer the frame is, in bytes.</summary>
    public int Distance { get; private set; }

    public CodeLabel NewLabel() => new();

    /// <summary>What follows is jumped to from where the frame was so far away.</summary>
    public void Place(CodeLabel label, int? distance = null)
    {
        Distance = distance ?? Distance;
        label.Index = _instructions.Count;
    }

    /// <summary>The record is complete when the next instruction is reached (<see cref="CodeBlock.Done"/>).</summary>
    public void MarkDone() => _done = _instructions.Count;

    /// <param name="distance">Of the first instruction.</param>
    public void Begin(int distance) => Distance = distance;

    // Words.
    public void Move(Reg to, Reg from) => Add(Instruction.Create(Of($"Mov_r{_bits}_rm{_bits}"), Wide(to), Wide(from)));

    public void Load(Reg to, Mem from) => Add(Instruction.Create(Of($"Mov_r{_bits}_rm{_bits}"), Wide(to), Operand(from)));

    public void Store(Mem to, Reg from) => Add(Instruction.Create(Of($"Mov_rm{_bits}_r{_bits}"), Operand(to), Wide(from)));

    /// <summary>The address, not what is there. Changes no flags.</summary>
    public void Address(Reg to, Mem from) => Add(Instruction.Create(Of($"Lea_r{_bits}_m"), Wide(to), Operand(from)));

    public void Constant(Reg to, ulong value)
    {
        if (value <= uint.MaxValue || Word == 4)
        {
            Add(Instruction.Create(Code.Mov_r32_imm32, Narrow(to), (uint)value));
        }
        else if ((ulong)(int)value == value)
        {
            Add(Instruction.Create(Code.Mov_rm64_imm32, Wide(to), (int)value));
        }
        else
        {
            Add(Instruction.Create(Code.Mov_r64_imm64, Wide(to), value));
        }
    }

    /// <param name="operation">Add, Sub, And, Or, Xor, Cmp.</param>
    public void Do(Mnemonic operation, Reg left, Reg right) => Add(Instruction.Create(Of($"{operation}_r{_bits}_rm{_bits}"), Wide(left), Wide(right)));

    public void Do(Mnemonic operation, Reg left, Mem right) => Add(Instruction.Create(Of($"{operation}_r{_bits}_rm{_bits}"), Wide(left), Operand(right)));

    /// <param name="value">Sign-extended from 32 bits.</param>
    public void Do(Mnemonic operation, Reg left, int value) => Add(
        (sbyte)value == value
            ? Instruction.Create(Of($"{operation}_rm{_bits}_imm8"), Wide(left), value)
            : Instruction.Create(Of($"{operation}_rm{_bits}_imm32"), Wide(left), value));

    public void Test(Reg left, Reg right) => Add(Instruction.Create(Of($"Test_rm{_bits}_r{_bits}"), Wide(left), Wide(right)));

    /// <param name="operation">Shl, Shr, Sar.</param>
    public void Shift(Mnemonic operation, Reg register, int bits) => Add(Instruction.Create(Of($"{operation}_rm{_bits}_imm8"), Wide(register), bits));

    /// <summary>By cl.</summary>
    public void ShiftByCl(Mnemonic operation, Reg register) => Add(Instruction.Create(Of($"{operation}_rm{_bits}_CL"), Wide(register), Register.CL));

    /// <param name="operation">Neg, Not, Mul, Div, Idiv.</param>
    public void DoOne(Mnemonic operation, Reg register) => Add(Instruction.Create(Of($"{operation}_rm{_bits}"), Wide(register)));

    public void DoOne32(Mnemonic operation, Reg register) => Add(Instruction.Create(Of($"{operation}_rm32"), Narrow(register)));

    /// <summary>dx becomes what idiv expects beside ax.</summary>
    public void ExtendIntoDx() => Add(Instruction.Create(Word == 8 ? Code.Cqo : Code.Cdq));

    public void SwapBytes32(Reg register) => Add(Instruction.Create(Code.Bswap_r32, Narrow(register)));

    public void Multiply(Reg left, Reg right) => Add(Instruction.Create(Of($"Imul_r{_bits}_rm{_bits}"), Wide(left), Wide(right)));

    /// <summary>lock cmpxchg of a word: ax is what is expected, and becomes what was there.</summary>
    public void LockedCompareExchange(Mem memory, Reg value) => Locked(Instruction.Create(Of($"Cmpxchg_rm{_bits}_r{_bits}"), Operand(memory), Wide(value)));

    /// <summary>lock cmpxchg8b: dx:ax expected, cx:bx new.</summary>
    public void LockedCompareExchange8(Mem memory) => Locked(Instruction.Create(Code.Cmpxchg8b_m64, Operand(memory)));

    /// <summary>lock xadd of a word.</summary>
    public void LockedExchangeAdd(Mem memory, Reg value) => Locked(Instruction.Create(Of($"Xadd_rm{_bits}_r{_bits}"), Operand(memory), Wide(value)));

    /// <summary>lock inc of 64 bits; on i386 of a word and, where it became 0, of the one above. A reader may then see the first without the second.</summary>
    public void LockedIncrement(Mem memory)
    {
        Locked(Instruction.Create(Of($"Inc_rm{_bits}"), Operand(memory)));
        if (Word == 4)
        {
            var done = NewLabel();
            Jump(ConditionCode.ne, done);
            Locked(Instruction.Create(Code.Inc_rm32, Operand(memory.Plus(4))));
            Place(done);
        }
    }

    public void LockedCompareExchange32(Mem memory, Reg value) => Locked(Instruction.Create(Code.Cmpxchg_rm32_r32, Operand(memory), Narrow(value)));

    // 32 bits.
    public void Move32(Reg to, Reg from) => Add(Instruction.Create(Code.Mov_r32_rm32, Narrow(to), Narrow(from)));

    public void Load32(Reg to, Mem from) => Add(Instruction.Create(Code.Mov_r32_rm32, Narrow(to), Operand(from)));

    public void Store32(Mem to, Reg from) => Add(Instruction.Create(Code.Mov_rm32_r32, Operand(to), Narrow(from)));

    public void Put32(Mem to, uint value) => Add(Instruction.Create(Code.Mov_rm32_imm32, Operand(to), (int)value));

    public void Do32(Mnemonic operation, Reg left, int value) => Add(
        (sbyte)value == value
            ? Instruction.Create(Of($"{operation}_rm32_imm8"), Narrow(left), value)
            : Instruction.Create(Of($"{operation}_rm32_imm32"), Narrow(left), value));

    public void Do32(Mnemonic operation, Reg left, Reg right) => Add(Instruction.Create(Of($"{operation}_r32_rm32"), Narrow(left), Narrow(right)));

    public void Do32(Mnemonic operation, Reg left, Mem right) => Add(Instruction.Create(Of($"{operation}_r32_rm32"), Narrow(left), Operand(right)));

    public void Do32(Mnemonic operation, Mem left, int value) => Add(
        (sbyte)value == value
            ? Instruction.Create(Of($"{operation}_rm32_imm8"), Operand(left), value)
            : Instruction.Create(Of($"{operation}_rm32_imm32"), Operand(left), value));

    public void Shift32(Mnemonic operation, Reg register, int bits) => Add(Instruction.Create(Of($"{operation}_rm32_imm8"), Narrow(register), bits));

    public void Test32(Reg register, uint value) => Add(Instruction.Create(Code.Test_rm32_imm32, Narrow(register), (int)value));

    public void Test32(Mem memory, uint value) => Add(Instruction.Create(Code.Test_rm32_imm32, Operand(memory), (int)value));

    /// <summary>Loads a number of 1, 2, 4 or 8 bytes and widens it to a word.</summary>
    public void LoadWidened(Reg to, Mem from, int size, bool isSigned)
    {
        if (size >= Word)
        {
            Load(to, from);
        }
        else if (size == 4 && !isSigned)
        {
            Load32(to, from);
        }
        else if (size == 4)
        {
            Add(Instruction.Create(Code.Movsxd_r64_rm32, Wide(to), Operand(from)));
        }
        else
        {
            Add(Instruction.Create(Of($"{(isSigned ? "Movsx" : "Movzx")}_r{_bits}_rm{size * 8}"), Wide(to), Operand(from)));
        }
    }

    // The stack.
    public void Push(Reg register) => Pushed(Instruction.Create(Of($"Push_r{_bits}"), Wide(register)), Word);

    public void Pop(Reg register) => Pushed(Instruction.Create(Of($"Pop_r{_bits}"), Wide(register)), -Word);

    public void PushFlags() => Pushed(Instruction.Create(Word == 8 ? Code.Pushfq : Code.Pushfd), Word);

    public void PopFlags() => Pushed(Instruction.Create(Word == 8 ? Code.Popfq : Code.Popfd), -Word);

    /// <summary>Makes room on the stack, or gives it back; changes no flags.</summary>
    public void Grow(int bytes) => Pushed(Instruction.Create(Of($"Lea_r{_bits}_m"), Wide(Reg.Sp), Operand(Mem.At(Reg.Sp, -bytes))), bytes);

    public void Return() => Add(Instruction.Create(Word == 8 ? Code.Retnq : Code.Retnd));

    // Control and the rest.
    public void Jump(CodeLabel target) => JumpTo($"Jmp_rel32_{_bits}", target);

    /// <summary>To other code, within reach of 32 bits.</summary>
    public void JumpOut(ulong address) => Add(Instruction.CreateBranch(Of($"Jmp_rel32_{_bits}"), address));

    public void Jump(ConditionCode condition, CodeLabel target) => JumpTo($"J{condition}_rel32_{_bits}", target);

    /// <summary>ax as a byte from the flags, then the whole word.</summary>
    public void SetAx(ConditionCode condition)
    {
        Add(Instruction.Create(Of($"Set{condition}_rm8"), Register.AL));
        Add(Instruction.Create(Code.Movzx_r32_rm8, Register.EAX, Register.AL));
    }

    public void DisableInterrupts() => Add(Instruction.Create(Code.Cli));

    /// <summary>String instructions go upwards.</summary>
    public void ClearDirection() => Add(Instruction.Create(Code.Cld));

    public void Pause() => Add(Instruction.Create(Code.Pause));

    /// <summary>dx:ax, 32 bits each.</summary>
    public void ReadClock() => Add(Instruction.Create(Code.Rdtsc));

    /// <summary>cx words from si to di.</summary>
    public void CopyWords() => Add(Word == 8 ? Instruction.CreateRepMovsq(64) : Instruction.CreateRepMovsd(32));

    /// <summary>cx bytes from si to di.</summary>
    public void CopyBytes() => Add(Instruction.CreateRepMovsb(Word * 8));

    /// <summary>Looks for al in cx bytes from di on; the zero flag tells whether it is there.</summary>
    public void FindByte() => Add(Instruction.CreateRepneScasb(Word * 8));

    /// <summary>The physical address of the topmost page table, and flags.</summary>
    public void LoadTableRoot(Reg to) => Add(Instruction.Create(Word == 8 ? Code.Mov_r64_cr : Code.Mov_r32_cr, Wide(to), Register.CR3));

    /// <summary>A register of x86-64 that has no number in i386.</summary>
    public void MoveExtended(Reg to, int number) => Add(Instruction.Create(Code.Mov_r64_rm64, Wide(to), Register.RAX + number));

    /// <summary>A register of x86-64 that has no number in i386.</summary>
    public void StoreExtended(Mem to, int number) => Add(Instruction.Create(Code.Mov_rm64_r64, Operand(to), Register.RAX + number));

    /// <summary>Encodes all for an address.</summary>
    public CodeBlock Assemble(ulong address)
    {
        // An instruction's number is its address until it is encoded; 0 would be none.
        var instructions = _instructions.ToArray();
        for (var index = 0; index < instructions.Length; index++)
        {
            instructions[index].IP = (ulong)index + 1;
        }

        foreach (var (index, target) in _jumps)
        {
            instructions[index].NearBranch64 = (ulong)target.Index + 1;
        }

        using var stream = new MemoryStream();
        if (!BlockEncoder.TryEncode(
            Word * 8, new InstructionBlock(new StreamCodeWriter(stream), instructions, address), out var error, out var result, BlockEncoderOptions.ReturnNewInstructionOffsets))
        {
            throw new InvalidOperationException("a trampoline cannot be encoded: " + error);
        }

        var frames = ImmutableArray.CreateBuilder<(int Offset, int FrameDistance)>();
        for (var index = 0; index < instructions.Length; index++)
        {
            if (frames.Count == 0 || frames[^1].FrameDistance != _distances[index])
            {
                frames.Add(((int)result.NewInstructionOffsets[index], _distances[index]));
            }
        }

        return new CodeBlock(address, [.. stream.ToArray()]) { Frames = frames.ToImmutable(), Done = _done < 0 ? 0 : (int)result.NewInstructionOffsets[_done] };
    }

    private static Code Of(string name) => Codes.GetOrAdd(name, static key => Enum.Parse<Code>(key));

    private void Pushed(Instruction instruction, int bytes)
    {
        Add(instruction);
        Distance += bytes;
    }

    private void Locked(Instruction instruction)
    {
        instruction.HasLockPrefix = true;
        Add(instruction);
    }

    private void JumpTo(string code, CodeLabel target)
    {
        _jumps.Add((_instructions.Count, target));
        Add(Instruction.CreateBranch(Of(code), 0));
    }

    private void Add(Instruction instruction)
    {
        _instructions.Add(instruction);
        _distances.Add(Distance);
    }

    private Register Wide(Reg register) => (Word == 8 ? Register.RAX : Register.EAX) + (int)register;

    private static Register Narrow(Reg register) => Register.EAX + (int)register;

    private MemoryOperand Operand(Mem memory)
    {
        var segment = !memory.IsPerCpu ? Register.None : _kernel.Segment switch { PerCpuSegment.Gs => Register.GS, PerCpuSegment.Fs => Register.FS, _ => Register.None };
        var displacement = Word == 4 ? (uint)memory.Displacement : memory.Displacement;
        if (Word == 8 && displacement != (int)displacement)
        {
            throw new ArgumentOutOfRangeException(nameof(memory), string.Create(CultureInfo.InvariantCulture, $"0x{displacement:x} is not within reach of a 32-bit address"));
        }

        // Iced: a size of 1 means "as short as it can be", 0 "none".
        var size = memory.Base is null ? Word : displacement == 0 ? 0 : 1;
        return new MemoryOperand(
            memory.Base is { } start ? Wide(start) : Register.None, memory.Index is { } index ? Wide(index) : Register.None, memory.Scale, displacement, size, false, segment);
    }
}
